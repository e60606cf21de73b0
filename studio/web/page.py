"""The page around the tabs: the bar with our name, the model and the theme button, and what goes into its head.

Gradio is asked for nothing from outside: fonts, analytics, footer links and run history are off, and every script and
style comes from `/studio/assets`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.assets import asset
from studio.prompts.components import CATEGORIES
from studio.web.tab_fill import build_fill_tab
from studio.web.tab_gallery import build_gallery_tab
from studio.web.tab_generate import GUIDANCE, STEPS, build_generate_tab
from studio.web.tab_steps import build_steps_tab
from studio.web.theme import make_theme

if TYPE_CHECKING:
    from studio.models.catalogue import ModelCard

STYLES = (
    "tokens.css",
    "frame.css",
    "form.css",
    "prompt.css",
    "stage.css",
    "steps.css",
    "steps_panels.css",
    "canvas.css",
    "fill.css",
    "fill_dock.css",
    "gallery.css",
)


def build_page(card: ModelCard, chips: Mapping[str, Sequence[str]] | None = None) -> tuple[gr.Blocks, dict[str, Any]]:
    """The page, and the keyword arguments with which `gr.mount_gradio_app` should mount it.

    `card` is the model that the studio was started with; `chips` are the phrases by category that build a prompt, or
    None for the bundled painter's own, and for general ones with any other model.
    """
    if chips is None:
        chips = _painter_chips() if card.name == "painter" else CATEGORIES
    with gr.Blocks(
        title="wavebrush", analytics_enabled=False, fill_width=True, delete_cache=(3600, 24 * 3600)
    ) as blocks:
        gr.HTML(
            html_template='<div class="wb-brand"></div>',
            js_on_load=f"import(new URL('{_address('frame.js')}', document.baseURI))"
            ".then((frame) => frame.mountBrand(element))",
            apply_default_css=False,
            elem_id="wb-brand",
        )
        gr.HTML(
            html_template='<div class="wb-tools"></div>',
            js_on_load=f"import(new URL('{_address('frame.js')}', document.baseURI))"
            ".then((frame) => frame.mountTools(element))",
            apply_default_css=False,
            elem_id="wb-tools",
        )
        with gr.Tabs(elem_id="wb-tabs"):
            with gr.Tab("Generate", id="generate", elem_id="wb-generate"):
                build_generate_tab(card, chips, _address("generate.js"))
            with gr.Tab("Fill", id="fill", elem_id="wb-fill-tab"):
                build_fill_tab(_address("fill.js"))
            with gr.Tab("Steps", id="steps", elem_id="wb-steps-tab"):
                build_steps_tab(_address("steps.js"))
            with gr.Tab("Gallery", id="gallery", elem_id="wb-gallery-tab"):
                build_gallery_tab(_address("gallery.js"))
    mount: dict[str, Any] = {
        "theme": make_theme(),
        "head": _head(card),
        "footer_links": [],
        "run_history": False,
        "ssr_mode": False,
        "pwa": False,
        "mcp_server": False,
        "enable_monitoring": False,
        "max_file_size": "1kb",  # the page uploads nothing through Gradio
    }
    return blocks, mount


def _painter_chips() -> Mapping[str, Sequence[str]]:
    from studio.painter.vocabulary import CHIPS

    return CHIPS


def _head(card: ModelCard) -> str:
    """Styles, the theme before the first paint, and where the sliders' defaults lie, from 0 (left end) to 1."""
    links = "".join(f'<link rel="stylesheet" href="{_address(name)}">' for name in STYLES)
    ticks = (
        f"#wb-steps {{ --wb-default: {_fraction(card.num_inference_steps, STEPS):.4f}; }} "
        f"#wb-guidance {{ --wb-default: {_fraction(card.guidance_scale, GUIDANCE):.4f}; }}"
    )
    return (
        f'{links}<link rel="icon" type="image/svg+xml" href="{_address("favicon.svg")}">'
        f'<script type="module" src="{_address("frame.js")}"></script>'
        f'<script type="module" src="{_address("gallery_link.js")}"></script><style>{ticks}</style>'
    )


def _fraction(value: float, ends: tuple[float, float]) -> float:
    return (min(max(value, ends[0]), ends[1]) - ends[0]) / (ends[1] - ends[0])


def _address(name: str) -> str:
    """Where the page finds one of our files, relative to itself.

    Styles carry a digest, so that a browser never wears yesterday's; a script must have one address only, or it would
    be loaded once per address, each time with a state of its own.
    """
    address = f"studio/assets/{name}"
    path = asset(name)
    if path.suffix == ".js" or not path.is_file():
        return address
    return f"{address}?v={hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
