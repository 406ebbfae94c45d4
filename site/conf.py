"""Settings of Sphinx for the sources that `build.py` puts together."""

import re
import sys
from pathlib import Path

SITE = Path(__file__).parent
sys.path[:0] = [str(SITE), str(SITE.parent)]

from math_without_scripts import add_math  # noqa: E402

import skdiffuse  # noqa: E402

project = "skdiffuse"
author = "The skdiffuse developers"
project_copyright = author
version = release = skdiffuse.__version__
root_doc = "index"
exclude_patterns = ["docs/**"]
templates_path = [str(SITE / "templates")]

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
]

# A page is plain Markdown on GitHub; `##` titles are its anchors there and here.
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
# Plain attributes, for which it reads the docstrings of int and frozenset.
numpydoc_validation_exclude = {r"\.capabilities$", r"\.n_inputs$", r"\.n_outputs$"}
# All checks but these, and why:
numpydoc_validation_checks = {
    "all",
    "ES01",  # further words: one line is enough for a small function
    "EX01",  # examples: a class shows what its methods do
    "SA01",  # "See also": links stand in the text, where they mean something
    "PR01",  # parameters: fields of a result are "Attributes"; `x` of a curve needs no words
    "PR03",  # order: parameters that are described elsewhere share one line, wherever they stand
    "PR04",  # types: and have that of the description that they refer to
    "PR07",  # descriptions: `n_frames : int` says it
    "RT01",  # "Returns": where the summary says what is returned
    "RT03",  # and where the type says it
    "GL08",  # no docstring: methods whose base class has it
}

sphinx_gallery_conf = {
    "examples_dirs": ["../examples"],
    "gallery_dirs": ["gallery"],
    # `build.py` runs them, as a user does, and puts their pictures in.
    "plot_gallery": False,
    "backreferences_dir": "gallery/names",
    "doc_module": ("skdiffuse",),
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "min_reported_time": 1e9,
    "copyfile_regex": "",
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "skdiffuse"
html_static_path = [str(SITE / "static")]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
# The theme shows a section alone: empty for a page that has none below it.
html_sidebars = {"index": [], "*": ["all_pages.html"]}


def stars_of_shapes(app, what, name, obj, options, lines):
    """Let ``(n, *shape)`` and ``(n_iter_,)`` be read as they stand."""
    for i, line in enumerate(lines):
        if "shape (" in line and "``" not in line:
            line = re.sub(r"(?<=[ (])\*(?=\w)", r"\\*", line)
            lines[i] = re.sub(r"(?<=\w)_(?=[,)])", r"\\_", line)


def fields_of_tuples(app, what, name, obj, skip, options):
    """Leave out entries that say no more than "Alias for field number 0"."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app):
    add_math(app)
    app.connect("autodoc-process-docstring", stars_of_shapes, priority=400)
    app.connect("autodoc-skip-member", fields_of_tuples)
