"""Selections and opened files over the routes, as the page calls them, without a model."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from document_room import DocumentRoom, room
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image
from signed_in import named_by_header

from studio.imaging.plain_png import read_plain, write_plain
from studio.imaging.png import REQUEST_KEY, write_png
from studio.project.library import Library
from studio.requests import TextToImage
from studio.web.desk import Desk
from studio.web.routes_open import build_open_routes
from studio.web.routes_pixels import build_pixel_routes
from studio.web.routes_selections import build_selection_routes


class Studio:
    """The routes as one person's page sees them, and what is behind them."""

    def __init__(self, client: TestClient, made: DocumentRoom) -> None:
        self.client = client
        self.room = made

    def send(self, picture: np.ndarray) -> str:
        answer = self.client.post("/studio/pixels", content=write_plain(picture))
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def select(self, how: str, **values: Any) -> np.ndarray:
        answer = self.client.post(f"/studio/selections/{how}", json=values)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "image/png"
        return read_plain(answer.content)

    def refused(self, how: str, **values: Any) -> tuple[int, str | None, str]:
        answer = self.client.post(f"/studio/selections/{how}", json=values)
        assert answer.status_code >= 400
        return answer.status_code, answer.json()["field"], answer.json()["error"]

    def open(self, data: bytes, status: int = 201, **query: str) -> dict[str, Any]:
        answer = self.client.post("/studio/pictures/open", content=data, params=query)
        assert answer.status_code == status, answer.text
        return answer.json()

    def pixels(self, pixels_id: str) -> np.ndarray:
        return read_plain(self.client.get(f"/studio/pixels/{pixels_id}.png").content)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    app = FastAPI()
    named_by_header(app)
    with room(tmp_path) as made:
        for router in (
            build_pixel_routes(made.pixels, Desk()),
            build_selection_routes(made.pixels, Desk()),
            build_open_routes(made.pixels, Library(made.database, made.pictures, made.runs), Desk()),
        ):
            app.include_router(router)
        with TestClient(app) as client:
            yield Studio(client, made)


def square() -> np.ndarray:
    """A red square on blue; 30 × 40 pixels."""
    picture = np.full((30, 40, 3), (20, 40, 200), np.uint8)
    picture[8:22, 10:28] = (220, 30, 20)
    return picture


def in_square() -> np.ndarray:
    mask = np.zeros((30, 40), np.uint8)
    mask[8:22, 10:28] = 255
    return mask


def file_of(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_wand_answers_with_a_grey_mask_of_the_documents_size(studio: Studio, channels: int) -> None:
    picture = square()
    if channels == 4:
        picture = np.concatenate([picture, np.full((30, 40, 1), 255, np.uint8)], axis=2)
    source = studio.send(picture if channels > 1 else picture[..., 0])
    mask = studio.select("wand", source=source, x=12, y=10, tolerance=10, radius=2)
    np.testing.assert_array_equal(mask, in_square())
    around = studio.select("wand", source=source, x=0, y=0, tolerance=10, contiguous=False, radius=2)
    np.testing.assert_array_equal(around, 255 - in_square())


def test_the_wands_edge_is_as_soft_as_the_pictures(studio: Studio) -> None:
    ramp = np.clip(np.abs(np.arange(40) - 19.5) - 10, 0, 4) / 4  # 0 on a band, 1 around it, over 4 pixels
    picture = np.rint(np.array([230, 40, 30]) * (1 - ramp[:, None]) + np.array([20, 40, 200]) * ramp[:, None])
    source = studio.send(np.repeat(picture[None].astype(np.uint8), 30, axis=0))
    mask = studio.select("wand", source=source, x=20, y=15, tolerance=20, radius=4)
    off = np.abs(mask[15] / 255 - (1 - ramp))
    assert off.max() < 0.2, mask[15]
    assert (np.diff(mask[15, 5:17].astype(int)) >= 0).all()


def test_an_object_is_cut_out_by_a_box_or_a_scribble(studio: Studio) -> None:
    source = studio.send(square())
    mask = studio.select("grabcut", source=source, box={"x": 7, "y": 5, "width": 24, "height": 20})
    assert (mask != in_square()).sum() <= 8
    scribble = np.zeros((30, 40), np.uint8)
    scribble[12:18, 14:24] = 255
    scribble[2] = 64
    mask = studio.select("grabcut", source=source, scribble=studio.send(scribble))
    assert (mask != in_square()).sum() <= 8


def test_an_edge_is_refined(studio: Studio) -> None:
    rough = np.zeros((30, 40), np.uint8)
    rough[6:24, 8:30] = 255
    mask = studio.select("refine", source=studio.send(square()), mask=studio.send(rough), radius=4)
    assert ((mask >= 128) != (in_square() > 0)).sum() <= 8


def test_wrong_values_are_refused_with_the_name_of_the_field(studio: Studio) -> None:
    source, grey = studio.send(square()), studio.send(np.zeros((30, 40), np.uint8))
    point = {"source": source, "x": 1, "y": 1, "tolerance": 3, "radius": 4}
    for changed, field in (
        ({"x": 40}, "x"),
        ({"y": -1}, "y"),
        ({"x": 1.0}, "x"),
        ({"x": True}, "x"),
        ({"tolerance": 256}, "tolerance"),
        ({"tolerance": "3"}, "tolerance"),
        ({"contiguous": 1}, "contiguous"),
        ({"radius": 0}, "radius"),
        ({"radius": None}, "radius"),
        ({"source": 5}, "source"),
        ({"colour": 5}, "colour"),
    ):
        status, named, _ = studio.refused("wand", **(point | changed))
        assert (status, named) == (422, field)
    box = {"x": 7, "y": 5, "width": 24, "height": 20}
    for values, field in (
        ({}, "box"),
        ({"box": box, "scribble": grey}, "box"),
        ({"box": box | {"width": 0}}, "box"),
        ({"box": box | {"x": 10**9}}, "x"),
        ({"box": {"x": 1}}, "box"),
        ({"box": [1, 2, 3, 4]}, "box"),
        ({"box": {"x": 0, "y": 0, "width": 40, "height": 30}}, "box"),
        ({"scribble": source}, "scribble"),
        ({"scribble": grey}, "scribble"),
    ):
        status, named, words = studio.refused("grabcut", source=source, **values)
        assert (status, named) == (422, field), words
    for values, field in (({"mask": source, "radius": 4}, "mask"), ({"mask": grey, "radius": 99}, "radius")):
        assert studio.refused("refine", source=source, **values)[:2] == (422, field)


def test_a_body_that_is_no_json_is_refused(studio: Studio) -> None:
    for body in (b"", b"[]", b"{", b'{"x": NaN}', b'{"x": 1, "x": 2}', b"[" * 5000):
        answer = studio.client.post("/studio/selections/wand", content=body)
        assert answer.status_code == 422
        assert answer.json()["error"]


def test_pixels_of_others_are_not_there(studio: Studio) -> None:
    source = studio.send(square())
    answer = studio.client.post(
        "/studio/selections/wand",
        json={"source": source, "x": 1, "y": 1, "tolerance": 3, "radius": 4},
        headers={"x-user": "eve"},
    )
    assert answer.status_code == 404
    for unknown in ("0" * 32, "../secret", "", "a" * 5000):
        answer = studio.client.post(
            "/studio/selections/wand", json={"source": unknown, "x": 1, "y": 1, "tolerance": 3, "radius": 4}
        )
        assert answer.status_code in (404, 422)


def test_an_opened_file_becomes_pixels_with_words_on_what_was_converted(studio: Studio) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = studio.open(file_of(Image.fromarray(square()), "PNG", exif=exif))
    assert (found["width"], found["height"]) == (30, 40)
    assert found["notes"] == ["It was turned upright, as its camera says."]
    pixels = studio.pixels(found["id"])
    np.testing.assert_array_equal(pixels[..., :3], np.rot90(square(), -1))
    assert (pixels[..., 3] == 255).all()


def test_the_file_of_a_picture_in_the_gallery_is_named(studio: Studio) -> None:
    note = {"format": 1, "request": TextToImage("a lake").to_dict()}
    png = write_png(square(), {REQUEST_KEY: json.dumps(note)})
    assert studio.open(png)["picture"] is None
    kept = studio.room.pictures.add("user:eve", png, 1_700_000_000_000)
    hers = studio.client.post("/studio/pictures/open", content=png, headers={"x-user": "eve"})
    assert hers.json()["picture"] == kept
    assert studio.open(png)["picture"] is None
    as_mask = studio.client.post("/studio/pictures/open?as=mask", content=png, headers={"x-user": "eve"})
    assert as_mask.json()["picture"] is None


def test_a_file_is_opened_as_a_mask(studio: Studio) -> None:
    found = studio.open(file_of(Image.fromarray(in_square()), "PNG"), **{"as": "mask"})
    np.testing.assert_array_equal(studio.pixels(found["id"]), in_square())
    assert studio.open(b"x", 422, **{"as": "movie"})["field"] == "as"


def test_a_file_that_is_too_large_is_opened_smaller_on_request(studio: Studio) -> None:
    data = file_of(Image.new("RGB", (5000, 10), (9, 90, 200)), "PNG")
    refused = studio.open(data, 422)
    assert refused["field"] == "fit"
    assert "4096 × 8" in refused["error"]
    found = studio.open(data, fit="1")
    assert (found["width"], found["height"]) == (4096, 8)
    assert found["notes"] == ["Its 5000 × 10 pixels were reduced to 4096 × 8."]


@pytest.mark.parametrize("data", [b"", b"GIF89a", file_of(Image.fromarray(square()), "PNG")[:-30]])
def test_a_file_that_is_no_picture_is_refused_in_words(studio: Studio, data: bytes) -> None:
    refused = studio.open(data, 422)
    assert len(refused["error"]) > 15
