"""The routes that help with prompts, on a real tiny model: what words come to, what is kept, what one word does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from studio.diffusion.strengths import Strengths
from studio.engine import Engine
from studio.errors import StudioError
from studio.imaging.png import REQUEST_KEY, read_picture, read_png_text, write_png
from studio.job import FINISHED
from studio.jobs import Jobs
from studio.project.store import PictureStore, note_in
from studio.project.wordbook import Wordbooks
from studio.requests import TextToImage
from studio.web.desk import Desk
from studio.web.routes import build_routes
from studio.web.routes_prompts import build_prompt_routes

PATIENCE = 60.0  # s


class Echo:
    """A rewriter that answers at once; a real one is tried in tests/unit/test_rewriter.py."""

    name = "echo"

    def rewrite(self, prompt: str) -> str:
        if not prompt.strip():
            raise StudioError("Write a few words first.")
        return f"rich {prompt}"


@dataclass
class Studio:
    client: TestClient
    engine: Engine
    request: dict[str, Any]

    def post(self, path: str, value: Any, status: int = 200) -> Any:
        answer = self.client.post(f"/studio/{path}", content=json.dumps(value))
        assert answer.status_code == status, answer.text
        return answer.json()

    def painted(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            snapshot = self.client.get(f"/studio/jobs/{job['id']}").json()
            if snapshot["state"] in FINISHED:
                assert snapshot["state"] == "done", snapshot["error"]
                return list(snapshot["pictures"])
            time.sleep(0.02)
        raise AssertionError("the job never ended")

    def png(self, picture: dict[str, Any]) -> bytes:
        return bytes(self.client.get(f"/studio/pictures/{picture['id']}.png").content)


@pytest.fixture
def studio(tiny_engine: Engine, tiny_model: Path, tmp_path: Path) -> Iterator[Studio]:
    store, wordbooks = PictureStore(tmp_path), Wordbooks(tmp_path)
    jobs = Jobs(tiny_engine, store)
    app = FastAPI()
    app.include_router(build_routes(tiny_engine, jobs, store, wordbooks, "echo"))
    app.include_router(build_prompt_routes(tiny_engine, jobs, store, wordbooks, Echo(), Desk()))  # type: ignore[arg-type]
    request = TextToImage("a lake", width=64, height=64, num_inference_steps=2, seed=7, model=str(tiny_model))
    with TestClient(app) as client:
        yield Studio(client, tiny_engine, request.to_dict())
    jobs.close(PATIENCE)
    assert not [thread for thread in threading.enumerate() if thread.name == "studio-worker" and thread.is_alive()]


def test_words_are_read_before_they_are_painted(studio: Studio) -> None:
    found = studio.post(
        "prompt", {"prompt": "a (red lake:1.3), {oil|oil} painting", "negative_prompt": "boat", "seed": 3}
    )
    assert found["problem"] is None
    assert found["pieces"] == [{"text": "red lake", "weight": 1.3}]
    assert found["choices"] == ["oil"]
    assert found["tokens"]["count"] > 4
    assert found["tokens"]["beyond"] is None
    assert found["remarks"] == []


def test_words_beyond_the_encoders_limit_are_named_before_it_cuts(studio: Studio) -> None:
    limit = studio.post("prompt", {"prompt": "a"})["tokens"]["limit"]
    found = studio.post("prompt", {"prompt": "a " * limit + "boat", "negative_prompt": "a " * limit + "red"})
    assert found["tokens"]["count"] > limit
    assert (found["tokens"]["limit"], found["tokens"]["beyond"]) == (limit, "boat")
    assert found["negative_tokens"]["beyond"] == "red"
    assert studio.post("prompt", {"prompt": "a " * limit})["tokens"]["beyond"] is None


def test_what_is_wrong_with_a_wildcard_is_said_while_it_is_typed(studio: Studio) -> None:
    assert "no list 'trees'" in studio.post("prompt", {"prompt": "__trees__"})["problem"]
    assert studio.post("jobs", {"request": {**studio.request, "prompt": "__trees__"}}, 422)["field"] == "prompt"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"prompt": 1}', b'{"prompt": "\\u0000"}', b'{"x": 1}', b'{"seed": -1}', b"{" * 99]
)
@pytest.mark.parametrize("path", ["prompt", "wordbook", "effects", "rewrite"])
def test_what_is_no_question_is_refused_in_words(studio: Studio, path: str, body: bytes) -> None:
    answer = studio.client.post(f"/studio/{path}", content=body)
    assert answer.status_code == 422
    assert answer.json()["error"]


def test_the_same_seed_chooses_the_same_words_alone_and_in_a_batch(studio: Studio) -> None:
    wanted = {**studio.request, "prompt": "a {red|blue|green|white} {lake|boat|forest}", "seed": 40}
    several = studio.painted(studio.post("jobs", {"request": wanted, "count": 4}, 202))
    alone = studio.painted(studio.post("jobs", {"request": {**wanted, "seed": 42}}, 202))
    assert studio.png(several[2]) == studio.png(alone[0])
    prompts = {picture["request"]["prompt"] for picture in several}
    assert len(prompts) > 1
    assert not any(mark in prompt for prompt in prompts for mark in "{|}")
    note = note_in(studio.png(alone[0]))
    assert note["request"]["template"] == wanted["prompt"]
    assert note["request"]["prompt"] == alone[0]["request"]["prompt"]


def test_a_dropped_picture_brings_its_wildcards_weights_and_correction_back(studio: Studio) -> None:
    correction = Strengths.low(0.02).to_dict()
    wanted = {
        **studio.request,
        "prompt": "a (red:1.2) {lake|boat}",
        "negative_prompt": "[oil]",
        "solver": "Euler",
        "correction": correction,
    }
    first = studio.painted(studio.post("jobs", {"request": wanted}, 202))[0]
    found = studio.client.post("/studio/import", content=studio.png(first)).json()
    assert found["request"] == wanted
    assert found["exact"] is True
    assert found["prompt"] in ("a (red:1.2) lake", "a (red:1.2) boat")
    assert found["notes"] == [f"At this seed its wildcards became: {found['prompt']}"]
    again = studio.painted(studio.post("jobs", {"request": found["request"]}, 202))[0]
    assert studio.png(again) == studio.png(first)


def test_a_correction_of_another_formula_is_left_out_and_the_rest_comes_back(studio: Studio) -> None:
    request = {
        **studio.request,
        "correction": {**Strengths.low(0.1).to_dict(), "formula": 99},
    }
    png = write_png(np.zeros((8, 8, 3), np.uint8), {REQUEST_KEY: json.dumps({"format": 1, "request": request})})
    found = studio.client.post("/studio/import", content=png).json()
    assert found["request"] == studio.request
    assert found["exact"] is False
    assert "version 99" in found["notes"][0]


def test_a_strangers_picture_brings_its_settings_and_says_what_it_could_not(studio: Studio) -> None:
    settings = "Steps: 9, Sampler: LMS Karras, CFG scale: 4.5, Seed: 12, Size: 64x100, Model: ../../etc/passwd"
    text = f"a <img onerror=x>\n{settings}"
    png = write_png(np.zeros((8, 8, 3), np.uint8), {"parameters": text})
    found = studio.client.post("/studio/import", content=png).json()
    assert found["program"].startswith("AUTOMATIC1111")
    assert found["request"]["prompt"] == "a <img onerror=x>"
    assert (found["request"]["num_inference_steps"], found["request"]["seed"]) == (9, 12)
    assert found["request"]["model"] == studio.engine.default_model
    assert found["exact"] is False
    for words in ("LMS Karras", "64 × 100", "passwd"):
        assert words in " ".join(found["notes"])


@pytest.mark.parametrize(
    ("note", "words"),
    [
        ({"stopped_at": 1}, "stopped at step 1"),
        ({"fill": {}}, "fills a region"),
        ({"branch": {"from": 1}}, "left another run"),
    ],
)
def test_pictures_that_settings_alone_do_not_give_say_so(studio: Studio, note: dict[str, Any], words: str) -> None:
    png = write_png(
        np.zeros((8, 8, 3), np.uint8), {REQUEST_KEY: json.dumps({"format": 1, "request": studio.request, **note})}
    )
    found = studio.client.post("/studio/import", content=png).json()
    assert found["exact"] is False
    assert words in found["notes"][0]


def test_lists_are_kept_and_used(studio: Studio) -> None:
    book = studio.post("wordbook", {"kind": "lists", "name": "things", "value": ["red boat", "oil"]})
    assert studio.client.get("/studio/wordbook").json() == book
    assert studio.post("prompt", {"prompt": "__things__"})["choices"][0] in ("red boat", "oil")
    assert studio.post("wordbook", {"kind": "lists", "name": "things", "value": None})["lists"] == {}


def test_what_a_word_did_is_drawn_and_measured(studio: Studio) -> None:
    request = {**studio.request, "prompt": "a lake, (red:1.5)"}
    pictures = studio.painted(studio.post("effects", {"request": request, "without": "a lake"}, 202))
    assert [picture["request"]["prompt"] for picture in pictures] == ["a lake, (red:1.5)", "a lake"]
    assert pictures[0]["seed"] == pictures[1]["seed"] == 7
    where = f"/studio/effects/{pictures[0]['id']}/{pictures[1]['id']}"
    found = studio.client.get(where, params={"word": "red"}).json()
    assert len(found["bands"]) == 5
    assert sum(band["share"] for band in found["bands"]) == pytest.approx(100)
    assert found["sentence"][0][0].startswith("“red” changed ")
    drawn = read_picture(studio.client.get(f"{where}/difference.png").content)
    one, other = (read_picture(studio.png(picture)).astype(int) for picture in pictures)
    expected = np.clip(np.rint(128 + found["gain"] * (one - other)), 0, 255)
    assert (drawn == expected).all()


def test_an_effect_of_nothing_and_of_pictures_that_are_not_there_is_refused(studio: Studio) -> None:
    same = studio.post("effects", {"request": studio.request, "without": studio.request["prompt"]}, 422)
    assert same["field"] == "prompt"
    assert studio.post("effects", {"request": studio.request}, 422)["error"]
    assert studio.client.get("/studio/effects/a/..%2fb").status_code == 404
    assert studio.client.get("/studio/effects/1/2/difference.png").status_code == 404


def test_a_proposal_is_made_and_nothing_painted(studio: Studio) -> None:
    assert studio.post("rewrite", {"prompt": "a lake"}) == {"text": "rich a lake"}
    assert "few words" in studio.post("rewrite", {"prompt": " "}, 422)["error"]
    session = studio.client.get("/studio/session").json()
    assert session["rewriter"] == "echo"
    assert session["pictures"] == []


def test_every_png_says_where_it_was_made(studio: Studio) -> None:
    picture = studio.painted(studio.post("jobs", {"request": studio.request}, 202))[0]
    made = note_in(studio.png(picture))["made_with"]
    assert {
        "wavebrush",
        "torch",
        "diffusers",
        "transformers",
        "python",
        "machine",
        "weights",
        "device",
        "dtype",
        "threads",
    } <= set(made)
    assert json.loads(read_png_text(studio.png(picture))[REQUEST_KEY])["format"] == 1
