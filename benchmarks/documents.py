"""P23: what it costs to write documents as Markdown, next to writing them as HTML."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.sides import Benchmark, Finding, compared, taking_turns
from stride_async.document import (
    Document,
    application_card,
    blockquote,
    bullet_list,
    code,
    code_block,
    decision_list,
    doc,
    em,
    emoji,
    hard_break,
    heading,
    link,
    list_item,
    media,
    media_group,
    mention,
    ordered_list,
    panel,
    paragraph,
    rule,
    strike,
    strong,
    table,
    table_header,
    table_row,
    task_item,
    task_list,
    underline,
)

ROUNDS = 300
"""How often one figure converts every document."""

_SENTENCE = (
    "The deployment to staging took about 40 minutes (twice as long as usual), mostly because of snake_case names. "
)


def findings() -> list[Finding]:
    """Compare the CPU time of one document, on average over documents of every kind."""
    documents = _documents()
    samples = taking_turns(
        {"to_markdown": _cpu(Document.to_markdown, documents), "to_html": _cpu(Document.to_html, documents)}
    )
    return [
        compared(
            samples,
            ours="to_markdown",
            peer="to_html",
            name="P23",
            question="write a document",
            unit="µs CPU a document",
            goal=2,
        )
    ]


def _documents() -> list[Document]:
    """Return chat messages from a single word to a page with lists, a table and code."""
    ann = mention("557058:ann", "@Ann")
    plan = link("the plan", "https://example.com/plan_(draft)?a=1&b=2", title="v2")
    chat = [
        doc("ok"),
        doc(paragraph(_SENTENCE)),
        doc(paragraph("Hello ", ann, ", see ", plan, "!")),
        doc(paragraph(_SENTENCE, strong("You "), em("should"), " use ", code("rm -rf *"), " there.")),
        doc(
            paragraph(strong("a"), strong(em("b")), strike("c"), underline("d"), hard_break(), emoji(":+1:", text="👍"))
        ),
        doc(paragraph("First line", hard_break(), "second line", hard_break(), "- not a list")),
    ]
    blocks = [
        heading("Release 4.2", level=2),
        bullet_list("one", list_item("two", ordered_list("first", paragraph("then ", strong("bold"))))),
        ordered_list(_SENTENCE, paragraph(ann, " writes the notes"), order=4),
        code_block("def f(x):\n    return x ** 2\n" * 5, "python"),
        panel("Mind the gap", bullet_list("and the step"), type="warning"),
        blockquote(_SENTENCE, paragraph("and ", em("more"))),
        task_list("write", task_item("read ", plan, done=True)),
        decision_list("go"),
        rule(),
        table(
            table_row(table_header("Name"), table_header("Open"), table_header("Closed")),
            *(table_row("Ann", str(row), paragraph(strong(str(row * 7)), " of ", code("all"))) for row in range(6)),
        ),
        media_group(media("m1", collection="c"), media("m2", collection="c")),
        application_card("Build 42", link="https://example.com/42", description=_SENTENCE),
    ]
    return [*chat, *map(doc, blocks), doc(*blocks)]


def _cpu(write: Callable[[Document], str], documents: list[Document]) -> Callable[[], float]:
    def measure() -> float:
        began = time.process_time()
        for _ in range(ROUNDS):
            for document in documents:
                write(document)
        return (time.process_time() - began) / ROUNDS / len(documents) * 1e6

    return measure


BENCHMARKS = (Benchmark(("P23",), findings),)
