"""The document conversion services (protocol 5.22)."""

from __future__ import annotations

from stride_async.server._documents import from_markdown, problems, render_text
from stride_async.server._responses import HttpError, Response, json_response
from stride_async.server._routes.request import Request, parse_json, refuse_parameter, string_field


async def convert(request: Request) -> Response:
    """`POST /pf-editor-service/convert?from=markdown&to=adf`: Markdown as a document."""
    for name, supported in (("from", "markdown"), ("to", "adf")):
        if request.query.get(name) != supported:
            refuse_parameter(name, supported, request.query.get(name, "nothing"))
    return json_response(from_markdown(string_field(await request.json_object(), "input")))


async def render(request: Request) -> Response:
    """`POST /pf-editor-service/render`, later under `/pf-adf-service`: a bare document as plain text.

    Documents that the service itself delivers are accepted, although the strict schema forbids some (protocol 6.3).
    """
    document = parse_json(await request.body())
    if found := problems(document, lenient=True):
        raise HttpError(400, "; ".join(found[:5]))
    assert isinstance(document, dict)
    return Response(200, render_text(document).encode(), "text/plain; charset=utf-8")
