"""The document conversion services (protocol 5.22)."""

from __future__ import annotations

from stride_async.server._answers import Answer, Refusal, answer_json
from stride_async.server._documents import from_markdown, problems, render_text
from stride_async.server._routes.ask import Ask, parse_json, refuse_parameter, text_field


async def convert(ask: Ask) -> Answer:
    """`POST /pf-editor-service/convert?from=markdown&to=adf`: the document the markdown stands for."""
    for name, only in (("from", "markdown"), ("to", "adf")):
        if ask.query.get(name) != only:
            refuse_parameter(name, only, ask.query.get(name, "nothing"))
    return answer_json(from_markdown(text_field(await ask.json_object(), "input")))


async def render(ask: Ask) -> Answer:
    """`POST /pf-editor-service/render`, later under `/pf-adf-service`: a bare document as plain text.

    A document is taken as the service itself delivers it, which the strict form would refuse (protocol 6.3).
    """
    document = parse_json(await ask.body())
    if found := problems(document, lenient=True):
        raise Refusal(400, "; ".join(found[:5]))
    assert isinstance(document, dict)
    return Answer(200, render_text(document).encode(), "text/plain; charset=utf-8")
