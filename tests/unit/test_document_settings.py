"""What is set beside a document: kept whole, out of reach of undo, carried in its file, and never in the way."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from document_room import DocumentRoom, room
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_archive import entries_of, rewritten

from studio.errors import InvalidRequest, NotFound
from studio.project.archive_file import UnreadableArchive
from studio.project.database import Database
from studio.project.document_values import SETTINGS_DEPTH, SETTINGS_LIMIT, Settings, State

DATA = Path(__file__).parents[1] / "data"
WORDS = {"intent": "fill", "prompt": "a „boat“\n\u2028", "seed": 2**32 - 1, "guidance": 6.5, "context": {"x": 0}}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[DocumentRoom]:
    with room(tmp_path / "here") as found:
        yield found


def _with_settings(made: DocumentRoom, values: dict[str, Any] = WORDS) -> tuple[str, str]:
    document, first = made.documents.create("me", "Coast", made.state(1))
    made.documents.keep_settings("me", document, Settings(values))
    return document, first


def _nested(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels - 1):
        found = {"a": found}
    return found


# -- values -----------------------------------------------------------------------------------------------------------


def test_settings_are_kept_as_they_are_whoever_understands_them() -> None:
    later = WORDS | {"of a later version": [1, {"deep": [None, True]}], "__proto__": {"x": 1}}
    assert Settings.from_dict(later).values == later
    assert Settings.from_json(Settings(later).to_json()) == Settings(later)
    assert Settings({"a": 1, "b": 2}).to_json() == Settings({"b": 2, "a": 1}).to_json()


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        "{}",
        {"x": float("nan")},
        {"x": float("inf")},
        {"x": 10**50},
        {"x": "\ud800"},
        {"x": "y" * SETTINGS_LIMIT},
        {"x": "é" * (SETTINGS_LIMIT // 2)},
        _nested(SETTINGS_DEPTH + 1),
    ],
    ids=lambda values: str(values)[:20].encode("ascii", "backslashreplace").decode(),
)
def test_what_cannot_be_kept_is_refused_in_words(values: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Settings.from_dict(values)
    assert refused.value.field == "settings"
    assert str(refused.value).isprintable()


def test_the_limits_are_what_they_say() -> None:
    Settings.from_dict(_nested(SETTINGS_DEPTH))
    Settings.from_dict({"x": "y" * (SETTINGS_LIMIT - len('{"x":""}'))})
    with pytest.raises(InvalidRequest, match="32,768 bytes"):
        Settings.from_dict({"x": "y" * (SETTINGS_LIMIT - len('{"x":""}') + 1)})


# -- the store --------------------------------------------------------------------------------------------------------


def test_settings_stay_with_the_document_and_its_copies_and_undo_leaves_them_alone(made: DocumentRoom) -> None:
    document, first = made.documents.create("me", "Coast", made.state(1))
    assert made.documents.open("me", document).settings == Settings()
    made.append(document, first, 2)
    made.documents.keep_settings("me", document, Settings(WORDS))
    made.documents.move_head("me", document, first)
    copy = made.documents.duplicate("me", document)
    made.documents.keep_settings("me", document, Settings({"prompt": "another"}))
    assert made.documents.open("me", document).settings.values == {"prompt": "another"}
    assert made.documents.settings("me", copy).values == WORDS
    with contextlib.closing(Database(made.folder)) as again, again.read() as rows:
        (kept,) = rows.execute("SELECT settings FROM documents WHERE id = ?", (copy,)).fetchone()
    assert json.loads(kept) == WORDS


def test_settings_of_another_are_out_of_reach(made: DocumentRoom) -> None:
    document, _ = _with_settings(made)
    for act in (
        lambda: made.documents.keep_settings("eve", document, Settings()),
        lambda: made.documents.settings("eve", document),
        lambda: made.documents.history("eve", document),
        lambda: made.documents.change("eve", document, "Mine", Settings()),
    ):
        with pytest.raises(NotFound):
            act()
    assert made.documents.settings("me", document).values == WORDS
    assert made.documents.facts("me", document).name == "Coast"


def test_the_same_settings_again_are_no_change(made: DocumentRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    document, _ = _with_settings(made)
    monkeypatch.setattr("studio.project.documents.now", lambda: 9_999_999_999_999)
    made.documents.keep_settings("me", document, Settings(dict(reversed(WORDS.items()))))
    assert made.documents.facts("me", document).changed_at < 9_999_999_999_999
    made.documents.keep_settings("me", document, Settings())
    assert made.documents.facts("me", document).changed_at == 9_999_999_999_999


def test_a_name_and_settings_change_together_or_not_at_all(made: DocumentRoom) -> None:
    document, _ = _with_settings(made)
    facts = made.documents.change("me", document, "Shore", Settings({"prompt": "gulls"}))
    assert (facts.name, made.documents.settings("me", document).values) == ("Shore", {"prompt": "gulls"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made.documents, "keep_settings", lambda *_: (_ for _ in ()).throw(InvalidRequest("no", "x")))
        with pytest.raises(InvalidRequest):
            made.documents.change("me", document, "Cliff", Settings())
    assert made.documents.facts("me", document).name == "Shore"


def test_the_history_is_told_without_a_state(made: DocumentRoom) -> None:
    document, first = made.documents.create("me", "Coast", made.state(1))
    second = made.append(document, first, 2)
    made.append(document, first, 3)
    made.documents.move_head("me", document, second)
    used = made.documents.facts("me", document).used_at
    head, nodes = made.documents.history("me", document)
    assert made.documents.facts("me", document).used_at == used, "to look at it is not to open it"
    opened = made.documents.open("me", document)
    assert (head, nodes) == (opened.facts.head, opened.history)
    assert head == second
    assert [node.parent for node in nodes] == [None, first, first]


def test_settings_that_cannot_be_read_keep_nobody_from_the_document(
    made: DocumentRoom, caplog: pytest.LogCaptureFixture
) -> None:
    document, _ = _with_settings(made)
    with made.database.write() as rows:
        rows.execute("UPDATE documents SET settings = '{\"prompt\": NaN}' WHERE id = ?", (document,))
    with caplog.at_level(logging.WARNING):
        assert made.documents.open("me", document).settings == Settings()
    assert document in caplog.text


# -- earlier versions -------------------------------------------------------------------------------------------------


def test_a_database_of_version_2_opens(tmp_path: Path) -> None:
    """As a studio of that version wrote it: a document with a fork in its history, a favourite, and a run."""
    with contextlib.closing(sqlite3.connect(tmp_path / "studio.sqlite3")) as file:
        file.executescript((DATA / "version2.sql").read_text())
    document = "0" * 31 + "2"
    with room(tmp_path) as made:
        opened = made.documents.open("me", document)
        assert (opened.facts.name, opened.settings) == ("Version 2", Settings())
        assert [node.label for node in opened.history] == ["New", "Stroke 1", "Stroke 2"]
        made.documents.keep_settings("me", document, Settings(WORDS))
        assert made.documents.settings("me", made.documents.duplicate("me", document)).values == WORDS
        assert made.documents.create("me", "New", made.state(1))
        assert made.database.check() == []
        with made.database.read() as rows:
            assert rows.execute("SELECT count(*) FROM runs").fetchone()[0] == 1
            upgraded = [tuple(row) for row in rows.execute("PRAGMA table_info(documents)")]
    with room(tmp_path / "new") as made, made.database.read() as rows:
        assert [tuple(row) for row in rows.execute("PRAGMA table_info(documents)")] == upgraded


def test_a_file_of_version_2_opens(made: DocumentRoom) -> None:
    came = made.documents.open("me", made.archive.take_in("me", DATA / "version2.wavebrush"))
    assert (came.facts.name, [node.label for node in came.history]) == ("Version 2", ["New", "Stroke 2"])
    assert came.settings.values == {
        "intent": "replace",
        "prompt": "a lighthouse, „white“",
        "seed": 7,
        "guidance": 6.5,
        "context": {"x": 8, "y": 0, "width": 128, "height": 96},
        "of a later version": [None, {"on": True}],
    }


# -- as a file --------------------------------------------------------------------------------------------------------


def _version_of(path: Path) -> int:
    found: int = json.loads(entries_of(path)["manifest.json"])["version"]
    return found


@pytest.mark.parametrize("history", [True, False])
def test_settings_go_out_and_come_in_with_the_document(made: DocumentRoom, tmp_path: Path, history: bool) -> None:
    document, _ = _with_settings(made)
    made.archive.write("me", document, tmp_path / "one.wavebrush", history)
    with room(tmp_path / "there") as there:
        came = there.archive.take_in("me", tmp_path / "one.wavebrush")
        assert there.documents.settings("me", came).values == WORDS
    assert _version_of(tmp_path / "one.wavebrush") == 2


def test_a_document_without_settings_is_a_file_that_studios_before_them_read(
    made: DocumentRoom, tmp_path: Path
) -> None:
    document, _ = _with_settings(made, {})
    made.archive.write("me", document, tmp_path / "one.wavebrush")
    assert _version_of(tmp_path / "one.wavebrush") == 1
    assert set(json.loads(entries_of(tmp_path / "one.wavebrush")["document.json"])) == {"name", "head"}


@pytest.mark.parametrize(
    ("version", "told"),
    [
        (1, '{"prompt": "x"}'),
        (2, "[]"),
        (2, "null"),
        (2, '{"x": NaN}'),
        (2, '{"x": 1, "x": 2}'),
        (2, '{"x": "\\ud800"}'),
        (2, '{"x": "%s"}' % ("y" * SETTINGS_LIMIT)),
        (2, json.dumps(_nested(SETTINGS_DEPTH + 1))),
        (2, '{}, "more": 1'),
        (3, "{}"),
    ],
    ids=lambda told: str(told)[:16],
)
def test_a_file_with_settings_that_make_no_sense_is_refused(
    made: DocumentRoom, tmp_path: Path, version: int, told: str
) -> None:
    document, _ = _with_settings(made)
    made.archive.write("me", document, tmp_path / "good")
    entries = entries_of(tmp_path / "good")
    head = json.loads(entries["document.json"])["head"]
    entries["document.json"] = f'{{"name": "x", "head": "{head}", "settings": {told}}}'.encode()
    rewritten(tmp_path / "bad", entries, version=version)
    with room(tmp_path / "there") as there:
        with pytest.raises(UnreadableArchive) as refused:
            there.archive.take_in("me", tmp_path / "bad")
        assert str(refused.value).isprintable()
        assert there.documents.count("me") == (0, 0)


plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
anything = st.recursive(plain | texts, lambda inside: st.lists(inside) | st.dictionaries(texts, inside), max_leaves=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.dictionaries(texts, anything, max_size=6))
def test_any_settings_that_are_kept_are_given_back(made: DocumentRoom, values: dict[str, Any]) -> None:
    try:
        wanted = Settings.from_dict(values)
    except InvalidRequest:
        return
    document, _ = made.documents.create("me", "x", State(1, 1), document_id="0" * 32)  # once; then it is there
    made.documents.keep_settings("me", document, wanted)
    assert made.documents.settings("me", document).values == values
