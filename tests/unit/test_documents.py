"""Documents on disk: what was confirmed is there, history is a tree, and room is made only where nobody misses it."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from document_room import DocumentRoom, node_id, room
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import InvalidRequest, NotFound, StudioError
from studio.project.database import FILE, VERSION, Database
from studio.project.document_values import Layer, State
from studio.project.history import UNDO, superfluous


@pytest.fixture
def made(tmp_path: Path) -> Iterator[DocumentRoom]:
    with room(tmp_path) as found:
        yield found


def _strokes(made: DocumentRoom, document: str, parent: str, count: int, first: int = 1) -> list[str]:
    nodes = []
    for number in range(first, first + count):
        parent = made.append(document, parent, number)
        nodes.append(parent)
    return nodes


# -- values -----------------------------------------------------------------------------------------------------------

WHOLE: dict[str, Any] = {
    "width": 300,
    "height": 200,
    "layers": [
        {
            "id": "a",
            "name": "Sky & sea",
            "kind": "fill",
            "x": -256,
            "y": 0,
            "visible": False,
            "opacity": 40,
            "tiles": {"-1,0": "0" * 32, "1,12": "f" * 32},
            "facts": {"run": None, "fill": {"intent": "fill", "more": [1, 2.5]}, "frame": {"x": 1}},
        }
    ],
    "active": "a",
    "mask": {"tiles": {"0,0": "1" * 32}, "grow": -3, "feather": 9},
    "masks": [{"id": "m", "name": "Boat", "tiles": {}}],
}


def test_a_state_goes_out_as_it_came_in() -> None:
    assert State.from_dict(WHOLE).to_dict() == WHOLE
    assert State.from_json(State.from_dict(WHOLE).to_json()) == State.from_dict(WHOLE)


def test_what_may_be_left_out_has_its_usual_value() -> None:
    assert State.from_dict({"width": 1, "height": 4096, "layers": []}) == State(1, 4096)


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("width", 0, "width"),
        ("width", 4097, "width"),
        ("height", 1.0, "height"),
        ("height", True, "height"),
        ("layers", {}, "layers"),
        ("layers", [{"id": "a"}] * 201, "layers"),
        ("layers.0", [], "layers.0"),
        ("layers.0.id", "", "layers.0.id"),
        ("layers.0.id", "../x", "layers.0.id"),
        ("layers.0.name", "a\nb", "layers.0.name"),
        ("layers.0.name", "x" * 201, "layers.0.name"),
        ("layers.0.kind", "text", "layers.0.kind"),
        ("layers.0.x", 1e9, "layers.0.x"),
        ("layers.0.x", 99999, "layers.0.x"),
        ("layers.0.visible", 1, "layers.0.visible"),
        ("layers.0.opacity", 101, "layers.0.opacity"),
        ("layers.0.tiles", [], "layers.0.tiles"),
        ("layers.0.tiles", {"0, 0": "0" * 32}, "layers.0.tiles"),
        ("layers.0.tiles", {"00,0": "0" * 32}, "layers.0.tiles"),
        ("layers.0.tiles", {"-0,0": "0" * 32}, "layers.0.tiles"),
        ("layers.0.tiles", {"128,0": "0" * 32}, "layers.0.tiles"),
        ("layers.0.tiles", {"0,0": "0" * 31}, "layers.0.tiles.0,0"),
        ("layers.0.tiles", {"0,0": None}, "layers.0.tiles.0,0"),
        ("layers.0.facts", [], "layers.0.facts"),
        ("layers.0.facts", {"run": "../x"}, "layers.0.facts.run"),
        ("layers.0.facts", {"picture": 1}, "layers.0.facts.picture"),
        ("layers.0.facts", {"text": "x" * 70_000}, "layers.0.facts"),
        ("layers.0.more", 1, "layers.0"),
        ("active", "b", "active"),
        ("active", {"a": 1}, "active"),
        ("mask", [], "mask"),
        ("mask.grow", 5000, "mask.grow"),
        ("mask.feather", -1, "mask.feather"),
        ("masks", [{"id": "m", "name": "", "tiles": {}}] * 2, "masks"),
        ("more", 1, "state"),
    ],
)
def test_a_state_that_makes_no_sense_is_refused_with_its_field(path: str, value: object, field: str) -> None:
    wrong = json.loads(json.dumps(WHOLE))
    *way, last = path.split(".")
    here = wrong
    for step in way:
        here = here[int(step)] if isinstance(here, list) else here[step]
    here[int(last) if isinstance(here, list) else last] = value
    with pytest.raises(InvalidRequest) as refused:
        State.from_dict(wrong)
    assert refused.value.field == field
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["width", "height", "layers"])
def test_what_a_state_cannot_do_without_is_named(name: str) -> None:
    with pytest.raises(InvalidRequest, match=name):
        State.from_dict({key: value for key, value in WHOLE.items() if key != name})


def test_two_layers_of_one_id_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="Two layers"):
        State.from_dict(WHOLE | {"layers": WHOLE["layers"] * 2})


# -- the store --------------------------------------------------------------------------------------------------------


def test_a_document_is_found_again_by_another_process(made: DocumentRoom) -> None:
    document, first = made.documents.create("me", "Coast", made.state(1))
    (node,) = _strokes(made, document, first, 1, 2)
    with room(made.folder) as again:
        opened = again.documents.open("me", document)
        assert opened.state == made.state(2)
        assert (opened.facts.name, opened.facts.head) == ("Coast", node)
        assert [(step.id, step.parent, step.label) for step in opened.history] == [
            (first, None, "New"),
            (node, first, "Stroke 2"),
        ]
        assert again.database.check() == []


def test_undo_moves_the_head_and_another_way_makes_a_tree(made: DocumentRoom) -> None:
    document, first = made.documents.create("me", "", made.state(1))
    a = made.append(document, first, 2)
    made.documents.move_head("me", document, first)
    assert made.documents.state("me", document) == made.state(1)
    b = made.append(document, first, 3)
    assert made.documents.facts("me", document).head == b
    assert made.documents.state("me", document, a) == made.state(2)
    assert made.documents.facts("me", document).name == "Untitled"


def test_asking_again_changes_nothing(made: DocumentRoom) -> None:
    document, first = made.documents.create("me", "x", made.state(1), document_id="a" * 32)
    assert made.documents.create("me", "x", made.state(1), document_id="a" * 32) == (document, first)
    node, later = node_id(), node_id()
    assert made.documents.append("me", document, node, first, "Stroke", made.state(2)) == node
    assert made.documents.append("me", document, later, node, "Stroke", made.state(3)) == later
    before = made.documents.open("me", document)
    assert made.documents.append("me", document, node, first, "Stroke", made.state(2)) == later
    after = made.documents.open("me", document)
    assert (after.state, after.history, after.facts.bytes) == (before.state, before.history, before.facts.bytes)


@pytest.mark.parametrize("change", [{"label": "Other"}, {"state": 3}, {"parent": 1}], ids=str)
def test_an_id_does_not_come_to_mean_something_else(made: DocumentRoom, change: dict[str, Any]) -> None:
    document, first = made.documents.create("me", "x", made.state(1))
    node = made.append(document, first, 2)
    parent = node if "parent" in change else first
    with pytest.raises(InvalidRequest) as refused:
        made.documents.append(
            "me", document, node, parent, change.get("label", "Stroke 2"), made.state(change.get("state", 2))
        )
    assert refused.value.field == "id"
    with pytest.raises(InvalidRequest):
        made.documents.create("you", "x", made.state(5, "you"), document_id=document)


def test_pixels_that_are_not_there_are_refused(made: DocumentRoom) -> None:
    document, first = made.documents.create("me", "x", made.state(1))
    state = made.state(1)
    for tile, words in [
        ("0" * 32, "not here"),
        (made.tile(7, "you"), "not here"),
        (made.tile(8, "me", 1), "RGBA"),
        (made.tile(9, "me", 3), "RGBA"),
    ]:
        layer = Layer("b", "", "paint", 0, 0, True, 100, {(0, 0): tile})
        wrong = dataclasses.replace(state, layers=(layer,), active=None)
        with pytest.raises(InvalidRequest, match=words):
            made.documents.append("me", document, node_id(), first, "Stroke", wrong)
    assert made.documents.facts("me", document).head == first


def test_pixels_that_a_layer_tells_of_stay_with_it_and_may_be_missing(made: DocumentRoom) -> None:
    mask, gone = made.tile(3, "me", 1), "0" * 32
    tile = made.tile(1)
    layers = [
        Layer(name, "", "fill", 0, 0, True, 100, {(0, 0): tile}, {"mask": told, "source": "no id"})
        for name, told in (("a", mask), ("b", gone))
    ]
    document, _ = made.documents.create("me", "x", State(9, 9, tuple(layers)))
    made.pixels.sweep("me", made.documents.references("me", "pixels"), rest=-1)
    assert made.pixels.extents("me", [mask, gone]).keys() == {mask}
    with room(made.folder / "there") as there:
        made.archive.write("me", document, made.folder / "file")
        there.archive.take_in("me", made.folder / "file")
        assert there.pixels.png("me", mask) == made.pixels.png("me", mask)


def test_what_is_not_there_is_said(made: DocumentRoom) -> None:
    document, first = made.documents.create("me", "x", made.state(1))
    with pytest.raises(InvalidRequest) as refused:
        made.append(document, node_id(), 2)
    assert refused.value.field == "parent"
    for wrong in ("", "../x", "0" * 32, document.upper()):
        with pytest.raises(NotFound):
            made.documents.open("me", wrong)
        with pytest.raises(NotFound):
            made.documents.move_head("me", document, wrong)
    with pytest.raises(NotFound):
        made.documents.open("you", document)
    with pytest.raises(NotFound):
        made.documents.append("you", document, node_id(), first, "Stroke", made.state(1, "you"))


def test_the_bin_gives_back_what_was_deleted(made: DocumentRoom) -> None:
    ids = [made.documents.create("me", f"Number {k}", made.state(k))[0] for k in range(3)]
    made.documents.delete("me", ids[0])
    made.documents.delete("me", ids[1])
    assert [facts.id for facts in made.documents.listed("me")] == [ids[2]]
    assert {facts.id for facts in made.documents.listed("me", binned=True)} == set(ids[:2])
    made.documents.restore("me", ids[0])
    assert [facts.id for facts in made.documents.listed("me")] == [ids[0], ids[2]]
    assert made.documents.empty_bin("you") == 0
    assert made.documents.empty_bin("me", older_than_days=1) == 0
    assert made.documents.empty_bin("me") == 1
    assert made.documents.count("me") == (2, 0)
    assert made.database.check() == []


def test_search_finds_all_words_in_any_order_and_case(made: DocumentRoom) -> None:
    ids = [
        made.documents.create("me", name, made.state(1))[0]
        for name in ("Küste am ABEND", "Abendrot", "100 % _ \\", "Straße")
    ]
    for query, found in [
        ("abend", {0, 1}),
        ("KÜSTE abend", {0}),
        ("%", {2}),
        ("_ \\", {2}),
        ("STRASSE", {3}),
        ("x", set()),
        ("", {0, 1, 2, 3}),
        ("' OR 1", set()),
    ]:
        assert {facts.id for facts in made.documents.listed("me", query)} == {ids[k] for k in found}, query


def test_the_documents_of_a_run_are_those_in_whose_history_a_layer_came_of_it(made: DocumentRoom) -> None:
    runs, tile = [f"{number:013d}-{number:016x}" for number in range(3)], made.tile(1)

    def state(run: str | None) -> State:
        return State(9, 9, (Layer("a", "", "fill", 0, 0, True, 100, {(0, 0): tile}, {"run": run}),))

    first, head = made.documents.create("me", "first", state(runs[0]))
    made.documents.append("me", first, node_id(), head, "Put back", state(runs[1]))  # it stays in the history
    second, _ = made.documents.create("me", "second", state(runs[1]))
    binned, _ = made.documents.create("me", "binned", state(runs[0]))
    made.documents.delete("me", binned)
    for wanted, found in ((runs[:1], {first}), (runs[1:2], {first, second}), (runs[2:], set()), ([], {first, second})):
        assert {facts.id for facts in made.documents.listed("me", runs=wanted)} == found
    assert {facts.id for facts in made.documents.listed("me", "second", runs=runs)} == {second}
    assert made.documents.listed("you", runs=runs) == []


def test_a_copy_has_the_history_and_lives_on_its_own(made: DocumentRoom) -> None:
    document, first = made.documents.create("me", "Coast", made.state(1))
    made.append(document, first, 2)
    copy = made.documents.duplicate("me", document)
    assert made.documents.open("me", copy).history == made.documents.open("me", document).history
    made.documents.delete("me", document)
    made.documents.empty_bin("me")
    made.pixels.sweep("me", made.documents.references("me", "pixels"), rest=-1)
    state = made.documents.state("me", copy)
    assert all(made.pixels.png("me", pixels_id) is not None for pixels_id in state.pixels())


def test_there_is_a_last_document(tmp_path: Path) -> None:
    with room(tmp_path, documents_limit=1) as made:
        document, _ = made.documents.create("me", "x", made.state(1))
        for again in (
            lambda: made.documents.create("me", "y", made.state(1)),
            lambda: made.documents.duplicate("me", document),
        ):
            with pytest.raises(StudioError, match="limit"):
                again()
        made.documents.create("you", "x", made.state(1, "you"))


def test_many_at_once_lose_nothing(made: DocumentRoom) -> None:
    document, first = made.documents.create("me", "x", made.state(0))
    failed: list[Exception] = []

    def work(number: int) -> None:
        try:
            _strokes(made, document, first, 6, 10 * number)
        except Exception as problem:
            failed.append(problem)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(made.documents.open("me", document).history) == 25
    assert made.database.check() == []


# -- room -------------------------------------------------------------------------------------------------------------


def test_the_oldest_leaves_go_first_and_what_can_be_undone_stays(tmp_path: Path) -> None:
    with room(tmp_path, nodes_limit=UNDO + 40) as made:
        document, first = made.documents.create("me", "x", made.state(0))
        side = _strokes(made, document, first, 15, 100)
        trunk = [first, *_strokes(made, document, first, UNDO + 26, 1)]
        ids = {node.id for node in made.documents.open("me", document).history}
        assert set(trunk) <= ids
        assert ids & set(side) == set(side[:3]), "the way that was left goes, from its end"
        trunk += _strokes(made, document, trunk[-1], 30, 200)
        history = made.documents.open("me", document).history
        assert {node.id for node in history} < set(trunk)
        assert set(trunk[-(UNDO + 1) :]) <= {node.id for node in history}
        assert history[0].parent is None
        assert made.database.check() == []


def test_pixels_that_only_old_history_needed_can_be_swept_afterwards(tmp_path: Path) -> None:
    with room(tmp_path, nodes_limit=UNDO + 2) as made:
        document, first = made.documents.create("me", "x", made.state(0))
        _strokes(made, document, first, UNDO + 10)
        made.documents.freshen()
        wanted = frozenset[str]().union(
            *(
                made.documents.state("me", document, node.id).pixels()
                for node in made.documents.open("me", document).history
            )
        )
        assert made.documents.references("me", "pixels") == wanted
        assert made.pixels.sweep("me", wanted, rest=-1) > 0
        assert made.pixels.extents("me", wanted).keys() == wanted


def test_a_budget_of_bytes_counts_the_pixels_that_a_step_brought(tmp_path: Path) -> None:
    with room(tmp_path, budget=150_000) as made:
        document, first = made.documents.create("me", "x", made.state(0))
        one = made.documents.facts("me", document).bytes
        assert one > 4000
        made.append(document, first, 0)
        assert made.documents.facts("me", document).bytes < one + 1000, "the same pixels once more"
        for number in range(40):  # side ways, each thrown away
            made.documents.move_head("me", document, first)
            made.append(document, first, number)
        assert made.documents.facts("me", document).bytes <= 150_000
        assert len(made.documents.open("me", document).history) < 42


@given(
    parents=st.lists(st.integers(0, 30), min_size=1, max_size=90),
    head=st.integers(0, 90),
    limit=st.integers(1, 60),
    budget=st.integers(0, 400),
)
def test_what_is_let_go_leaves_a_tree_with_everything_near_the_head(
    parents: list[int], head: int, limit: int, budget: int
) -> None:
    nodes: list[tuple[str, str | None, int]] = [("0", None, 5)]
    for number, back in enumerate(parents, start=1):
        nodes.append((str(number), str(max(number - 1 - back, 0)), number % 7))
    here = str(head % len(nodes))
    gone = superfluous(nodes, here, budget, limit)
    assert len(set(gone)) == len(gone)
    left = {node: parent for node, parent, _ in nodes if node not in gone}
    assert here in left
    whole = {node: parent for node, parent, _ in nodes}
    ancestor: str | None = here
    for _ in range(UNDO + 1):
        assert ancestor is None or ancestor in left
        ancestor = whole[ancestor] if ancestor is not None else None
    roots = [node for node, parent in left.items() if parent not in left]
    assert len(roots) == 1, "one tree"
    if gone:
        last = gone[-1]
        total = sum(size for node, _, size in nodes if node in left or node == last)
        assert total > budget or len(left) + 1 > limit, "no more than needed"


# -- the database -----------------------------------------------------------------------------------------------------


def test_every_commit_is_on_the_disk(made: DocumentRoom) -> None:
    with made.database.read() as rows:
        assert rows.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert rows.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert rows.execute("PRAGMA foreign_keys").fetchone()[0] == 1


def test_a_transaction_that_fails_leaves_nothing(made: DocumentRoom) -> None:
    document, _ = made.documents.create("me", "x", made.state(1))
    with pytest.raises(ZeroDivisionError), made.database.write() as rows:
        rows.execute("DELETE FROM documents")
        raise ZeroDivisionError
    assert made.documents.facts("me", document).name == "x"


def test_a_document_opens_where_nothing_can_be_written(made: DocumentRoom) -> None:
    document, _ = made.documents.create("me", "x", made.state(1))
    made.database._writer.execute("PRAGMA query_only=ON")  # as on a disk without any room
    with pytest.raises(StudioError):
        made.documents.rename("me", document, "y")
    assert made.documents.open("me", document).state == made.state(1)
    with pytest.raises(NotFound):
        made.documents.open("you", document)


def test_a_database_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(StudioError, match="later version"):
        Database(tmp_path)


def test_a_damaged_database_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all " * 100)
    with pytest.raises(StudioError, match="Move this file away"):
        Database(tmp_path)


def test_a_folder_that_is_a_file_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("I am in the way")
    with pytest.raises(StudioError, match="--data"):
        Database(tmp_path / "data")
