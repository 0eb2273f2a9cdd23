"""Sphinx configuration. Builds without network: no intersphinx, no equations from a server."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # gallery_options.py

import xpermafrost  # noqa: E402

project = "xpermafrost"
author = "The xpermafrost developers"
project_copyright = "The xpermafrost developers"
release = version = xpermafrost.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["_build", "Thumbs.db", "**/GALLERY_HEADER.rst"]
templates_path = ["_templates"]
nitpicky = False

# MyST: definition lists and links to headings; equations are text (see architecture.md).
myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3

# API pages are generated into docs/generated.
autosummary_generate = True
autodoc_typehints = "none"  # numpydoc states types in words
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# The examples are copied beside a header that the gallery wants, and rendered into docs/gallery.
STAGE = HERE / "_build" / "examples"
STAGE.mkdir(parents=True, exist_ok=True)
for old in STAGE.glob("*"):
    old.unlink()
for script in sorted((HERE.parent / "examples").glob("*.py")):
    shutil.copy2(script, STAGE)
(STAGE / "GALLERY_HEADER.rst").write_text(
    "Examples\n========\n\n"
    "Whole scripts, as they stand in ``examples/``; each is run from the command line as well.\n"
    "The one on stations needs data that are not part of the package: its code is shown and\n"
    "is not run here.\n"
)
sphinx_gallery_conf = {
    "examples_dirs": "_build/examples",
    "gallery_dirs": "gallery",
    # the one on stations needs data that are not here
    "filename_pattern": r"(project_alaska|permafrost_map|figures_gallery)\.py$",
    "reset_argv": "gallery_options.reset_argv",
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "min_reported_time": 1e9,
}

html_theme = "pydata_sphinx_theme"
html_title = "xpermafrost"
html_static_path = ["_static"]
html_css_files = ["xpermafrost.css"]
html_copy_source = False
html_show_sourcelink = False
# A page has the contents of the page on its right; only the API has a list on its left.
html_sidebars = {page.stem: [] for page in HERE.glob("*.md") if page.stem != "api"}
html_theme_options = {
    "show_prev_next": True,
    "header_links_before_dropdown": 8,
    "navbar_persistent": ["search-button"],
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
