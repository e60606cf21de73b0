"""Our route below /studio for generative fill. A fill is a job as any other: followed, stopped and kept like one.

    POST /studio/fills        {"source": PIXELS, "mask": PIXELS, "count": 1, "request": {...}}
    GET  /studio/fills/usual  what suits each intent on the model that the studio runs with
    POST /studio/fills/layer  {"run": ID}: the layer of a fill that is kept, branches of fills included

`source` is the whole picture as the page shows it, `mask` is grey. The request is a `Fill` in which nothing but its
intent and words has to be said: the model's card and the intent know the rest, and without a width and a height the
working size is the one that suits the frame. The page asks for what suits, so as to show it, and sends none of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from numpy.typing import NDArray

from studio.engine import Engine
from studio.errors import InvalidRequest
from studio.filling import Filling
from studio.imaging.geometry import Extent
from studio.jobs import Jobs
from studio.models.catalogue import ModelCard
from studio.project.pixels_store import PixelStore
from studio.project.wordbook import Wordbooks
from studio.prompts.prepared import prepared
from studio.requests import FILL_DEPTH, INTENTS, JSON_LIMIT, STEPS_RANGE, Fill
from studio.web.desk import Desk, answer, json_object, only
from studio.web.owners import owner_of

FIELDS = ("source", "mask", "count", "request")


def build_fill_routes(
    engine: Engine, jobs: Jobs, pixels: PixelStore, desk: Desk, wordbooks: Wordbooks | None = None
) -> APIRouter:
    """The route of one studio's fills. `wordbooks` hold the lists that a prompt may name."""
    router = APIRouter(prefix="/studio", include_in_schema=False)

    @router.get("/fills/usual")
    async def usual(request: Request) -> Response:
        return await desk.shown(request, lambda: answer({"intents": usual_of(engine.card())}))

    @router.post("/fills/layer")
    async def layer(request: Request) -> Response:
        def work(body: bytes) -> Response:
            values = json_object(body, JSON_LIMIT, 1)
            only(values, "run")
            if not isinstance(run := values.get("run"), str):
                raise InvalidRequest("run is the id of a fill.", "run")
            return answer(jobs.layer_of(owner_of(request), run))

        return await desk.taken(request, work)

    @router.post("/fills")
    async def fill(request: Request) -> Response:
        def work(body: bytes) -> Response:
            owner = owner_of(request)
            values = json_object(body, JSON_LIMIT, FILL_DEPTH + 1)
            only(values, *FIELDS)
            wanted, size = read_fill(values.get("request"), engine.card())
            if wanted.painting.model not in (engine.default_model, engine.loaded_model):
                raise InvalidRequest(
                    f"The studio runs with '{engine.default_model}'. Start it with --model to use another one.",
                    "model",
                )
            lists, weighs = wordbooks.lists(owner) if wordbooks else None, engine.weighs(wanted.painting.model)
            wanted = dataclasses.replace(wanted, painting=prepared(wanted.painting, lists, weighs))
            source = _pixels(pixels, owner, values, "source")
            mask = _pixels(pixels, owner, values, "mask")
            if source.ndim != 3:
                source = np.repeat(source[..., None], 3, axis=2)
            filling = Filling.of(wanted, source, mask, engine.card(wanted.painting.model), size)
            return answer(jobs.submit_fill(filling, values.get("count", 1), owner), 202)

        return await desk.taken(request, work)

    return router


def usual_of(card: ModelCard) -> dict[str, dict[str, Any]]:
    """What suits each intent on a model where a fill does not say it: the steps left out, by how many there are (the
    first of the list is for one), the guidance, the rounds of harmonising and the pre-fill.
    """
    return {
        name: {
            "starts": [intent.start_of(steps) for steps in range(1, STEPS_RANGE[1] + 1)],
            "guidance_scale": intent.guidance_for(card.guidance_scale),
            "harmonise": intent.harmonise,
            "prefill": intent.prefill,
        }
        for name, intent in INTENTS.items()
    }


def read_fill(values: object, card: ModelCard) -> tuple[Fill, Extent | None]:
    """A fill with what suits the model and the intent where it says nothing; and its working size, if it says one.

    Raises InvalidRequest, naming the field.
    """
    if not isinstance(values, Mapping):
        raise InvalidRequest('This is no fill: it should be {"source": …, "mask": …, "request": {…}}.', "request")
    painting = values.get("painting", {})
    if not isinstance(painting, Mapping):
        raise InvalidRequest("A painting is an object with a prompt and a seed.", "painting")
    sides = [side for side in ("width", "height") if painting.get(side) is not None]
    if len(sides) == 1:
        raise InvalidRequest("Say both sides of the working size, or neither.", sides[0])
    said = {name: value for name, value in painting.items() if value is not None or name == "correction"}
    own: dict[str, Any] = card.request().to_dict()
    if (intent := INTENTS.get(str(values.get("intent", "fill")))) is not None:
        own["guidance_scale"] = intent.guidance_for(card.guidance_scale)
    fill = Fill.from_dict({**values, "painting": {**own, **said}})
    return fill, Extent(fill.painting.width, fill.painting.height) if sides else None


def _pixels(pixels: PixelStore, owner: str, values: Mapping[str, Any], field: str) -> NDArray[np.uint8]:
    pixels_id = values.get(field)
    found = pixels.pixels(owner, pixels_id) if isinstance(pixels_id, str) else None
    if found is None:
        what = "picture" if field == "source" else "mask"
        raise InvalidRequest(f"The pixels of the {what} are not there any more. Send them again.", field)
    return found
