"""The Fill tab: a picture to select, paint, fill, expand and keep, layer by layer.

The tab is one `gr.HTML` with a constant template. `assets/fill.js` fills it: the canvas (`canvas.js`), the options,
the tools, the prompt bar and the dock. It talks to our own routes (`routes_documents.py`, `routes_fill.py`,
`routes_selections.py`), pixels travel as lossless PNG by id, and what a person wrote enters with `textContent` only.
Nothing here knows a document; a reload asks the server, and the journal in the browser, again.
"""

from __future__ import annotations

import gradio as gr


def build_fill_tab(script: str) -> None:
    """Lays the tab out inside the Blocks that is being built.

    `script` is the address of `fill.js`, relative to the page.
    """
    gr.HTML(
        html_template='<section class="wb-fill" aria-label="Fill"></section>',
        js_on_load=f'import(new URL("{script}", document.baseURI)).then((fill) => fill.mount(element))',
        apply_default_css=False,
        elem_id="wb-fill-room",
    )
