"""People and apps."""

from __future__ import annotations

import difflib
import json
import secrets
import sqlite3
import string
import unicodedata
import uuid
from collections.abc import Iterable

from stride_async.server._limits import App
from stride_async.server._records import User, compact_json
from stride_async.server._times import format_milliseconds

_SUGGESTED = 3  # names
_ALPHABET = string.ascii_letters + string.digits
_SCIM_USER = "urn:ietf:params:scim:schemas:core:2.0:User"


class People:
    """The people of the site, and the apps that act in it."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def insert(self, user: User) -> None:
        """Add a person."""
        row = (user.id, user.email.casefold(), user.json)
        self._db.execute("INSERT INTO person (id, email, json) VALUES (?, ?, ?)", row)

    def add(self, display_name: str, *, email: str, id: str | None, now: int) -> str:
        """Add a person with this name and return their id; a new id is made unless one is given."""
        user_id = id or f"557058:{uuid.uuid4()}"
        scim = scim_user(user_id, display_name, email, format_milliseconds(now))
        self.insert(User(user_id, email, compact_json(scim)))
        return user_id

    def scim(self, id: str) -> dict[str, object] | None:
        """Return the SCIM user of a person or of an app's account (protocol 4.7)."""
        row = self._db.execute("SELECT json FROM person WHERE id = ?", (id,)).fetchone()
        if row is not None:
            person: dict[str, object] = json.loads(row[0])
            return person
        app = self._db.execute("SELECT client_id, name FROM app WHERE account_id = ?", (id,)).fetchone()
        return None if app is None else scim_user(id, app[1], app_email(app[0]), "2018-01-01T00:00:00.000Z")

    def display_name(self, id: str) -> str | None:
        """Return the name of the person or app, or None if the site has no such user."""
        found = self.scim(id)
        return None if found is None else str(found.get("displayName", ""))

    def is_person(self, id: str) -> bool:
        """Return whether this is the id of a person, not of an app's account."""
        return self._db.execute("SELECT 1 FROM person WHERE id = ?", (id,)).fetchone() is not None

    def find(self, email: str) -> str | None:
        """Return the id of the person with this address, which is not case-sensitive."""
        query = "SELECT id FROM person WHERE email = ? ORDER BY number LIMIT 1"
        row = self._db.execute(query, (email.casefold(),)).fetchone()
        return None if row is None else str(row[0])

    def called(self, name: str) -> list[str]:
        """Return the ids of the people with this id, or else this email address, mention name or display name.

        An `@` in front of a name is ignored, and so are its case, its white space and how its accents are encoded. The
        first of these four that anyone has decides.
        """
        if self.is_person(name.strip()):
            return [name.strip()]
        address, bare = name.strip().casefold(), _bare(name)
        if not bare:
            return []
        by_email, by_nickname, by_name = [], [], []
        for user_id, email, text in self._db.execute("SELECT id, email, json FROM person ORDER BY number"):
            person = json.loads(text)
            if email == address:
                by_email.append(user_id)
            if _folded(str(person.get("nickName") or "")) == bare:
                by_nickname.append(user_id)
            if _folded(str(person.get("displayName") or "")) == bare:
                by_name.append(user_id)
        return by_email or by_nickname or by_name

    def similar(self, name: str) -> list[str]:
        """Return up to three display names that contain the name or are similar to it."""
        sought = _bare(name)
        if not sought:
            return []
        texts = (json.loads(text) for (text,) in self._db.execute("SELECT json FROM person ORDER BY number"))
        names = {_folded(shown): shown for person in texts if (shown := str(person.get("displayName") or ""))}
        containing = [folded for folded in names if sought in folded]
        found = dict.fromkeys([*containing, *difflib.get_close_matches(sought, names)])
        return [names[folded] for folded in found][:_SUGGESTED]

    def ids(self) -> tuple[str, ...]:
        """Return the ids of all people, in the order they were added."""
        return tuple(row[0] for row in self._db.execute("SELECT id FROM person ORDER BY number"))

    def add_app(self, name: str, scopes: Iterable[str]) -> App:
        """Add an app with its own client id, client secret and account (protocol 1.2)."""
        app = App(
            client_id="".join(secrets.choice(_ALPHABET) for _ in range(32)),
            client_secret="".join(secrets.choice(_ALPHABET + "_-") for _ in range(64)),
            account_id=f"557058:{uuid.uuid4()}",
            name=name,
            scopes=frozenset(scopes),
        )
        row = (app.client_id, app.client_secret, app.account_id, app.name, " ".join(sorted(app.scopes)))
        self._db.execute("INSERT INTO app VALUES (?, ?, ?, ?, ?)", row)
        return app

    def app(self, client_id: str) -> App | None:
        """Return the app with this client id."""
        row = self._db.execute("SELECT * FROM app WHERE client_id = ?", (client_id,)).fetchone()
        if row is None:
            return None
        known_id, secret, account_id, name, scopes = row
        return App(known_id, secret, account_id, name, frozenset(scopes.split()))


def app_email(client_id: str) -> str:
    """Return the address of an app's account (protocol 4.8)."""
    return f"{client_id.lower()}@connect.atlassian.com"


def scim_user(id: str, display_name: str, email: str, created: str) -> dict[str, object]:
    """Return a SCIM user with the fields that the service always returned (protocol 4.7)."""
    return {
        "schemas": [_SCIM_USER],
        "id": id,
        "userName": email,
        "active": True,
        "displayName": display_name,
        "emails": [{"value": email, "primary": True}],
        "meta": {"created": created, "lastModified": created, "resourceType": "User"},
        "photos": [],
    }


def _folded(name: str) -> str:
    """Return a name in a form in which equal names are equal texts."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _bare(name: str) -> str:
    return _folded(name).removeprefix("@").strip()
