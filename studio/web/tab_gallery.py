"""The Gallery tab: all pictures of all documents and runs, to be searched, held against each other, kept or let go.

The tab is one `gr.HTML` with a constant template. `assets/gallery.js` fills it and talks to our own routes
(`routes_library.py`, `routes_grids.py`): of a wall of thousands only what is in sight is in the page, and what a
person wrote enters with `textContent` only. Nothing here knows a picture; a reload asks the server again.
"""

from __future__ import annotations

import gradio as gr


def build_gallery_tab(script: str) -> None:
    """Lays the tab out inside the Blocks that is being built.

    `script` is the address of `gallery.js`, relative to the page.
    """
    gr.HTML(
        html_template='<section class="wb-gallery" aria-label="Gallery"></section>',
        js_on_load=f'import(new URL("{script}", document.baseURI)).then((gallery) => gallery.mount(element))',
        apply_default_css=False,
        elem_id="wb-gallery-room",
    )
