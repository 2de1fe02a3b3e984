"""Sites, the app's own account, and people (protocol 4.7 to 4.10, 5.1, 5.21)."""

from __future__ import annotations

from stride_async.server._answers import Answer, Refusal, answer_json, dumps
from stride_async.server._limits import MANAGE, PARTICIPATE
from stride_async.server._routes.ask import Ask

# Either scope is enough to list the sites (protocol 1.4).
_SITE_SCOPES = frozenset({PARTICIPATE, MANAGE})
# An unknown user is reported in SCIM's own shape (protocol 5.21).
_SCIM_ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


async def list_sites(ask: Ask) -> Answer:
    """`GET /site/`."""
    world = ask.world
    if not _SITE_SCOPES & ask.grant.app.scopes:
        raise Refusal(403, f"the token lacks the scope {' or '.join(sorted(_SITE_SCOPES))}")
    cloud_id = world.store.cloud_id
    as_objects = world.choices.site_list == "objects"
    return answer_json(
        {
            "values": [{"id": cloud_id, "name": world.store.name} if as_objects else cloud_id],
            "_links": {cloud_id: f"{world.url}/site/{cloud_id}"},
        }
    )


async def me(ask: Ask) -> Answer:
    """`GET /me`: the account the token acts as."""
    app = ask.grant.app
    return answer_json(
        {
            "account_id": app.account_id,
            "name": app.name,
            "email": f"{app.client_id.lower()}@connect.atlassian.com",
            "picture": f"https://avatar-cdn.atlassian.com/{app.client_id.lower()}",
        }
    )


async def scim_user(ask: Ask) -> Answer:
    """`GET /scim/site/{cloudId}/Users/{userId}`."""
    user_id = ask.places["user"]
    found = ask.world.store.people.scim(user_id)
    if found is not None:
        return Answer(200, dumps(found), ask.world.choices.scim_content_type)
    error = {"schemas": [_SCIM_ERROR], "status": "404", "detail": f"no such user: {user_id}"}
    raise Refusal(404, f"no such user: {user_id}", content=error)


async def look_up(ask: Ask) -> Answer:
    """`GET /users/lookup`: the id behind an e-mail address."""
    email = ask.query.get("email", "")
    if not email:
        raise Refusal(400, "email: expected an address, found nothing")
    if ask.query.get("site", ask.world.store.cloud_id) != ask.world.store.cloud_id:
        raise Refusal(404, f"no such site: {ask.query['site']}")
    user_id = ask.world.store.people.find(email)
    if user_id is not None:
        return answer_json({"id": user_id})
    if ask.world.choices.unknown_email_status == 200:
        return answer_json({})
    raise Refusal(ask.world.choices.unknown_email_status, f"no user with the address {email}")
