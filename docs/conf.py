"""How Sphinx builds the site: ``make docs``. Nothing is fetched; every warning is an error."""

import os
import sys
from importlib.metadata import version as installed
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "extensions"))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # what notebooks and doctests start
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
# notebooks run `sarcast` of this environment

project = "sarcast"
author = "the authors of sarcast"
project_copyright = "2026, the authors of sarcast"
release = version = installed("sarcast")

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_design",
    "command_line",
    "inside_links",
    "mathml",
    "outside_resources",
]
exclude_patterns = ["_build", "extensions", "jupyter_execute", "**/.ipynb_checkpoints"]
nitpicky = False
suppress_warnings = ["config.cache"]

# MyST pages and notebooks
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "substitution"]
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_timeout = 900  # seconds of a cell, of which a busy machine needs more
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
highlight_language = "text"
pygments_style = "friendly"

# API pages, from the docstrings
autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = f"sarcast {release}"
html_static_path = ["_static"]
html_css_files = ["sarcast.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "show_version_warning_banner": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "navbar_end": ["theme-switcher"],
    "pygments_light_style": "friendly",
    "pygments_dark_style": "github-dark",
}
html_context = {"default_mode": "auto"}
html_sidebars = {"index": []}
