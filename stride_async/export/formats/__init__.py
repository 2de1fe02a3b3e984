"""Convert an archive to the formats of other programs.

Needs the extra `export`; parquet needs `tables` and html needs `view`.

A format is a module of this package with one function, `write(source, output, options, tally)`, and one line in
`FORMATS` of `_convert`:

- `source.rooms()` yields the conversations, oldest first. A room has `messages()`, of all months or of one, `months`
  with their digests, `user_ids`, and `medium(id)` for a file; `document_of(message)` never fails. `source.people[id]`
  is there for any id.
- `output` is an `OutputFile` with the `path` to write, or an `OutputFolder` with `write`, `open`, `link` and `keep`.
  `output.ids.add()` records an id that replaces another.
- `tally` counts what is written: `conversation()`, `message()` and `file()`. `lose(kind, id)` counts what is lost; add
  a new kind to the fixed words in `_report`.
- Names, times and markup come from `_names`, `_times` and `_tree`.

Everything else is common: the order of renames, the report, what is in the way, kills, options and damage.
"""

from stride_async.export.formats._convert import convert
from stride_async.export.formats._options import ConvertOptions
from stride_async.export.formats._output import OutInTheWay
from stride_async.export.formats._report import ConvertProgress, Loss, Report
from stride_async.export.formats.seed import seed_of

__all__ = [
    "ConvertOptions",
    "ConvertProgress",
    "Loss",
    "OutInTheWay",
    "Report",
    "convert",
    "seed_of",
]

for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = __name__
