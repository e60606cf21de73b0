"""Our design tokens as Gradio's theme: the same names for light and dark, because the tokens themselves turn.

The tokens are in `assets/tokens.css`; what no theme variable reaches is in `assets/frame.css` and `assets/form.css`.
No font is fetched: the tokens name fonts that computers already have.
"""

from __future__ import annotations

import gradio as gr

# Gradio paints these two before any stylesheet of ours has arrived: the page's own greys as fall-backs, so that it
# does not flash white in the dark.
_PAGE = "var(--wb-page, #ececec)"
_PAGE_DARK = "var(--wb-page, #161616)"

_VARIABLES: dict[str, str] = {
    "body_text_color": "var(--wb-text)",
    "body_text_color_subdued": "var(--wb-text-2)",
    "background_fill_primary": "var(--wb-panel)",
    "background_fill_secondary": "var(--wb-page)",
    "border_color_primary": "var(--wb-line)",
    "border_color_accent": "var(--wb-accent)",
    "color_accent_soft": "var(--wb-accent-soft)",
    "link_text_color": "var(--wb-accent)",
    "link_text_color_hover": "var(--wb-accent-hover)",
    "block_background_fill": "transparent",
    "block_border_width": "0px",
    "block_shadow": "none",
    "block_label_text_color": "var(--wb-text-2)",
    "block_title_text_color": "var(--wb-text-2)",
    "block_info_text_color": "var(--wb-text-3)",
    "panel_background_fill": "var(--wb-panel)",
    "panel_border_width": "0px",
    "accordion_text_color": "var(--wb-text-2)",
    "input_background_fill": "var(--wb-field)",
    "input_background_fill_focus": "var(--wb-field)",
    "input_border_color": "var(--wb-edge)",
    "input_border_color_hover": "var(--wb-text-3)",
    "input_border_color_focus": "var(--wb-accent)",
    "input_border_width": "1px",
    "input_placeholder_color": "var(--wb-text-3)",
    "input_shadow": "none",
    "input_shadow_focus": "0 0 0 1px var(--wb-accent)",
    "slider_color": "var(--wb-accent)",
    "loader_color": "var(--wb-accent)",
    "checkbox_background_color": "var(--wb-field)",
    "checkbox_background_color_selected": "var(--wb-accent)",
    "checkbox_border_color": "var(--wb-edge)",
    "checkbox_border_color_focus": "var(--wb-accent)",
    "checkbox_label_background_fill": "transparent",
    "checkbox_label_background_fill_selected": "var(--wb-accent-soft)",
    "checkbox_label_border_color_selected": "var(--wb-accent)",
    "button_primary_background_fill": "var(--wb-accent)",
    "button_primary_background_fill_hover": "var(--wb-accent-hover)",
    "button_primary_border_color": "transparent",
    "button_primary_text_color": "var(--wb-on-accent)",
    "button_secondary_background_fill": "var(--wb-raised)",
    "button_secondary_background_fill_hover": "var(--wb-press)",
    "button_secondary_border_color": "var(--wb-line)",
    "button_secondary_text_color": "var(--wb-text)",
    "button_cancel_background_fill": "transparent",
    "button_cancel_background_fill_hover": "var(--wb-danger-soft)",
    "button_cancel_border_color": "var(--wb-danger)",
    "button_cancel_text_color": "var(--wb-danger)",
    "error_background_fill": "var(--wb-danger-soft)",
    "error_border_color": "var(--wb-danger)",
    "error_text_color": "var(--wb-danger)",
    "error_icon_color": "var(--wb-danger)",
    "stat_background_fill": "var(--wb-accent-soft)",
    "table_row_focus": "var(--wb-accent-soft)",
    "table_border_color": "var(--wb-line)",
}

_BOTH_THEMES: dict[str, str] = {  # variables that Gradio has once, for light and dark alike
    "body_text_size": "var(--wb-t3)",
    "color_accent": "var(--wb-accent)",
    "block_padding": "0px",
    "block_radius": "var(--wb-r3)",
    "container_radius": "var(--wb-r3)",
    "block_label_text_size": "var(--wb-t2)",
    "block_title_text_size": "var(--wb-t2)",
    "block_title_text_weight": "500",
    "block_info_text_size": "var(--wb-t1)",
    "layout_gap": "var(--wb-s4)",
    "form_gap_width": "0px",
    "section_header_text_size": "var(--wb-t4)",
    "section_header_text_weight": "600",
    "input_padding": "7px 10px",
    "input_radius": "var(--wb-r2)",
    "input_text_size": "var(--wb-t3)",
    "checkbox_border_radius": "var(--wb-r1)",
    "button_large_radius": "var(--wb-r2)",
    "button_medium_radius": "var(--wb-r2)",
    "button_small_radius": "var(--wb-r1)",
    "button_large_text_size": "var(--wb-t4)",
    "button_medium_text_size": "var(--wb-t3)",
    "button_small_text_size": "var(--wb-t2)",
    "button_large_text_weight": "600",
    "button_medium_text_weight": "500",
    "button_transform_hover": "none",
    "button_transform_active": "none",
    "button_transition": "background var(--wb-fast), border-color var(--wb-fast)",
    "table_radius": "var(--wb-r2)",
    "shadow_drop": "var(--wb-shadow-1)",
    "shadow_drop_lg": "var(--wb-shadow-2)",
}


def make_theme() -> gr.themes.Base:
    """Gradio's base theme, wearing our tokens."""
    theme = gr.themes.Base(font=["Arial", "sans-serif"], font_mono=["Consolas", "monospace"])
    dark = {f"{name}_dark": value for name, value in _VARIABLES.items()}
    return theme.set(
        body_background_fill=_PAGE, body_background_fill_dark=_PAGE_DARK, **_VARIABLES, **dark, **_BOTH_THEMES
    )
