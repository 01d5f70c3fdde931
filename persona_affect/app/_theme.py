"""The look of the web page: system fonts, light and dark colours, nothing from other sites."""

from importlib.resources import files

import gradio as gr
from gradio.themes.utils import colors, sizes

_SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def make_theme() -> gr.themes.Base:
    """Make the theme of gradio's own parts."""
    theme = gr.themes.Base(
        primary_hue=colors.teal,
        secondary_hue=colors.teal,
        neutral_hue=colors.stone,
        radius_size=sizes.radius_lg,
        font=[*_SANS, "sans-serif"],
        font_mono=_MONO,
    )
    return theme.set(
        body_background_fill="#faf9f7",
        body_background_fill_dark="#161514",
        body_text_color="#292524",
        body_text_color_dark="#e7e5e4",
        body_text_color_subdued="#6b645f",
        body_text_color_subdued_dark="#a8a29e",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#1f1d1b",
        background_fill_secondary="#f5f3f0",
        background_fill_secondary_dark="#262321",
        block_background_fill="#ffffff",
        block_background_fill_dark="#1f1d1b",
        block_border_width="1px",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        block_label_text_color="*body_text_color_subdued",
        block_shadow="none",
        border_color_primary="#e3dfda",
        border_color_primary_dark="#3a3532",
        button_primary_background_fill="#0f766e",
        button_primary_background_fill_hover="#115e59",
        button_primary_background_fill_dark="#0f766e",
        button_primary_text_color="#ffffff",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_dark="#262321",
        button_secondary_border_color="#d6d0ca",
        button_secondary_border_color_dark="#4a4440",
        button_border_width="1px",
        button_large_text_weight="500",
        button_transition="background-color 0.15s",
        color_accent="#0f766e",
        color_accent_soft_dark="#134e4a",
        link_text_color="#0f766e",
        link_text_color_dark="#5eead4",
        loader_color="#0f766e",
    )


def read_style() -> str:
    """Read the style of our own parts."""
    return files(__package__).joinpath("page.css").read_text("utf-8")


def read_script() -> str:
    """Read the scripts of the page, as elements for its head."""
    names = ("page.js", "photos.js", "camera.js")
    scripts = [files(__package__).joinpath(name).read_text("utf-8") for name in names]
    return "".join(f"<script>{script}</script>" for script in scripts)
