"""Recorded runs against people who mean harm: through the guard, over a real port, two people signed in.

What takes long is in `test_routes_runs_crowd.py`, what lies on the disk in `test_runs_planted.py`.
"""

from __future__ import annotations

import contextlib
import http.client
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from two_people import ANN, EVE, SIDE, Studio, opened

from studio.engine import Engine
from studio.imaging.png import write_png
from studio.project.uploads import Uploads


@pytest.fixture(scope="module")
def studio(_tiny_engine: Engine, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with opened(_tiny_engine, tiny_model, tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture(scope="module")
def run(studio: Studio) -> str:
    """A run of Ann's."""
    return studio.make(ANN)


@pytest.fixture(scope="module")
def own(studio: Studio) -> str:
    """A run of Eve's."""
    return studio.make(EVE)


# -- other people's things --------------------------------------------------------------------------------------------


def test_nothing_of_another_person_is_reached_through_ones_own(studio: Studio, run: str, own: str) -> None:
    upload = studio.upload(ANN, write_png(np.full((SIDE, SIDE, 3), 255, dtype=np.uint8))).json()["id"]
    for address in (f"{own}/difference/{run}/0.png", f"{run}/difference/{own}/0.png"):
        studio.client.get(f"/studio/runs/{address}", headers=ANN)  # a wrong answer that is cached, perhaps
        assert studio.client.get(f"/studio/runs/{address}", headers=EVE).status_code == 404
    mix = {"from": 1, "mix": {"run": run, "bands": [0]}}
    assert studio.client.post(f"/studio/runs/{own}/branch", json=mix, headers=EVE).status_code == 404
    for wish in ({"edit": {"picture": upload}}, {"mask": upload}, {"edit": {"picture": upload, "mask": upload}}):
        answer = studio.client.post(f"/studio/runs/{own}/branch", json={"from": 1, **wish}, headers=EVE)
        assert answer.status_code == 422
        assert "not there any more" in answer.json()["error"]


def test_what_one_has_looked_at_is_not_served_to_another(studio: Studio, run: str) -> None:
    for path in ("/thumbnail.png", "/steps/0.png", "/steps/0/bands.png", "/contact.png", "/animation.gif"):
        seen = studio.client.get(f"/studio/runs/{run}{path}", headers=ANN)
        assert seen.status_code == 200
        assert seen.headers["cache-control"] == "private, max-age=3600"
        assert seen.headers["vary"] == "Cookie", "whoever signs in next on this browser is another"
        assert studio.client.get(f"/studio/runs/{run}{path}", headers=EVE).status_code == 404
    picture = studio.client.get(f"/studio/pictures/{run}.png", headers=ANN)
    assert (picture.status_code, picture.headers["vary"]) == (200, "Cookie")


def test_every_answer_says_what_it_is_and_may_not_be_guessed_at(studio: Studio, run: str) -> None:
    kinds = {
        "": "application/json",
        "/strip.png": "image/png",
        "/steps/0.png": "image/png",
        "/animation.gif": "image/gif",
        "/run.safetensors": "application/octet-stream",
        "/steps/99.png": "application/json",
    }
    for path, kind in kinds.items():
        answer = studio.client.get(f"/studio/runs/{run}{path}", headers=ANN)
        assert answer.headers["content-type"] == kind
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        if kind != "image/png" and kind != "image/gif":
            assert answer.headers["cache-control"] == "no-store"
    assert (
        "attachment"
        in studio.client.get(f"/studio/runs/{run}/run.safetensors", headers=ANN).headers["content-disposition"]
    )


# -- other sites ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "foreign",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
    ],
)
def test_another_site_can_neither_send_nor_look(studio: Studio, run: str, foreign: dict[str, str]) -> None:
    png = write_png(np.zeros((8, 8, 3), dtype=np.uint8))
    headers = ANN | foreign
    assert studio.client.put("/studio/uploads", content=png, headers=headers).status_code == 403
    plain = headers | {"Content-Type": "text/plain"}
    assert studio.client.post(f"/studio/runs/{run}/branch", content='{"from":1}', headers=plain).status_code == 403
    assert studio.client.get(f"/studio/runs/{run}/steps/0.png", headers=headers).status_code == 403
    assert studio.client.get("/studio/runs", headers=headers).status_code == 403


def test_other_methods_do_nothing(studio: Studio, run: str) -> None:
    for method in ("HEAD", "OPTIONS", "DELETE", "PATCH", "PUT"):
        answer = studio.client.request(method, f"/studio/runs/{run}/steps/0.png", headers=ANN)
        assert answer.status_code == 405
        assert not any(name.startswith("access-control") for name in answer.headers)
    assert studio.client.post("/studio/uploads", content=b"", headers=ANN).status_code == 405
    assert studio.client.get(f"/studio/runs/{run}/branch", headers=ANN).status_code == 405


# -- names and numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["..%2f..%2fetc", "%2e%2e", "..", ".", "a%00b", "a\\b", "%252e%252e", "0" * 2000, "{id}%2f..", "C:"]
)
def test_no_name_is_a_path(studio: Studio, run: str, name: str) -> None:
    for address in (f"{name}", f"{name}/strip.png", f"{name}/run.safetensors", f"{run}/steps/{name}.png"):
        # as it stands: httpx would tidy the address up
        with contextlib.closing(http.client.HTTPConnection(studio.origin.removeprefix("http://"))) as connection:
            connection.request("GET", f"/studio/runs/{address}", headers=ANN)
            answer = connection.getresponse()
            assert answer.status in (400, 404, 414)
            assert str(studio.data) not in answer.read().decode()


@pytest.mark.parametrize(
    "query",
    [
        *(
            f"/steps/0.png?size={v}"
            for v in ("-1", "0", "15", "2049", "999999999", "9" * 400, "1e3", "١٢٨", "NaN", "+64")
        ),
        *(f"/steps/0.png?{q}" for q in ("look=../..", "show=%3Cb%3E", "look=auto", "gain=0.01")),
        *(f"/steps/0/bands.png?levels={v}" for v in ("-1", "0", "6", "999999999", "2.5", "inf")),
        *(f"/steps/0/bands.png?gain={v}" for v in ("0", "-1", "65", "nan", "inf", "x")),
        *(
            f"/steps/0/bands.png?{q}"
            for q in ("channel=-1", "band=-1", "band=6", "wavelet=bior6.8", "space=x", "show=x")
        ),
        *(f"/animation.gif?{q}" for q in ("fps=0", "fps=-1", "fps=inf", "fps=1e-9", "size=-5", "size=4096")),
        *(f"?{q}" for q in ("levels=-4", "levels=99999", "wavelet=", "look=fastest")),
    ],
)
def test_numbers_that_cannot_be_are_refused_before_anything_is_computed(studio: Studio, run: str, query: str) -> None:
    answer = studio.client.get(f"/studio/runs/{run}{query}", headers=ANN)
    assert answer.status_code == 422
    assert answer.json()["field"]


@pytest.mark.parametrize("gain", ["0", "-8", "65", "nan", "inf", "1e300", "8,0", "x"])
def test_no_gain_is_out_of_its_range(studio: Studio, run: str, gain: str) -> None:
    address = f"/studio/runs/{run}/difference/{run}/0.png"
    assert studio.client.get(address, params={"gain": gain}, headers=ANN).json()["field"] == "gain"


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b'{"a":' * 60 + b"1" + b"}" * 60,
        b'{"from": NaN}',
        b'{"from": 1e400}',
        b'{"from": 1, "from": 2}',
        b'{"from": ' + b"9" * 5000 + b"}",
        b'{"from": 1, "label": "\\ud800"}',
        b'{"from": "1"}',
        b'{"from": 1.0}',
        b'{"from": 1, "noise": {"seed": 1e3}}',
        b'{"from": 1, "noise": {"seed": "7"}}',
        b'{"from": 1, "lock": {"bands": [[0]]}}',
        b'{"from": 1, "lock": {"bands": [0], "levels": 1e9}}',
        b'{"from": 1, "lock": {"bands": [0], "levels": [1]}}',
        b'{"from": 1, "lock": {"bands": [0], "release": -1}}',
        b'{"from": 1, "lock": {"bands": [0], "wavelet": ["db2"]}}',
        b'{"from": 1, "mix": {"run": 5, "bands": [0]}}',
        b'{"from": 1, "mix": {"run": {"a": 1}, "bands": [0]}}',
        b'{"from": 1, "edit": {"picture": {"$ref": "x"}}}',
        b'{"from": 1, "edit": [1]}',
        b'{"from": 1, "request": {"seed": 5}}',
        b'{"from": 1, "request": {"model": "stranger/model"}}',
        b'{"from": 1, "request": {"num_inference_steps": 1e9}}',
        b'{"from": 1, "request": {"guidance_scale": 1e30}}',
        b'{"from": 1, "request": {"prompt": ["x"]}}',
        b'{"from": 1, "correction": {"levels": 99}}',
        b"null",
        b"",
        b"\xff\xfe",
    ],
)
def test_hostile_wishes_are_refused_in_words(studio: Studio, run: str, body: bytes) -> None:
    answer = studio.client.post(f"/studio/runs/{run}/branch", content=body, headers=ANN)
    assert answer.status_code == 422
    assert 0 < len(answer.json()["error"]) < 400


def test_a_wish_may_not_be_long(studio: Studio, run: str) -> None:
    body = b'{"from": 1, "label": "' + b"x" * 200_000 + b'"}'
    try:
        status = studio.client.post(f"/studio/runs/{run}/branch", content=body, headers=ANN).status_code
    except httpx.TransportError:  # the studio hung up while the rest was still being sent
        status = 413
    assert status == 413
    assert studio.client.get("/studio/runs", headers=ANN).status_code == 200


# -- pictures handed over ---------------------------------------------------------------------------------------------


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(width: int, height: int, rows: bytes, depth: int = 8, colour: int = 2, more: bytes = b"") -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + _chunk(b"IDAT", zlib.compress(rows, 9)) + _chunk(b"IEND", b"")


def test_bombs_are_refused_unopened(studio: Studio) -> None:
    row = b"\0" + bytes(3 * 6000)
    for bomb in (
        _png(6000, 6000, row * 100),  # would unpack to 108 MB
        _png(2**31 - 1, 2**31 - 1, b""),
        _png(16_384, 16_384, b""),
        _png(5000, 5000, b"", depth=1, colour=0),
    ):
        began = time.process_time()
        answer = studio.upload(EVE, bomb)
        assert answer.status_code == 422
        assert "pixels" in answer.json()["error"] or "broken" in answer.json()["error"]
        assert time.process_time() - began < 30


@pytest.mark.parametrize(
    "png",
    [
        _png(0, 8, b""),
        _png(8, 8, b""),
        _png(8, 8, b"\0" * 10),
        _png(8, 8, (b"\0" + bytes(24)) * 8, depth=3),
        _png(8, 8, (b"\0" + bytes(24)) * 8, colour=5),
        _png(8, 8, (b"\0" + b"\xff" * 8) * 8, colour=3),  # a palette picture without a palette
        _png(8, 8, (b"\0" + bytes(24)) * 8)[:-20],
        _png(8, 8, (b"\x09" + bytes(24)) * 8),  # a filter that does not exist
        b"\x89PNG\r\n\x1a\n" + b"\xff" * 64,
    ],
)
def test_odd_pictures_are_refused_or_read_but_break_nothing(studio: Studio, png: bytes) -> None:
    answer = studio.upload(EVE, png)
    assert answer.status_code in (201, 422)
    if answer.status_code == 201:
        assert (answer.json()["width"], answer.json()["height"]) == (8, 8)


def test_a_second_header_does_not_make_a_picture_larger(studio: Studio) -> None:
    large = _chunk(b"IHDR", struct.pack(">IIBBBBB", 16_384, 3000, 8, 2, 0, 0, 0))
    small = _png(8, 8, (b"\0" + bytes(24)) * 8, more=large)
    assert studio.upload(EVE, small).status_code == 422
    packed = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80_000_000), 9))
    assert studio.upload(EVE, _png(8, 8, (b"\0" + bytes(24)) * 8, more=packed)).status_code in (201, 422)


def test_a_flood_of_tiny_uploads_ends() -> None:
    png = write_png(np.zeros((1, 1, 3), dtype=np.uint8))
    uploads = Uploads(owner_budget=256 * 100, total_budget=256 * 150)
    for _ in range(400):
        newest, _, _ = uploads.add("eve", png)
    mine, _, _ = uploads.add("ann", png)
    assert len(uploads) == 257
    assert uploads.picture("eve", newest) is not None
    assert uploads.picture("ann", mine) is not None
