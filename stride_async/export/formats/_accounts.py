"""People as accounts of a chat system: each with a user name and an email address that no one else has."""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

from stride_async._models import User
from stride_async.export.formats._names import Slugs, digest_of
from stride_async.export.formats._report import Tally
from stride_async.export.formats._source import People, Person

_APPS = "@connect.atlassian.com"
_EMAIL = re.compile(r"[^@\s<>]+@[^@\s<>]+\.[^@\s<>]+")
_LONGEST_EMAIL = 128  # in Mattermost


@attrs.frozen(kw_only=True)
class Account:
    """The account of a person or an app."""

    person: Person
    user_name: str
    email: str
    """In lower case."""
    is_app: bool
    """Whether it is that of an app, which the domain of its address shows (protocol 4.8)."""
    profile: User | None

    @property
    def id(self) -> str:
        """The id of the person on the site."""
        return self.person.id

    @property
    def picture(self) -> str:
        """The URL of the primary picture, empty if there is none."""
        photos = self.profile.photos if self.profile is not None else ()
        return next((photo.value for photo in sorted(photos, key=lambda photo: not photo.primary)), "")

    @property
    def given_name(self) -> str:
        """The first name; the display name of someone without one."""
        return self._given or ("" if self.family_name else self.person.name)

    @property
    def family_name(self) -> str:
        """The last name, empty if the profile has none."""
        name = self.profile.name if self.profile is not None else None
        return (name.family_name if name is not None else None) or ""

    @property
    def title(self) -> str:
        """The job title, empty if the profile has none."""
        return (self.profile.title if self.profile is not None else None) or ""

    @property
    def _given(self) -> str:
        name = self.profile.name if self.profile is not None else None
        return (name.given_name if name is not None else None) or ""


class Accounts:
    """The accounts by the id of the person. Someone who is not listed has one from when first asked for."""

    def __init__(self, people: People, slugs: Slugs, tally: Tally) -> None:
        self._people = people
        self._slugs = slugs
        self._tally = tally
        self._emails: set[str] = set()
        self._accounts: dict[str, Account] = {}
        for person in people:
            self._add(person)

    def __getitem__(self, id: str) -> Account:
        account = self._accounts.get(id)
        return account if account is not None else self._add(self._people[id])

    def __iter__(self) -> Iterator[Account]:
        """Yield all accounts, by id."""
        return (self._accounts[id] for id in sorted(self._accounts))

    def _add(self, person: Person) -> Account:
        profile = self._people.profile(person.id)
        handle = (profile.nick_name if profile is not None else None) or person.name
        user_name = self._slugs.take(handle, person.id)
        if user_name != handle:
            self._tally.lose("name changed", person.id)
        account = Account(
            person=person,
            user_name=user_name,
            email=self._email(person),
            is_app=person.email.lower().endswith(_APPS),
            profile=profile,
        )
        self._accounts[person.id] = account
        return account

    def _email(self, person: Person) -> str:
        email = person.email.lower()
        if not _EMAIL.fullmatch(email) or len(email) > _LONGEST_EMAIL or email in self._emails:
            self._tally.lose("name changed", person.id)
            email = f"{digest_of(person.id)[:16]}@unknown.invalid"
        self._emails.add(email)
        return email
