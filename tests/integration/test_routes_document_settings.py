"""What is set beside a document, and its history, over our routes: kept, given back, and refused in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from document_room import DocumentRoom, room
from fastapi import FastAPI
from fastapi.testclient import TestClient
from signed_in import named_by_header

from studio.project.document_values import SETTINGS_DEPTH, SETTINGS_LIMIT
from studio.project.thumbnails import ThumbnailCache
from studio.web.desk import Desk
from studio.web.routes_documents import build_document_routes

WORDS = {"prompt": "a „boat“", "seed": 7, "context": {"x": 0}, "of a later version": [None]}


class Page:
    """A person's page with one document, and what is behind it."""

    def __init__(self, client: TestClient, made: DocumentRoom) -> None:
        self.client = client
        self.made = made
        self.document, self.first = made.documents.create("local", "Coast", made.state(1, "local"))

    def ask(self, method: str, path: str = "", body: Any = None, status: int = 200, **headers: str) -> Any:
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        where = f"/studio/documents/{self.document}{path}"
        answer = self.client.request(method, where, content=content, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    def settings(self) -> Any:
        return self.ask("GET")["settings"]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with room(tmp_path) as made:
        app = FastAPI()
        named_by_header(app)
        app.include_router(build_document_routes(made.documents, made.pixels, ThumbnailCache(tmp_path), Desk()))
        with TestClient(app, base_url="http://127.0.0.1:7860") as client:
            yield Page(client, made)


def test_settings_are_kept_given_back_and_copied(page: Page) -> None:
    assert page.settings() == {}
    assert page.ask("PATCH", body={"settings": WORDS})["name"] == "Coast"
    assert page.settings() == WORDS
    answer = page.ask("PATCH", body={"name": "Shore", "settings": {"prompt": "gulls"}})
    assert (answer["name"], page.settings()) == ("Shore", {"prompt": "gulls"})
    copy = page.ask("POST", "/duplicate", status=201)["id"]
    page.ask("PATCH", body={"settings": {}})
    assert page.client.get(f"/studio/documents/{copy}").json()["settings"] == {"prompt": "gulls"}
    assert page.settings() == {}


def test_settings_stand_beside_the_history_and_not_in_it(page: Page) -> None:
    page.ask("PATCH", body={"settings": WORDS})
    second = page.made.append(page.document, page.first, 2, "local")
    page.ask("POST", "/head", {"node": page.first})
    assert page.settings() == WORDS
    assert "settings" not in page.ask("GET", f"/nodes/{second}")
    assert "settings" not in page.client.get("/studio/documents").json()["documents"][0], "the list is lean"


def test_the_history_comes_without_the_state(page: Page) -> None:
    second = page.made.append(page.document, page.first, 2, "local")
    page.made.append(page.document, page.first, 3, "local")
    page.ask("POST", "/head", {"node": second})
    found = page.ask("GET", "/history")
    opened = page.ask("GET")
    assert found == {"head": second, "history": opened["history"]}
    assert [sorted(node) for node in found["history"]] == [["at", "id", "label", "parent"]] * 3


def test_nobody_reaches_the_settings_or_the_history_of_another(page: Page) -> None:
    page.ask("PATCH", body={"settings": WORDS})
    for method, path, body in (("GET", "/history", None), ("PATCH", "", {"settings": {}}), ("GET", "", None)):
        answer = page.ask(method, path, body, 404, **{"x-user": "eve"})
        assert answer["error"]
    page.client.delete(f"/studio/documents/{page.document}")
    assert page.settings() == WORDS, "what is in the bin is looked at as before"
    page.client.post("/studio/documents/bin/empty")
    page.ask("GET", "/history", status=404)
    page.ask("PATCH", body={"settings": {}}, status=404)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"{}", "name"),
        (b'{"settings": null}', "settings"),
        (b'{"settings": []}', "settings"),
        (b'{"settings": "{}"}', "settings"),
        (b'{"settings": {"x": NaN}}', None),
        (b'{"settings": {"x": 1e999}}', None),
        (b'{"settings": {"x": 1, "x": 2}}', None),
        (b'{"settings": {}, "settings": {}}', None),
        (b'{"settings": {"x": "\\ud800"}}', None),
        (b'{"settings": {"x": "\xff"}}', None),
        (b'{"settings": {}, "more": 1}', "more"),
        (b'{"settings": {}, "name": null}', "name"),
        (b'{"settings": {}, "name": "a\\nb"}', "name"),
        (b'{"settings": %s}' % (b'{"a":' * SETTINGS_DEPTH + b"{}" + b"}" * SETTINGS_DEPTH), None),
        (b'{"settings": {"x": "%s"}}' % (b"y" * SETTINGS_LIMIT), "settings"),
        (b'{"settings": {"x": "%s"}}' % (b"y" * 2 * SETTINGS_LIMIT), None),
        (b'{"settings": ' + b"[" * 100_000, None),
    ],
    ids=lambda body: str(body)[:36] if isinstance(body, bytes) else "",
)
def test_what_makes_no_sense_is_refused_and_nothing_changes(page: Page, body: bytes, field: str | None) -> None:
    page.ask("PATCH", body={"settings": WORDS})
    answer = page.ask("PATCH", body=body, status=422)
    assert answer["error"].isprintable()
    assert answer["field"] == field
    assert (page.settings(), page.ask("GET")["name"]) == (WORDS, "Coast")
