"""300 mutated PNGs through every reader that a stranger's picture meets: words or a picture, at once, in its place."""

from __future__ import annotations

import dataclasses
import json
import random
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from document_room import DocumentRoom, room
from watched_writes import writes_only_below

from studio.diffusion.strengths import Strengths
from studio.errors import StudioError
from studio.imaging.picture_files import open_picture
from studio.imaging.plain_png import write_plain
from studio.imaging.png import REQUEST_KEY, read_picture, read_png_text, write_png
from studio.project.flattening import flat, state_of_picture
from studio.project.settings_in import settings_in
from studio.project.store import note_in, picture_in, request_in
from studio.requests import SOLVERS, TextToImage
from studio.verifying import checked

COUNT = 300
PATIENCE = 2.0  # seconds that any file may take of this thread, whatever else the machine does
NOISE = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
REQUEST = TextToImage("a (lake:1.2) at {dawn|dusk}", negative_prompt="fog", correction=Strengths.low(0.02))
NOTE = {
    "format": 1,
    "request": REQUEST.to_dict(),
    "made_with": {"torch": "2", "threads": "2"},
    "stopped_at": 3,
    "branch": {"parent": "1700000000000-0123456789abcdef", "from": 0},
    "fill": {"intent": "fill", "feather": 4, "context": {"x": 0, "y": 0, "width": 9, "height": 9}},
}
GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 9, "cfg": 4.5, "sampler_name": "euler",
          "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0], "model": ["4", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "../../etc/passwd"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lake", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "fog", "clip": ["4", 1]}},
}  # fmt: skip
TEXTS: dict[str, dict[str, str]] = {
    "ours": {REQUEST_KEY: json.dumps(NOTE)},
    "web UI": {"parameters": "a lake\nNegative prompt: fog\nSteps: 9, Sampler: Euler a, CFG scale: 4, Size: 64x64"},
    "comfy": {"prompt": json.dumps(GRAPH)},
    "invoke": {"invokeai_metadata": json.dumps({"positive_prompt": "a lake", "steps": 5, "seed": 1, "width": 64})},
    "old invoke": {"sd-metadata": json.dumps({"image": {"prompt": [{"prompt": "a [fog] lake"}], "steps": 5}})},
    "dream": {"Dream": '"a lake" -s 50 -S 42 -W 512 -H 512 -C 7.5 -A k_lms'},
    "novel": {"Comment": json.dumps({"prompt": "{a} [lake]", "uc": "fog", "steps": 28, "scale": 5})},
    "swarm": {"parameters": json.dumps({"sui_image_params": {"prompt": "a lake", "steps": 5, "seed": 1}})},
}  # fmt: skip
SAMPLES = {
    **{name: write_png(NOISE, texts) for name, texts in TEXTS.items()},
    "a tile": write_plain(np.random.default_rng(1).integers(0, 256, (24, 24, 4), dtype=np.uint8)),
    "a mask": write_plain(np.random.default_rng(2).integers(0, 256, (24, 24), dtype=np.uint8)),
}
ODD = [
    None,
    True,
    -1,
    0,
    2**64,
    1e308,
    "",
    "\0",
    "x" * 5000,
    [],
    {},
    [[]] * 40,
    {"a": {"b": {}}},
    "../../evil",
    "\ud800",
]


def bytes_changed(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(changed))
        how = chance.choice(["set", "cut", "double", "insert", "end"])
        length = chance.randint(1, 60)
        if how == "set":
            changed[at] = chance.randrange(256)
        elif how == "cut" and len(changed) > 100:
            del changed[at : at + length]
        elif how == "double":
            changed[at:at] = changed[at : at + length]
        elif how == "insert":
            changed[at:at] = chance.randbytes(length)
        elif chance.random() < 0.2 and at > 40:
            del changed[at:]
    return bytes(changed)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        place += 12 + length


def _file_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def chunks_changed(data: bytes, chance: random.Random) -> bytes:
    """Whole chunks with checksums that fit, so that a change gets beyond them."""
    chunks = list(_chunks(data))
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(chunks))
        name, body = chunks[at]
        how = chance.choice(["body", "body", "body", "name", "double", "drop", "swap"])
        if how == "body":
            chunks[at] = (name, bytes_changed(body, chance) if body else chance.randbytes(9))
        elif how == "name":
            chunks[at] = (
                chance.choice([b"IHDR", b"IDAT", b"iTXt", b"tEXt", b"zTXt", b"PLTE", b"tRNS", b"acTL"]),
                body,
            )
        elif how == "double":
            chunks.insert(at, chunks[at])
        elif how == "drop" and len(chunks) > 1:
            del chunks[at]
        else:
            other = chance.randrange(len(chunks))
            chunks[at % len(chunks)], chunks[other] = chunks[other], chunks[at % len(chunks)]
    return _file_of(chunks)


def values_changed(text: str, chance: random.Random) -> str:
    """JSON with a value of it replaced by an odd one; other text with a piece of it doubled."""
    try:
        value = json.loads(text)
    except ValueError:
        at = chance.randrange(len(text))
        return text[:at] + str(chance.choice(ODD)).translate({0: None, 0xD800: None}) + text[max(0, at - 9) :]
    here = value
    while isinstance(here, (dict, list)) and here:
        key = chance.choice(list(here)) if isinstance(here, dict) else chance.randrange(len(here))
        if not isinstance(here[key], (dict, list)) or not here[key] or chance.random() < 0.3:
            here[key] = chance.choice(ODD)
            break
        here = here[key]
    return json.dumps(value)


def _mutated(number: int) -> bytes:
    chance = random.Random(number)
    name = chance.choice([*SAMPLES, "ours", "ours", "ours"])
    how = chance.choice(["bytes", "chunks", "values"])
    if how == "values" and name in TEXTS:
        return write_png(NOISE, {key: values_changed(text, chance) for key, text in TEXTS[name].items()})
    return (bytes_changed if how == "bytes" else chunks_changed)(SAMPLES[name], chance)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[DocumentRoom]:
    with room(tmp_path / "data") as found:
        yield found


def test_mutated_pngs_are_read_or_refused_at_once_and_write_nothing_elsewhere(
    made: DocumentRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    usual = TextToImage("a house")
    outcomes = dict.fromkeys(["settings", "a request", "a picture", "a document", "words"], 0)

    def settled(png: bytes) -> None:
        found = settings_in(png, usual, 512)
        assert found.request.solver in SOLVERS
        assert TextToImage.from_dict(found.request.to_dict()) == found.request
        assert all(note.isprintable() for note in found.notes)
        outcomes["settings"] += 1

    def requested(png: bytes) -> None:
        assert request_in(png)[0] == dataclasses.replace(TextToImage.from_dict(note_in(png)["request"]))
        kept = picture_in("1700000000000-0123456789abcdef", png)
        assert kept is not None
        assert isinstance(kept.fill, bool)
        checked(png)
        outcomes["a request"] += 1

    def opened(png: bytes) -> None:
        assert read_picture(png).dtype == np.uint8
        outcomes["a picture"] += 1

    def became_a_document(png: bytes) -> None:
        picture = open_picture(png, fit=True).pixels
        state = state_of_picture(picture, "Stranger", made.pixels, "me")
        document, _ = made.documents.create("me", "Stranger", state)
        assert flat(state, made.pixels, "me").shape[:2] == picture.shape[:2]
        made.documents.delete("me", document)
        outcomes["a document"] += 1

    readers: list[Callable[[bytes], object]] = [
        *(read_png_text, settled, requested, opened, became_a_document),
        lambda png: made.pixels.add("me", png),  # the plain PNGs that the canvas sends
    ]
    with writes_only_below(tmp_path / "data"):
        for number in range(COUNT):
            png = _mutated(number)
            for read in readers:
                begun = time.thread_time()
                try:
                    read(png)
                except StudioError as refused:
                    assert str(refused)
                    outcomes["words"] += 1
                assert time.thread_time() - begun < PATIENCE, f"mutation {number}"
    assert not list((tmp_path / "here").iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"data", "here"}
    assert min(outcomes.values()) > COUNT // 20, f"the mutations do not reach every reader: {outcomes}"


def test_what_is_written_elsewhere_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with writes_only_below(tmp_path / "data") as seen:
        (tmp_path / "data" / "a").write_bytes(b"x")
    assert seen == [str((tmp_path / "data" / "a").resolve())]
    for wrong in (
        lambda: (tmp_path / "evil").write_bytes(b"x"),
        lambda: (tmp_path / "data" / "a").rename(tmp_path / "moved"),
    ):
        with pytest.raises(AssertionError), writes_only_below(tmp_path / "data"):
            wrong()
