"""The Generate tab: the form that becomes a request, and the stage on which its pictures appear.

The form is made of Gradio's inputs. The stage is ours: one `gr.HTML` with a constant template, filled by
`assets/generate.js`, which talks to our own routes and puts every text of a person in with `textContent`.

Painting does not pass through a Gradio event on the server. The button's `js=` hands the form's values to
`generate.js`, which posts them to `/studio/jobs`. So the button, Ctrl+Enter, an example card, "Four more like this"
and a dropped picture all take one path; a wrong value comes back as JSON that names its field, so the words can stand
beside the input; and the page keeps working when the server was restarted under it, for no Gradio session is involved.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr

from studio.requests import PROMPT_LIMIT, SIZE_MULTIPLE, SOLVERS

if TYPE_CHECKING:
    from studio.models.catalogue import ModelCard

STEPS = (1, 50)  # what the slider reaches; a picture that asks for more stretches it
GUIDANCE = (0.0, 15.0)
COUNTS = ("1", "2", "4", "8")
TITLES = {  # the chip categories that there can be: the painter's own, and those for models that know more words
    "style": "Style",
    "place": "Place",
    "time": "Time",
    "season": "Season",
    "weather": "Weather",
    "things": "Things",
    "subject": "Subject",
    "shot": "Shot",
    "light": "Light",
    "camera": "Camera",
    "lens": "Lens",
    "mood": "Mood",
    "colour": "Colour",
}


@dataclass(frozen=True)
class Form:
    """The inputs, in the order in which `assets/form.js` reads and writes them."""

    prompt: gr.Textbox
    negative_prompt: gr.Textbox
    steps: gr.Slider
    guidance: gr.Slider
    solver: gr.Dropdown
    size: gr.Dropdown
    seed: gr.Number
    dice: gr.Checkbox
    count: gr.Radio

    def inputs(self) -> list[gr.components.Component]:
        return [
            self.prompt,
            self.negative_prompt,
            self.steps,
            self.guidance,
            self.solver,
            self.size,
            self.seed,
            self.dice,
            self.count,
        ]


def build_generate_tab(card: ModelCard, chips: Mapping[str, Sequence[str]], script: str) -> None:
    """Lays the tab out inside the Blocks that is being built.

    `card` gives the defaults. `chips` are phrases by category, empty for a model whose words are not known.
    `script` is the address of `generate.js`, relative to the page.
    """
    with gr.Row(elem_id="wb-gen"):
        with gr.Column(elem_id="wb-side"):
            with gr.Column(elem_id="wb-body"):
                form, groups = _build_form(card, chips)
            with gr.Column(elem_id="wb-foot"):
                paint = gr.Button(_label(COUNTS[2]), variant="primary", elem_id="wb-paint")
                gr.HTML(html_template="<p></p>", js_on_load=None, apply_default_css=False, elem_id="wb-estimate")
        with gr.Column(elem_id="wb-stage-column"):
            stage = gr.HTML(
                html_template='<section class="wb-stage"></section>',
                # These three are events of ours: generate.js triggers them to write into Gradio's inputs.
                js_on_load=f"{_module(script)}"
                ".then((page) => page.mount(element, trigger, ['fill', 'rename', 'mark']))",
                apply_default_css=False,
                elem_id="wb-stage",
            )
    phrases = {name: list(chips[name]) for name in _categories(chips)}
    _connect(form, groups, phrases, paint, stage, script)


def _build_form(card: ModelCard, chips: Mapping[str, Sequence[str]]) -> tuple[Form, list[gr.CheckboxGroup]]:
    prompt = gr.Textbox(
        label="Prompt",
        placeholder="Say what is there, when, and how it is painted",
        lines=4,
        max_lines=10,
        elem_id="wb-prompt",
        interactive=True,
    )
    gr.HTML(html_template="<div></div>", js_on_load=None, apply_default_css=False, elem_id="wb-words")
    # how long the prompt is, and the ways to build one, folded away until asked for
    gr.HTML(html_template="<div></div>", js_on_load=None, apply_default_css=False, elem_id="wb-help")
    groups = _build_chips(chips)
    # the settings in a line, on phones
    gr.HTML(html_template="<div></div>", js_on_load=None, apply_default_css=False, elem_id="wb-more")
    with gr.Column(elem_id="wb-settings"):
        negative = gr.Textbox(
            label="Leave out",
            placeholder="Words to steer away from",
            max_lines=4,
            elem_id="wb-negative",
            interactive=True,
        )
        with gr.Row(elem_classes="wb-two"):
            steps = gr.Slider(
                *STEPS,
                value=card.num_inference_steps,
                step=1,
                label="Steps",
                elem_id="wb-steps",
                buttons=["reset"],
                interactive=True,
            )
            guidance = gr.Slider(
                *GUIDANCE,
                value=card.guidance_scale,
                step=0.1,
                label="Guidance",
                elem_id="wb-guidance",
                buttons=["reset"],
                interactive=True,
            )
        with gr.Row(elem_classes="wb-two"):
            solver = gr.Dropdown(
                list(SOLVERS), value=card.solver, label="Solver", elem_id="wb-solver", interactive=True
            )
            size = gr.Dropdown(
                sizes(card.width, card.height),
                value=_size_label(card.width, card.height),
                label="Size",
                allow_custom_value=True,
                elem_id="wb-size",
                interactive=True,
            )
        with gr.Row(elem_classes="wb-two"):
            with gr.Row(elem_id="wb-seed-row"):
                seed = gr.Number(
                    None, label="Seed", placeholder="new each time", elem_id="wb-seed", interactive=True, min_width=60
                )
                dice = gr.Checkbox(
                    True,
                    label="New seed each time",
                    elem_id="wb-dice",
                    container=False,
                    min_width=32,
                    scale=0,
                    interactive=True,
                )
            count = gr.Radio(list(COUNTS), value=COUNTS[2], label="Pictures", elem_id="wb-count", interactive=True)
        # a correction that a restored picture brought
        gr.HTML(html_template="<div></div>", js_on_load=None, apply_default_css=False, elem_id="wb-carried")
    return Form(prompt, negative, steps, guidance, solver, size, seed, dice, count), groups


def _build_chips(chips: Mapping[str, Sequence[str]]) -> list[gr.CheckboxGroup]:
    """One group of checkboxes per category, drawn as chips. The scripts know a group by its place in the list."""
    groups: list[gr.CheckboxGroup] = []
    present = _categories(chips)
    if present:
        with gr.Tabs(elem_id="wb-chips", elem_classes="wb-many" if len(present) > 6 else None):
            for name in present:
                with gr.Tab(TITLES[name]):
                    groups.append(
                        gr.CheckboxGroup(
                            list(chips[name]),
                            label=TITLES[name],
                            show_label=False,
                            container=False,
                            elem_id=f"wb-chips-{name}",
                            interactive=True,
                        )
                    )
    return groups


def _categories(chips: Mapping[str, Sequence[str]]) -> list[str]:
    return [name for name in chips if name in TITLES and chips[name]]


def _connect(
    form: Form,
    groups: list[gr.CheckboxGroup],
    phrases: dict[str, list[str]],
    paint: gr.Button,
    stage: gr.HTML,
    script: str,
) -> None:
    """Ties the inputs to `generate.js`. Every event runs in the browser alone (`fn=None`).

    Gradio reads the inputs when an event starts and writes the answer when it ends. No wait may lie between the two:
    what a person does meanwhile would be overwritten by the older answer. `import()` is such a wait, even for a module
    that is there; so the functions are taken from `globalThis.wavebrush`, and imported only while the page loads.
    """
    inputs = form.inputs()

    def call(name: str, *constants: object) -> str:
        rest = "".join(f", {json.dumps(value)}" for value in constants)
        return f"async (...values) => (globalThis.wavebrush ?? (await {_module(script)})).{name}(values{rest})"

    paint.click(fn=None, js=call("paint", PROMPT_LIMIT), inputs=inputs)
    gr.on(None, fn=None, js=call("formChanged", phrases), inputs=inputs)  # on load, and on every change
    stage.fill(fn=None, js=call("formValues"), outputs=inputs)
    stage.rename(fn=None, js=call("paintLabel"), outputs=[paint])
    form.dice.input(fn=None, js=call("diceTurned"), inputs=[form.dice], outputs=[form.seed])
    form.seed.input(fn=None, js=call("seedTyped"), inputs=[form.seed], outputs=[form.dice])
    if groups:
        stage.mark(fn=None, js=call("chipValues"), outputs=groups)
        gr.on(
            [group.input for group in groups],
            fn=None,
            js=call("promptOfChips", phrases),
            inputs=[form.prompt, *groups],
            outputs=[form.prompt],
        )


def sizes(width: int, height: int) -> list[str]:
    """Sizes to offer for a model whose own size is width × height px: its own, wide, tall, and larger ones.

    Sides are multiples of 16. Others can be typed.
    """

    def side(pixels: float) -> int:
        return round(pixels / SIZE_MULTIPLE) * SIZE_MULTIPLE

    offers = [(1.0, 1.0), (1.5, 1.0), (1.0, 1.5), (1.5, 1.5), (2.0, 1.0)]
    labels = [_size_label(side(width * across), side(height * down)) for across, down in offers]
    return list(dict.fromkeys(labels))


def _size_label(width: int, height: int) -> str:
    return f"{width} × {height}"


def _label(count: str) -> str:
    return "Paint 1 picture" if count == "1" else f"Paint {count} pictures"


def _module(script: str) -> str:
    return f'import(new URL("{script}", document.baseURI))'
