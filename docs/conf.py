"""Sphinx configuration of the site: `make docs` builds it without a network, and fails on any warning."""

import os
import sys
from pathlib import Path

from stl_algebra.version import __version__

project = "stl-algebra"
author = "the stl-algebra developers"
copyright = "the stl-algebra developers, Apache-2.0"
release = version = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build", "_templates"]
html_theme = "furo"
html_title = f"stl-algebra {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_show_sourcelink = False
html_copy_source = False
templates_path = ["_templates"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Pages are run when they are built, from an empty cache: what they show is what the code does now.
nb_execution_mode = "force"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_merge_streams = True
# Tables that cells make are tables.
nb_render_markdown_format = "myst"

# Commands in pages are this environment's, print plainly, and take two threads.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ |= {
    "NO_COLOR": "1",
    "COLUMNS": "130",
    "TTY_INTERACTIVE": "0",
    "OMP_NUM_THREADS": "2",
    "TQDM_DISABLE": "1",
}
# Bars that nobody sees need no widgets.
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"
# Files of the repository that pages read: results, for the figures in the text.
os.environ["STL_REPOSITORY"] = str(Path(__file__).parents[1])

autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
# Quotes and primes stay as they are written, since many stand in code and in formulas; dashes are made.
smartquotes_action = "D"
# Single backquotes in docstrings are names of code.
default_role = "code"


def without_substitutions(app, what, name, obj, options, lines):  # type: ignore[no-untyped-def]
    """Bars in docstrings are norms; reStructuredText would take them for substitutions."""
    lines[:] = [line.replace("|", "\\|") for line in lines]


def setup(app):  # type: ignore[no-untyped-def]
    """Sphinx calls it."""
    app.connect("autodoc-process-docstring", without_substitutions)
