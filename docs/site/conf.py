"""Settings of Sphinx for the website; `build.py` says how it is made."""

from __future__ import annotations

import sys
from pathlib import Path

import rethinklab

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

project = "rethinklab"
author = "The rethinklab developers"
release = version = rethinklab.__version__
language = "en_GB"
extensions = ["myst_nb", "sphinx.ext.autodoc", "docstrings", "mathml"]

nb_execution_mode = "off"  # lessons are shown with the outputs that are committed
nb_ipywidgets_js: dict = {}  # nothing is fetched from elsewhere
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True

pygments_style, pygments_dark_style = "friendly", "monokai"
html_theme = "furo"
html_title = f"rethinklab {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_search_summary = False  # it would need a server
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0a5c8a", "color-brand-content": "#0a5c8a"},
    "dark_css_variables": {"color-brand-primary": "#7cc4ee", "color-brand-content": "#7cc4ee"}}
