"""Documents and their pixels over the routes, as the page calls them, without a model."""

from __future__ import annotations

import io
import json
import shutil
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from document_room import DocumentRoom, node_id, room
from fastapi import FastAPI
from fastapi.testclient import TestClient
from signed_in import named_by_header

from studio.imaging.plain_png import read_plain, write_plain
from studio.imaging.png import REQUEST_KEY, write_png
from studio.project import flattening
from studio.project.library import Library
from studio.project.pixels_store import PIXELS_BUDGET, PixelStore
from studio.project.runs import RUN_BUDGET
from studio.project.store import PICTURES_BUDGET
from studio.project.thumbnails import ThumbnailCache
from studio.requests import TextToImage
from studio.web import routes_exchange
from studio.web.desk import Desk
from studio.web.routes_documents import build_document_routes
from studio.web.routes_exchange import build_exchange_routes
from studio.web.routes_library import Kept, build_library_routes
from studio.web.routes_pixels import build_pixel_routes
from studio.web.turns import Turns


class Studio:
    """The routes as one person's page sees them, and what is behind them."""

    def __init__(self, client: TestClient, made: DocumentRoom) -> None:
        self.client = client
        self.room = made

    def send(self, *pictures: np.ndarray) -> list[str]:
        pngs = [write_plain(picture) for picture in pictures]
        bundle = b"".join(struct.pack(">I", len(png)) + png for png in pngs)
        answer = self.client.post("/studio/pixels/bundle", content=bundle)
        assert answer.status_code == 201, answer.text
        return answer.json()["ids"]

    def state(self, tile: str, **changed: Any) -> dict[str, Any]:
        layer = {
            "id": "a",
            "name": "Sketch",
            "kind": "paint",
            "x": -10,
            "y": 4,
            "visible": True,
            "opacity": 100,
            "tiles": {"0,0": tile},
            "facts": None,
        }
        return {
            "width": 300,
            "height": 200,
            "layers": [layer],
            "active": "a",
            "mask": {"tiles": {}, "grow": 0, "feather": 4},
            "masks": [],
        } | changed

    def create(self, name: str = "Coast") -> tuple[str, str, dict[str, Any]]:
        (tile,) = self.send(_tile(1))
        state = self.state(tile)
        answer = self.client.post("/studio/documents", json={"name": name, "state": state})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"], answer.json()["node"], state

    def get(self, path: str, status: int = 200, **query: Any) -> Any:
        answer = self.client.get(f"/studio/{path}", params=query)
        assert answer.status_code == status, answer.text
        return answer.json()

    def post(self, path: str, status: int, body: Any = None) -> Any:
        answer = self.client.post(f"/studio/{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()


def _tile(seed: int, *channels: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (256, 256, *(channels or (4,))), dtype=np.uint8)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with room(tmp_path) as made:
        app = FastAPI()
        named_by_header(app)
        desk = Desk()
        app.include_router(build_pixel_routes(made.pixels, desk))
        library, small = Library(made.database, made.pictures, made.runs), ThumbnailCache(tmp_path)
        kept = Kept(tmp_path, made.pictures, made.runs, made.pixels, made.documents, library, small, made.archive)
        engine, jobs = cast(Any, None), cast(Any, None)  # nothing is painted here
        app.include_router(build_library_routes(kept, engine, jobs, desk))
        app.include_router(build_exchange_routes(made.documents, made.pixels, made.archive, library, desk))
        app.include_router(build_document_routes(made.documents, made.pixels, small, desk))
        with TestClient(app, base_url="http://127.0.0.1:7860") as client:
            yield Studio(client, made)


def test_pixels_go_in_and_come_out_byte_for_byte(studio: Studio) -> None:
    png = write_plain(_tile(1))
    answer = studio.client.post("/studio/pixels", content=png)
    assert answer.status_code == 201
    assert (answer.json()["width"], answer.json()["height"]) == (256, 256)
    found = studio.client.get(f"/studio/pixels/{answer.json()['id']}.png")
    assert found.content == png
    assert found.headers["content-type"] == "image/png"
    assert "immutable" in found.headers["cache-control"]
    assert studio.send(_tile(1), _tile(2))[0] == answer.json()["id"]


@pytest.mark.parametrize("body", [b"", b"no png", write_plain(_tile(1))[:-1]], ids=len)
def test_what_is_no_png_is_refused_in_words(studio: Studio, body: bytes) -> None:
    for path in ("pixels", "pixels/bundle"):
        answer = studio.client.post(f"/studio/{path}", content=body)
        assert answer.status_code == 422
        assert answer.json()["error"]


def test_a_bundle_that_unpacks_to_very_much_is_not_unpacked(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.web.routes_pixels.UNPACKED_LIMIT", 2 * 4 * 256**2)
    assert len(studio.send(_tile(1), _tile(2))) == 2
    monkeypatch.setattr(PixelStore, "add_many", None)
    pngs = [write_plain(_tile(number)) for number in range(3)]
    bundle = b"".join(struct.pack(">I", len(png)) + png for png in pngs)
    answer = studio.client.post("/studio/pixels/bundle", content=bundle)
    assert (answer.status_code, "unpacked" in answer.text) == (422, True)


def test_a_document_is_made_changed_undone_and_opened_again(studio: Studio) -> None:
    document, first, state = studio.create()
    (tile,) = studio.send(_tile(2))
    node, changed = node_id(), studio.state(tile, width=256)
    body = {"id": node, "parent": first, "label": "Stroke", "state": changed}
    assert studio.post(f"documents/{document}/nodes", 201, body) == {"id": node, "head": node}
    assert studio.post(f"documents/{document}/nodes", 201, body) == {"id": node, "head": node}, "asked again"
    opened = studio.get(f"documents/{document}")
    assert (opened["name"], opened["head"], opened["state"]) == ("Coast", node, changed)
    assert [(step["id"], step["parent"], step["label"]) for step in opened["history"]] == [
        (first, None, "New"),
        (node, first, "Stroke"),
    ]
    studio.post(f"documents/{document}/head", 200, {"node": first})
    assert studio.get(f"documents/{document}")["state"] == state
    assert studio.get(f"documents/{document}/nodes/{node}") == changed


def test_the_flat_picture_is_the_layers_over_each_other(studio: Studio) -> None:
    document, _, _ = studio.create()
    answer = studio.client.get(f"/studio/documents/{document}/flat.png")
    expected = np.zeros((200, 300, 4), np.uint8)
    expected[4:200, :246] = _tile(1)[:196, 10:]
    expected[expected[..., 3] == 0] = 0
    assert np.array_equal(read_plain(answer.content), expected)
    small = studio.client.get(f"/studio/documents/{document}/thumbnail.webp")
    assert small.headers["content-type"] == "image/webp"
    assert small.content[8:12] == b"WEBP"
    assert studio.client.get(f"/studio/documents/{document}/thumbnail.webp").content == small.content


def test_names_bin_and_copies(studio: Studio) -> None:
    document, _, state = studio.create("Coast")
    answer = studio.client.patch(f"/studio/documents/{document}", json={"name": "Küste am Abend"})
    assert answer.json()["name"] == "Küste am Abend"
    copy = studio.post(f"documents/{document}/duplicate", 201)
    assert copy["name"] == "Küste am Abend copy"
    assert studio.get(f"documents/{copy['id']}")["state"] == state
    assert [line["id"] for line in studio.get("documents", query="abend KÜSTE")["documents"]] == [copy["id"], document]
    assert studio.client.delete(f"/studio/documents/{document}").json()["binned_at"] is not None
    assert [line["id"] for line in studio.get("documents")["documents"]] == [copy["id"]]
    listed = studio.get("documents", bin="1")
    assert ([line["id"] for line in listed["documents"]], listed["count"], listed["in_bin"]) == ([document], 1, 1)
    studio.post(f"documents/{document}/restore", 200)
    assert [line["id"] for line in studio.get("documents")["documents"]] == [document, copy["id"]]
    studio.client.delete(f"/studio/documents/{document}")
    assert studio.post("documents/bin/empty", 200) == {"deleted": 1}
    studio.get(f"documents/{document}", status=404)


def test_the_list_comes_in_pages(studio: Studio) -> None:
    ids = [studio.create(f"Number {k}")[0] for k in range(5)]
    first = studio.get("documents", limit=3)
    second = studio.get("documents", limit=3, cursor=first["cursor"])
    assert [line["id"] for line in first["documents"] + second["documents"]] == ids[::-1]
    assert second["cursor"] is None
    assert studio.get("documents", status=422, limit="x")["field"] == "limit"


def test_how_many_fit_is_told_whatever_the_page_holds(studio: Studio) -> None:
    ids = [studio.create(name)[0] for name in ("Sea 1", "Sea 2", "Sea 3", "Hill")]
    for document in ids[1:]:
        studio.client.delete(f"/studio/documents/{document}")
    for query, binned, found in (
        ("", 0, 1),
        ("sea", 0, 1),
        ("", 1, 3),
        ("SEA", 1, 2),
        ("sea 2", 1, 1),
        ("dune", 1, 0),
    ):
        listed = studio.get("documents", query=query, bin=str(binned), limit=1)
        assert (listed["found"], listed["count"], listed["in_bin"]) == (found, 1, 3), query
        assert len(listed["documents"]) == min(found, 1)


def test_documents_are_found_by_the_runs_that_their_layers_came_of(studio: Studio) -> None:
    (tile,) = studio.send(_tile(1, 4))
    run, ids = "1700000000000-0123456789abcdef", []
    for facts in ({"run": run}, None):
        state = studio.state(tile)
        state["layers"][0]["facts"] = facts
        ids.append(studio.client.post("/studio/documents", json={"name": "x", "state": state}).json()["id"])
    found = studio.client.get("/studio/documents", params={"runs": f"{run},1700000000000-0000000000000000"}).json()
    assert [entry["id"] for entry in found["documents"]] == ids[:1]
    many = studio.client.get("/studio/documents", params={"runs": ",".join([run] * 201)})
    assert (many.status_code, many.json()["field"]) == (422, "runs")


def test_nobody_reaches_the_documents_of_another(studio: Studio) -> None:
    document, node, state = studio.create()
    tile = state["layers"][0]["tiles"]["0,0"]
    theirs = {"x-user": "eve"}
    for method, path, body in [
        ("GET", "", None),
        ("GET", f"/nodes/{node}", None),
        ("GET", "/flat.png", None),
        ("GET", "/thumbnail.webp", None),
        ("POST", "/nodes", {"id": node_id(), "parent": node, "label": "x", "state": state}),
        ("POST", "/head", {"node": node}),
        ("POST", "/duplicate", None),
        ("POST", "/restore", None),
        ("PATCH", "", {"name": "mine"}),
        ("DELETE", "", None),
    ]:
        answer = studio.client.request(method, f"/studio/documents/{document}{path}", json=body, headers=theirs)
        assert answer.status_code == 404, (method, path, answer.text)
    assert studio.client.get(f"/studio/pixels/{tile}.png", headers=theirs).status_code == 404
    answer = studio.client.post("/studio/documents", json={"name": "x", "state": state}, headers=theirs)
    assert (answer.status_code, answer.json()["field"]) == (422, "state"), "the pixels are not hers"
    assert studio.client.get("/studio/documents", headers=theirs).json()["documents"] == []
    assert studio.get(f"documents/{document}")["name"] == "Coast"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", None),
        (b"[]", None),
        (b"{", None),
        (b'{"name": "x"}', "state"),
        (b'{"name": 1, "state": {}}', "name"),
        (b'{"name": "x", "name": "y", "state": {}}', None),
        (b'{"name": "x", "state": {"width": NaN}}', None),
        (b'{"name": "x", "state": {}, "more": 1}', "more"),
        (b'{"name": "x", "state": ' + b"[" * 60 + b"]" * 60 + b"}", None),
    ],
)
def test_a_body_that_makes_no_sense_is_refused_with_its_field(studio: Studio, body: bytes, field: str | None) -> None:
    answer = studio.client.post("/studio/documents", content=body)
    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert studio.get("documents")["count"] == 0


# -- documents as files -----------------------------------------------------------------------------------------------


def test_a_document_goes_out_and_comes_in_again(studio: Studio) -> None:
    document, _, state = studio.create("Küste")
    answer = studio.client.get(f"/studio/documents/{document}/export.wavebrush")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="k-ste.wavebrush"'
    assert int(answer.headers["content-length"]) == len(answer.content)
    came = studio.client.post("/studio/documents/import", content=answer.content)
    assert came.status_code == 201, came.text
    assert studio.get(f"documents/{came.json()['id']}")["state"] == state
    flat = f"/studio/documents/{document}/flat.png"
    assert studio.client.get(flat).content == studio.client.get(flat.replace(document, came.json()["id"])).content
    assert not list((studio.room.folder / "passing-through").iterdir())


@pytest.mark.parametrize("ending", ["png", "psd", "ora"])
def test_a_document_goes_out_as_a_picture(studio: Studio, ending: str) -> None:
    document, _, _ = studio.create()
    answer = studio.client.get(f"/studio/documents/{document}/export.{ending}")
    assert answer.status_code == 200, answer.text
    start = {"png": b"\x89PNG", "psd": b"8BPS", "ora": b"PK\x03\x04"}[ending]
    assert answer.content.startswith(start)
    assert studio.client.get(f"/studio/documents/{document}/export.exe").status_code == 404


@pytest.mark.parametrize("ending", ["psd", "ora"])
def test_layers_are_unpacked_for_one_at_a_time_and_not_for_nobody(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    document, _, _ = studio.create()
    held: list[bool] = []
    real = routes_exchange.layers_of

    def watched(*values: Any) -> Any:
        held.append(flattening._LAYERED.locked())
        return real(*values)

    monkeypatch.setattr(routes_exchange, "layers_of", watched)
    path = f"/studio/documents/{document}/export.{ending}"
    assert studio.client.get(path).status_code == 200
    assert held == [True]
    assert not list((studio.room.folder / "passing-through").iterdir())
    monkeypatch.setattr(routes_exchange, "nobody_waits", lambda: len(held) > 1)  # leaves as the layers are unpacked
    assert "Nobody waits" in studio.client.get(path).json()["error"]
    assert held == [True, True]
    assert not flattening._LAYERED.locked()


def test_a_picture_becomes_a_document(studio: Studio) -> None:
    picture = np.random.default_rng(3).integers(0, 256, (300, 520, 4), dtype=np.uint8)
    answer = studio.client.post("/studio/documents/import?name=Boat", content=write_plain(picture))
    assert answer.status_code == 201, answer.text
    opened = studio.get(f"documents/{answer.json()['id']}")
    assert (opened["name"], opened["width"], opened["height"]) == ("Boat", 520, 300)
    assert len(opened["state"]["layers"][0]["tiles"]) == 6
    flat = studio.client.get(f"/studio/documents/{answer.json()['id']}/flat.png")
    seen = picture[..., 3:] > 0
    assert np.array_equal(read_plain(flat.content), np.where(seen, picture, 0))


def test_the_file_of_a_picture_in_the_gallery_goes_on_from_there(studio: Studio) -> None:
    note = {"format": 1, "request": TextToImage("a lake").to_dict()}
    png = write_png(np.zeros((30, 40, 3), np.uint8), {REQUEST_KEY: json.dumps(note)})
    kept = studio.room.pictures.add("local", png, 1_700_000_000_000)
    for file, facts in ((png, {"picture": kept, "run": kept}), (write_plain(np.zeros((30, 40, 3), np.uint8)), None)):
        document = studio.client.post("/studio/documents/import", content=file).json()["id"]
        (layer,) = studio.get(f"documents/{document}")["state"]["layers"]
        assert layer["facts"] == facts


@pytest.mark.parametrize("body", [b"", b"PK\x03\x04 no zip", b"no picture", write_plain(_tile(1))[:-999]], ids=len)
def test_a_file_that_is_neither_is_refused_in_words(studio: Studio, body: bytes) -> None:
    answer = studio.client.post("/studio/documents/import", content=body)
    assert answer.status_code == 422
    assert answer.json()["error"]
    assert studio.get("documents")["count"] == 0
    assert not list((studio.room.folder / "passing-through").iterdir())


# -- the gallery ------------------------------------------------------------------------------------------------------


def _picture(studio: Studio, seed: int, prompt: str = "a lake") -> str:
    note = json.dumps({"format": 1, "request": TextToImage(prompt, seed=seed).to_dict()})
    png = write_png(np.full((8, 8, 3), seed, np.uint8), {REQUEST_KEY: note})
    return studio.room.pictures.add("local", png, 1_700_000_000_000 + seed)


def test_the_gallery_lists_searches_marks_and_deletes(studio: Studio) -> None:
    ids = [_picture(studio, seed) for seed in range(5)]
    page = studio.get("library", limit=2)
    assert [entry["id"] for entry in page["pictures"]] == ids[:2:-1]
    assert (page["count"], page["models"], page["pictures"][0]["request"]["seed"]) == (5, ["painter"], 4)
    assert page["counts"] == {"all": 5, "favourite": 0, "fills": 0, "steps": 0, "bin": 0}
    assert page["pictures"][0]["run"] == {
        "steps": 0,
        "seconds": None,
        "open": False,
        "bytes": 0,
        "branch_of": None,
        "branches": 0,
    }
    assert page["pictures"][0]["fill"] is False
    assert studio.get("library", fills="1")["count"] == studio.get("library", steps="1")["count"] == 0
    rest = studio.get("library", cursor=page["cursor"])
    assert [entry["id"] for entry in rest["pictures"]] == ids[2::-1]
    assert studio.post(f"library/{ids[1]}/favourite", 200, {"favourite": True}) == {"id": ids[1], "favourite": True}
    assert [entry["id"] for entry in studio.get("library", favourite="1")["pictures"]] == [ids[1]]
    assert studio.client.delete(f"/studio/library/{ids[1]}").status_code == 200
    assert studio.get("library", favourite="1")["pictures"] == []
    assert [entry["id"] for entry in studio.get("library", bin="1")["pictures"]] == [ids[1]]
    studio.post(f"library/{ids[1]}/restore", 200)
    assert [entry["id"] for entry in studio.get("library", favourite="1")["pictures"]] == [ids[1]]
    studio.client.delete(f"/studio/library/{ids[0]}")
    assert studio.post("library/bin/empty", 200) == {"deleted": 1}
    studio.post(f"library/{ids[0]}/restore", 404)
    studio.post(f"library/{ids[1]}/favourite", 422, {"favourite": 1})
    assert studio.get("library", status=422, cursor="x")["field"] == "cursor"
    assert studio.get("library", status=422, **{"from": "x"})["field"] == "from"


def test_pictures_go_out_together(studio: Studio) -> None:
    ids = [_picture(studio, seed, "a lake") for seed in (1, 2)] + [_picture(studio, 1, "a lake")]
    answer = studio.client.get("/studio/library/export.zip", params={"ids": ",".join(ids)})
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = archive.namelist()
        assert names == ["a-lake-1.png", "a-lake-2.png", f"a-lake-1-{ids[2]}.png"]
        assert archive.read(names[1]) == studio.room.pictures.png("local", ids[1])
    for wrong, status in (("", 422), (f"{ids[0]},../x", 404), (",".join(["x"] * 501), 422)):
        assert studio.client.get("/studio/library/export.zip", params={"ids": wrong}).status_code == status


def test_one_zip_has_a_largest_size(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [_picture(studio, seed) for seed in (1, 2)]
    sizes = [len(studio.room.pictures.png("local", each) or b"") for each in ids]
    monkeypatch.setattr("studio.web.routes_library.EXPORT_BYTES", sum(sizes) - 1)
    answer = studio.client.get("/studio/library/export.zip", params={"ids": ",".join(ids)})
    assert (answer.status_code, answer.json()["field"]) == (422, "ids")
    assert not list((studio.room.folder / "passing-through").iterdir())
    assert studio.client.get("/studio/library/export.zip", params={"ids": ids[0]}).status_code == 200


def test_a_full_disk_is_told_of_in_words_whatever_goes_through_it(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = _picture(studio, 1)
    free = [10**12]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=10**12, used=0, free=free[0]))
    export = f"/studio/library/export.zip?ids={picture}"
    assert studio.client.get(export).status_code == 200
    free[0] = 1024**3  # a gigabyte stays free
    answer = studio.client.get(export)
    assert (answer.status_code, "almost full" in answer.text) == (422, True)
    for free[0] in (1024**3, 1024**3 - 1):
        answer = studio.client.post("/studio/documents/import", content=b"PK\x03\x04")
        assert (answer.status_code, "almost full" in answer.text) == (422, True)
    assert not list((studio.room.folder / "passing-through").iterdir())


def test_small_pictures_and_what_is_used(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = _picture(studio, 3)
    studio.create()
    answer = studio.client.get(f"/studio/pictures/{picture}/thumbnail.webp")
    assert (answer.headers["content-type"], answer.content[8:12]) == ("image/webp", b"WEBP")
    usage = studio.get("usage")
    assert usage["pictures"]["count"] == 1
    assert usage["pictures"]["bytes"] == len(studio.room.pictures.png("local", picture) or b"")
    assert usage["documents"]["count"] == 1
    assert usage["documents"]["bytes"] > 1000
    assert usage["free"] > 0
    eighth = shutil.disk_usage(studio.room.folder).total // 8
    wanted = {"documents": PIXELS_BUDGET, "pictures": PICTURES_BUDGET, "runs": RUN_BUDGET}
    assert {name: usage[name]["budget"] for name in wanted} == {name: min(b, eighth) for name, b in wanted.items()}
    assert usage["runs"]["bytes"] == 0
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=8 * 10**6, used=0, free=10**6))
    small = studio.get("usage")
    assert {small[name]["budget"] for name in wanted} == {10**6}
    theirs = {"x-user": "eve"}
    assert studio.client.get(f"/studio/pictures/{picture}/thumbnail.webp", headers=theirs).status_code == 404
    assert studio.client.get("/studio/library", headers=theirs).json()["pictures"] == []
    assert studio.client.delete(f"/studio/library/{picture}", headers=theirs).status_code == 404


def test_masks_go_out_as_grey_pictures(studio: Studio) -> None:
    tile = np.random.default_rng(9).integers(0, 256, (256, 256), dtype=np.uint8)
    (paint, mask) = studio.send(_tile(1), tile)
    changed = {"mask": {"tiles": {"0,0": mask}}, "masks": [{"id": "m", "name": "Boat", "tiles": {}}]}
    document = studio.post("documents", 201, {"name": "x", "state": studio.state(paint, **changed)})["id"]
    whole = read_plain(studio.client.get(f"/studio/documents/{document}/mask.png").content)
    assert np.array_equal(whole[:, :256], tile[:200])
    assert not read_plain(studio.client.get(f"/studio/documents/{document}/mask.png?mask=m").content).any()
    studio.get(f"documents/{document}/mask.png", status=404, mask="other")


# -- those who read slowly --------------------------------------------------------------------------------------------


def test_files_to_take_home_have_turns_of_their_own(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    document, _, _ = studio.create()
    picture = _picture(studio, 1)
    seen: list[tuple[int, int]] = []
    run = Turns.run

    async def noted(self: Turns, *values: Any) -> Any:
        seen.append((self._at_once, self._waiting))
        return await run(self, *values)

    monkeypatch.setattr(Turns, "run", noted)
    for path in (f"documents/{document}/export.wavebrush", f"library/export.zip?ids={picture}"):
        assert studio.client.get(f"/studio/{path}").status_code == 200
    assert seen == [(2, 2)] * 2


def test_large_files_are_not_read_whole(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    (tile,) = studio.send(_tile(1))
    content = studio.client.get(f"/studio/pixels/{tile}.png").content
    monkeypatch.setattr("studio.web.files.AT_ONCE", 1000)
    monkeypatch.setattr("studio.web.files.PIECE", 100_000)
    monkeypatch.setattr(PixelStore, "png", lambda *_: pytest.fail("read whole"))
    answer = studio.client.get(f"/studio/pixels/{tile}.png")
    assert answer.content == content
    assert len(content) > 200_000
    assert "immutable" in answer.headers["cache-control"]
