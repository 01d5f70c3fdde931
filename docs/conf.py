"""Settings of the site: `.ci/run site` builds it, with warnings as errors and no internet."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

import persona_affect  # noqa: E402

project = "persona-affect"
author = "The persona-affect developers"
copyright = author
release = version = persona_affect.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "api_pages",
    "diagrams",
    "equations",
    "notebooks",
    "repository_pages",
]
exclude_patterns = [
    "_build",
    "_ext",
    "_templates",
    "diagrams",
    "**/GALLERY_HEADER.rst",
    "**sg_execution_times*",
]
templates_path = ["_templates"]
default_role = "py:obj"
language = "en"

# MyST: the pages in Markdown.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
# Pages of the repository begin at the level that their place there asks for.
suppress_warnings = ["myst.header", "config.cache"]

# The reference: summaries are made from `__all__` by api_pages.
autosummary_generate = True
autosummary_imported_members = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# The gallery: an example is run again only if its code has changed (docs/gallery keeps the
# results).
sphinx_gallery_conf = {
    "examples_dirs": [str(HERE.parent / "examples/gallery")],
    "gallery_dirs": ["gallery"],
    "filename_pattern": "/plot_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": False,
    "remove_config_comments": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 0,
    "doc_module": ("persona_affect",),
    "backreferences_dir": "gallery/backreferences",
    "capture_repr": ("_repr_html_", "__repr__"),
    # Their figures are collected as figures.
    "ignore_repr_types": r"persona_affect\.inspection.*Display",
    "reset_modules": ("matplotlib", "gallery_start.reset_example"),
}

html_theme = "pydata_sphinx_theme"
html_title = f"persona-affect {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_context = {"default_mode": "auto"}
html_domain_indices = False
html_show_sourcelink = False
html_copy_source = False
html_last_updated_fmt = None
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "navigation_with_keys": True,
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    # Both are local: nothing on a page comes from another server.
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": [], "start": [], "faq": []}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
