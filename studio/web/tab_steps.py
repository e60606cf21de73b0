"""The Steps tab: a run step by step, band by band, and the branches that come of stepping in.

The tab is one `gr.HTML` with a constant template. `assets/steps.js` fills it and talks to our own routes
(`routes_runs.py`): scrubbing draws from pictures that are already in the browser, which no event of Gradio's could do
within a frame, and what a person wrote enters with `textContent` only. Nothing here knows a run; a reload asks the
server again.
"""

from __future__ import annotations

import gradio as gr


def build_steps_tab(script: str) -> None:
    """Lays the tab out inside the Blocks that is being built.

    `script` is the address of `steps.js`, relative to the page.
    """
    gr.HTML(
        html_template='<section class="wb-steps" aria-label="Steps"></section>',
        js_on_load=f'import(new URL("{script}", document.baseURI)).then((steps) => steps.mount(element))',
        apply_default_css=False,
        elem_id="wb-steps-room",
    )
