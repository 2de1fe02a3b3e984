"""Build the site with Sphinx; `nox -s docs` does."""

from __future__ import annotations

import sys
from pathlib import Path

import stride_async

sys.path.insert(0, str(Path(__file__).parent))  # for `_docstrings` and `_links`

project = "stride_async"
author = project_copyright = "The stride_async authors"
release = version = stride_async.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "_docstrings", "_links"]
exclude_patterns = ["_build"]
nitpicky = True
nitpick_ignore_regex = [
    # What other packages document. Their pages are not read, so that a build needs no network.
    (r"py:.*", r"(aiohttp|attr|collections|contextlib|datetime|opentelemetry|os|pathlib|re|types|typing|web)\..*"),
    (r"py:obj", "Bearer"),  # a word of a header
    (r"py:class", r"Path|PathLike|date|datetime|timedelta"),
    (r"py:class", r"(stride_async\..*\.)?[A-Z]"),  # a type variable
    (r"py:obj", r".*\.[a-z]\w*"),  # a word of a docstring that may be a member of the class, and here is not
]
suppress_warnings = ["misc.highlighting_failure"]  # samples of JSON contain ellipses
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]

default_role = "code-or-name"
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"light_css_variables": {"code-font-size": "80%"}}  # 100 columns fit, as `--help` has
copybutton_exclude = ".linenos, .gp, .go"
