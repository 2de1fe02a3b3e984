"""Build the site with Sphinx; `nox -s docs` does."""

from __future__ import annotations

import stride_async

project = "stride_async"
author = project_copyright = "The stride_async authors"
release = version = stride_async.__version__

extensions = ["myst_parser", "sphinx_copybutton"]
exclude_patterns = ["_build"]
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]  # samples of JSON contain ellipses
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_show_sphinx = False
copybutton_exclude = ".linenos, .gp, .go"
