"""What a person keeps for their prompts: whole, bounded, their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio import strict_json
from studio.errors import InvalidRequest, StudioError
from studio.project import wordbook
from studio.project.wordbook import Wordbooks

STYLE = {
    "prompt": "{prompt}, in oil",
    "negative_prompt": "fog",
    "settings": {"num_inference_steps": 30, "solver": "Euler"},
}


def test_what_is_kept_is_there_after_a_restart_and_only_for_its_owner(tmp_path: Path) -> None:
    book = Wordbooks(tmp_path)
    book.keep("ann", "styles", " Warm  oil ", STYLE)
    book.keep("ann", "negatives", "<b>faults</b>", "blurry")
    book.keep("ann", "lists", "trees", ["oak", " ", " {old|young} pine "])
    again = Wordbooks(tmp_path)
    assert again.read("ann") == {
        "styles": {"Warm oil": STYLE},
        "negatives": {"<b>faults</b>": "blurry"},
        "lists": {"trees": ["oak", "{old|young} pine"]},
    }
    assert again.lists("bob") == {}


def test_a_book_is_parsed_once_per_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []
    loads = strict_json.loads
    monkeypatch.setattr(
        strict_json, "loads", lambda text, **limits: (parsed.append(len(text)), loads(text, **limits))[1]
    )
    monkeypatch.setattr(wordbook, "BOOKS_IN_MEMORY", 2)
    books, elsewhere = Wordbooks(tmp_path), Wordbooks(tmp_path)
    books.keep("ann", "lists", "trees", ["oak"])
    for _ in range(3):
        books.read("ann")["lists"]["mine"] = ["changed"]
        assert books.lists("ann") == {"trees": ["oak"]}
    assert len(parsed) == 1
    elsewhere.keep("ann", "lists", "trees", ["fir"])  # as long as before
    del parsed[:]
    assert books.lists("ann") == {"trees": ["fir"]}
    assert len(parsed) == 1
    for owner in ("bob", "cid"):
        books.keep(owner, "lists", "trees", ["oak"])
        books.read(owner)
    assert len(books._books) == 2
    books._file("ann").unlink()
    assert books.lists("ann") == {}


def test_an_entry_can_be_taken_out_and_put_back(tmp_path: Path) -> None:
    book = Wordbooks(tmp_path)
    book.keep("ann", "styles", "oil", STYLE)
    assert book.keep("ann", "styles", "oil", None)["styles"] == {}
    assert book.keep("ann", "styles", "oil", STYLE)["styles"] == {"oil": STYLE}


@pytest.mark.parametrize(
    ("kind", "name", "value", "field"),
    [
        ("pickles", "a", "b", "kind"),
        (["styles"], "a", "b", "kind"),
        ("negatives", "", "b", "name"),
        ("negatives", "a\nb", "b", "name"),
        ("negatives", "x" * 61, "b", "name"),
        ("negatives", 7, "b", "name"),
        ("negatives", "a", 7, "value"),
        ("negatives", "a", "x" * 4001, "value"),
        ("negatives", "a", "\x00", "prompt"),
        ("lists", "../up", ["a"], "name"),
        ("lists", "a__b", ["a"], "name"),
        ("lists", "a", [], "value"),
        ("lists", "a", ["x"] * 1001, "value"),
        ("lists", "a", ["x" * 401], "value"),
        ("lists", "a", "text", "value"),
        ("styles", "a", {"prompt": "x", "model": "y"}, "value"),
        ("styles", "a", {"settings": {"seed": 3}}, "value"),
        ("styles", "a", {"settings": {"num_inference_steps": 0}}, "num_inference_steps"),
        ("styles", "a", "text", "value"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_nothing_is_written(
    tmp_path: Path, kind: object, name: object, value: object, field: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Wordbooks(tmp_path).keep("ann", kind, name, value)
    assert caught.value.field == field
    assert not list(tmp_path.rglob("*.json"))


def test_names_are_labels_and_the_file_has_a_name_of_ours(tmp_path: Path) -> None:
    Wordbooks(tmp_path).keep("user:../../etc", "negatives", "../../x", "y")
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert file.parent == tmp_path / "wordbooks"
    assert file.stem.isalnum()


def test_what_a_killed_process_left_half_written_goes_at_the_next_start(tmp_path: Path) -> None:
    book = Wordbooks(tmp_path)
    book.prepare()  # of a folder that is not there yet
    book.keep("ann", "negatives", "a", "b")
    (file,) = tmp_path.rglob("*.json")
    mine, somebodys = file.with_name(f".{file.name}.123.part"), file.with_name(".notes.part")
    for path in (mine, somebodys):
        path.write_bytes(b"{")
    Wordbooks(tmp_path).prepare()
    assert set(file.parent.iterdir()) == {file, somebodys}
    assert book.read("ann")["negatives"] == {"a": "b"}


@pytest.mark.parametrize(
    "content", ["", "[]", '{"format": 2}', '{"format": 1, "styles": 3}', '{"format": 1, "lists": {"a": 1}}']
)
def test_a_file_that_cannot_be_read_is_said_and_left_alone(tmp_path: Path, content: str) -> None:
    book = Wordbooks(tmp_path)
    book.keep("ann", "negatives", "a", "b")
    (file,) = tmp_path.rglob("*.json")
    file.write_text(content)
    with pytest.raises(StudioError, match="cannot be read"):
        book.read("ann")
    with pytest.raises(StudioError, match="cannot be read"):
        book.keep("ann", "negatives", "c", "d")
    assert file.read_text() == content


def test_there_is_an_end_to_what_is_kept(tmp_path: Path) -> None:
    book = Wordbooks(tmp_path)
    for k in range(200):
        book.keep("ann", "negatives", str(k), "x")
    with pytest.raises(InvalidRequest, match="At most 200"):
        book.keep("ann", "negatives", "one more", "x")
    assert len(book.keep("ann", "negatives", "7", "y")["negatives"]) == 200
