"""Sites, the app's own account, and people (protocol 4.7 to 4.10, 5.1, 5.21)."""

from __future__ import annotations

from stride_async.server._limits import MANAGE, PARTICIPATE
from stride_async.server._records import compact_json
from stride_async.server._responses import HttpError, Response, json_response
from stride_async.server._routes.request import Request
from stride_async.server._store.people import app_email

# Either scope is enough to list the sites (protocol 1.4).
_SITE_SCOPES = frozenset({PARTICIPATE, MANAGE})
# The error for an unknown user has the form of SCIM (protocol 5.21).
_SCIM_ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


async def list_sites(request: Request) -> Response:
    """`GET /site/`."""
    world = request.world
    if not _SITE_SCOPES & request.grant.app.scopes:
        raise HttpError(403, f"the token lacks the scope {' or '.join(sorted(_SITE_SCOPES))}")
    cloud_id = world.store.cloud_id
    as_objects = world.choices.site_list == "objects"
    return json_response(
        {
            "values": [{"id": cloud_id, "name": world.store.name} if as_objects else cloud_id],
            "_links": {cloud_id: world.site_url()},
        }
    )


async def me(request: Request) -> Response:
    """`GET /me`: the account that the token acts as."""
    app = request.grant.app
    return json_response(
        {
            "account_id": app.account_id,
            "name": app.name,
            "email": app_email(app.client_id),
            "picture": f"https://avatar-cdn.atlassian.com/{app.client_id.lower()}",
        }
    )


async def scim_user(request: Request) -> Response:
    """`GET /scim/site/{cloudId}/Users/{userId}`."""
    user_id = request.path_params["user"]
    found = request.world.store.people.scim(user_id)
    if found is not None:
        return Response(200, compact_json(found).encode(), request.world.choices.scim_content_type)
    message = f"no such user: {user_id}"
    raise HttpError(404, message, content={"schemas": [_SCIM_ERROR], "status": "404", "detail": message})


async def look_up(request: Request) -> Response:
    """`GET /users/lookup`: the id of the person with an email address."""
    email = request.query.get("email", "")
    if not email:
        raise HttpError(400, "email: expected an address, found nothing")
    request.check_site(request.query.get("site", request.world.store.cloud_id))
    user_id = request.world.store.people.find(email)
    if user_id is not None:
        return json_response({"id": user_id})
    if request.world.choices.unknown_email_status == 200:
        return json_response({})
    raise HttpError(request.world.choices.unknown_email_status, f"no user has the address {email}")
