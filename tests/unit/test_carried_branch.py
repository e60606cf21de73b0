"""What the PNG of a branch carries: how it goes on comes back to the bit, or the file is not believed."""

from __future__ import annotations

import dataclasses
import json
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_mutated_pngs import values_changed
from test_run_file import assert_equal, recording
from test_run_file_hostile import Parts

from studio import picture as picture_module
from studio.diffusion.continuation import Continuation, read, written
from studio.diffusion.edits import BandLock, held_alone
from studio.diffusion.known import KeepKnown
from studio.diffusion.recording import Recording
from studio.diffusion.wavelets import split_bands
from studio.errors import StudioError, UnreadablePicture
from studio.imaging.png import REQUEST_KEY, read_picture, read_png_chunks, read_png_text, write_png
from studio.picture import Picture
from studio.project import carried_branch
from studio.project.carried_branch import CHUNK, MAX_CARRIED, MAX_UNPACKED, UNWRITABLE, CarriedBranch, going_in
from studio.project.carried_fill import KEPT_BACK, LEFT_OUT
from studio.project.settings_in import settings_in
from studio.project.store import note_in
from studio.requests import TextToImage
from studio.verifying import checked

PARENT = "1700000000000-0123456789abcdef"
REQUEST = TextToImage("a lake", num_inference_steps=3)
BRANCH = {"parent": PARENT, "from": 1, "edited": True}


def going(dtype: torch.dtype = torch.float32, **memory: Any) -> Continuation:
    """How a run goes on from its second step, with a lock, a region that is held and a region that is corrected."""
    run = recording(dtype, **memory)
    lock = BandLock((0,), held_alone(run.steps[1:], (0,)), release=0.25)
    point = dataclasses.replace(run.at(1), hooks=(lock,))
    keep = KeepKnown(run.steps[-1].x_next, torch.linspace(0, 1, 48 * 40).reshape(48, 40), seed=9)
    return Continuation(point, keep, torch.ones(48, 40))


def picture(found: Continuation, **more: Any) -> Picture:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    return Picture(pixels, REQUEST, 0.1, branch=BRANCH, going=CarriedBranch(found), **more)


@pytest.fixture(scope="module")
def png() -> bytes:
    return picture(going()).to_png()


def body_of(png: bytes) -> bytes:
    return read_png_chunks(png, {CHUNK}, MAX_CARRIED).get(CHUNK, b"")


def with_body(png: bytes, content: bytes, pack: Callable[[bytes], bytes] = zlib.compress, **note: Any) -> bytes:
    """The PNG with another content of its chunk, and a note that says so."""
    said = {"going_on": {"digest": carried_branch._digest(content)}}
    text = read_png_text(png) | {REQUEST_KEY: json.dumps(note_in(png) | said | note)}
    return write_png(read_picture(png), text, {CHUNK: pack(content)})


def found_in(png: bytes) -> Continuation | None:
    return going_in(png, note_in(png))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_how_a_branch_goes_on_comes_back_to_the_bit(dtype: torch.dtype) -> None:
    made = going(dtype, last_sample=torch.ones(1, 4, 6, 5, dtype=dtype))
    found = found_in(picture(made).to_png())
    assert_equal(found, made)


def test_the_file_is_the_same_each_time_and_other_programs_pass_the_chunk_by(png: bytes) -> None:
    """Ancillary, private, reserved as PNG wants it, and not safe to copy: bit 5 of each letter."""
    assert picture(going()).to_png() == png
    assert [letter & 32 for letter in CHUNK] == [32, 32, 0, 0]
    assert png.index(CHUNK) > png.index(b"IDAT")
    assert len(png) < 64 * 1024


def test_a_point_is_carried_without_the_run_that_it_is_of() -> None:
    run = recording()
    point = Continuation(run.at(1)).point
    assert point is not None
    assert point.step.denoised is None
    assert point.step.x_next is point.step.x is point.moment.x
    other = Continuation(run.at(1).elsewhere()).point
    assert other is not None
    assert other.step.denoised is run.steps[1].denoised, "of which the sample is made anew"
    assert (other.moment.memory, other.step.x_next) == ({}, other.step.x)


def test_of_the_steps_that_a_lock_follows_only_its_bands_are_left() -> None:
    run = recording()
    for step, held in zip(run.steps, held_alone(run.steps, (1,), "haar", 1), strict=True):
        assert step.denoised is not None and held.denoised is not None
        whole, alone = (split_bands(each, "haar", 1) for each in (step.denoised, held.denoised))
        torch.testing.assert_close(alone[1], whole[1])
        assert float(alone[0].abs().max()) < 1e-5
        assert held.x is held.x_next is held.denoised


# -- what is too large, or may not be inside --------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["MAX_CARRIED", "MAX_UNPACKED", "MAX_FILE"])
def test_what_is_too_large_is_left_out_and_the_note_says_so(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    made = picture(going())
    if limit == "MAX_FILE":
        monkeypatch.setattr(picture_module, limit, len(made.to_png()) - 1)
    else:
        monkeypatch.setattr(carried_branch, limit, 1000)
        made = picture(going())
    png = made.to_png()
    assert note_in(png)["going_on"] == LEFT_OUT
    assert not body_of(png)
    with pytest.raises(StudioError, match=r"at step 2\. .* too large to be in the file"):
        checked(png)


def test_nothing_is_inside_where_something_was_to_be_taken_away() -> None:
    png = picture(going(), fill={"intent": "remove"}).to_png()
    assert note_in(png)["going_on"] == KEPT_BACK
    assert not body_of(png)
    with pytest.raises(StudioError, match="to be taken away there is not in the file"):
        checked(png)


def test_a_solver_that_remembers_what_no_file_holds_is_said() -> None:
    for memory in ({"cells": torch.ones(99, 1, 1, 1)}, {"odd": torch.ones(3, dtype=torch.complex64)}):
        png = picture(going(**memory)).to_png()
        assert note_in(png)["going_on"] == UNWRITABLE
        with pytest.raises(StudioError, match="in the studio's data"):
            checked(png)


# -- damage -----------------------------------------------------------------------------------------------------------


def test_any_change_of_what_is_carried_is_found(png: bytes) -> None:
    body, chance = body_of(png), random.Random(4)
    note = note_in(png)
    for _ in range(150):
        changed = bytearray(body)
        how = chance.choice(["byte", "cut", "more"])
        if how == "byte":
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        elif how == "cut":
            del changed[chance.randrange(len(changed)) :]
        else:
            changed += bytes([chance.randrange(256)])
        other = write_png(read_picture(png), read_png_text(png), {CHUNK: bytes(changed)})
        try:
            found = going_in(other, note)
        except UnreadablePicture as problem:
            assert str(problem).isprintable()
        else:  # bits of the packing that stand for nothing; an empty chunk is none
            assert found is None or carried_branch._unpacked(bytes(changed)) == carried_branch._unpacked(body)


def test_a_wrong_checksum_of_the_chunk_is_found(png: bytes) -> None:
    place = png.index(CHUNK) + 4
    changed = png[:place] + bytes([png[place] ^ 1]) + png[place + 1 :]
    with pytest.raises(UnreadablePicture):
        found_in(changed)


def test_another_digest_is_not_believed(png: bytes) -> None:
    text = read_png_text(png)
    for said in ({"digest": "0" * 32}, {"digest": 5}, {}):
        text[REQUEST_KEY] = json.dumps(note_in(png) | {"going_on": said})
        with pytest.raises(UnreadablePicture, match="is not what its note says"):
            found_in(write_png(read_picture(png), text, {CHUNK: body_of(png)}))


def test_what_unpacks_without_end_is_refused_at_its_limit(png: bytes) -> None:
    bomb = zlib.compress(bytes(MAX_UNPACKED + 1))
    assert len(bomb) < 100_000
    with pytest.raises(UnreadablePicture, match="unpacks to more than"):
        found_in(with_body(png, b"", lambda _: bomb))


def test_more_than_may_be_carried_is_refused_unread(png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried_branch, "MAX_CARRIED", len(body_of(png)) - 1)
    with pytest.raises(UnreadablePicture, match="carries more than"):
        found_in(png)
    assert "verified" not in settings_in(png, TextToImage(""), 512).notes[0], "its settings are read all the same"


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x05.", b"PK\x03\x04" + bytes(40), b"\xff" * 64, bytes(64)])
def test_what_is_no_such_file_is_refused(png: bytes, content: bytes) -> None:
    with pytest.raises(UnreadablePicture, match="cannot be used"):
        found_in(with_body(png, content))


# -- malice: all digests are right ------------------------------------------------------------------------------------


def _tensor(parts: Parts, name: str, dtype: str, shape: list[int], content: bytes) -> None:
    assert name in parts.tensors, sorted(parts.tensors)
    parts.tensors[name] = (dtype, shape, content)


NAN = np.full((1, 4, 6, 5), np.nan, np.float32).tobytes()
WHOLE = [1, 4, 6, 5]


def _point(parts: Parts) -> Any:
    return parts.run["run"]["moments"][0]


CHANGES: dict[str, tuple[Callable[[Parts], object], str]] = {
    "no numbers": (lambda p: _tensor(p, "x.00000", "F32", WHOLE, NAN), "infinite or none at all"),
    "whole numbers": (lambda p: _tensor(p, "x.00000", "I32", WHOLE, NAN), "no tensor of latents"),
    "another kind of numbers": (lambda p: _tensor(p, "x.00000", "I64", [60], NAN), "no tensor of latents"),
    "held steps of another size": (
        lambda p: _tensor(p, "lock0.x.00000", "F32", [1, 4, 6, 1], bytes(96)),
        "held step 1",
    ),
    "a held step of no numbers": (lambda p: _tensor(p, "lock0.x.00001", "F32", WHOLE, NAN), "held step 2"),
    "a known picture of no numbers": (lambda p: _tensor(p, "known", "F32", WHOLE, NAN), "infinite or none"),
    "a known picture of another size": (
        lambda p: _tensor(p, "known", "F32", [1, 4, 6, 6], bytes(576)),
        "known picture is shaped",
    ),
    "a mask of no numbers": (lambda p: _tensor(p, "known.mask", "F32", [1, 60], NAN[:240]), "runs from 0"),
    "a mask beyond 1": (lambda p: _tensor(p, "mask", "F32", [1, 1], b"\0\0\0A"), "runs from 0"),
    "a mask of three sides": (lambda p: _tensor(p, "mask", "F32", [1, 1, 1], bytes(4)), "is shaped"),
    "a memory that would grow": (
        lambda p: _tensor(p, "memory.00000.model_outputs.1", "F32", [120, 1, 1, 1], bytes(480)),
        "remembers model_outputs",
    ),
    "a memory of no numbers": (
        lambda p: _tensor(p, "memory.00000.model_outputs.1", "F32", WHOLE, NAN),
        "infinite or none",
    ),
    "a method for a memory": (lambda p: _point(p)["memory"].update(step=None), "no memory of a solver"),
    "a class for a memory": (lambda p: _point(p)["memory"].update(__class__="x"), "no memory of a solver"),
    "an object of a class": (lambda p: _point(p)["memory"].update(a={"py": "os.system"}), "no solver's memory"),
    "a place beyond the schedule": (lambda p: _point(p)["memory"].update(_step_index=999), "stands at 999"),
    "a step beyond the schedule": (lambda p: p.run["run"]["facts"].update(begin_index=50), "does not have"),
    "two steps": (lambda p: p.run["run"]["steps"].append(p.run["run"]["steps"][0]), "from 2 steps"),
    "no step": (lambda p: p.run["run"].update(steps=[], moments=[]), "from 0 steps"),
    "a run that cannot be resumed": (
        lambda p: p.run["run"]["facts"].update(obstacle="its loop."),
        "cannot be resumed exactly: its loop",
    ),
    "nowhere": (lambda p: p.run.update(run=None), "from nowhere"),
    "another way without an estimate": (lambda p: p.run.update(another_way=True), "no clean estimate"),
    "a way of another kind": (lambda p: p.run.update(another_way=1), "not told as it should be"),
    "very many locks": (lambda p: p.run.update(locks=p.run["locks"] * 9), "9 locks"),
    "a wavelet that is none": (lambda p: p.run["locks"][0].update(wavelet="../x"), "lock in it cannot be"),
    "a lock of no band": (lambda p: p.run["locks"][0].update(bands=[]), "lock in it cannot be"),
    "a lock of a band that is none": (lambda p: p.run["locks"][0].update(bands=["0"]), "lock in it cannot be"),
    "a lock of very many levels": (lambda p: p.run["locks"][0].update(levels=10**9), "lock in it cannot be"),
    "a lock that never lets go": (lambda p: p.run["locks"][0].update(release={}), "never lets go"),
    "a mode of another kind": (lambda p: p.run["locks"][0].update(mode=["content"]), "lock in it cannot be"),
    "a seed that is none": (lambda p: p.run["keep"].update(seed=-1), "A seed is"),
    "a field of its own": (lambda p: p.run.update(code="x"), "not described by"),
    "a tensor that is not there": (lambda p: p.run.update(mask="gone"), "does not hold"),
    "a tensor by a number": (lambda p: p.run.update(mask=7), "a tensor in it is called"),
    "a tensor of nobody": (lambda p: p.run.update(mask=None), "belongs to no step"),
    "another version": (lambda p: p.metadata.update(version="2"), "update the studio"),
    "another kind": (lambda p: p.metadata.update(format="wavebrush-run"), "nothing that says"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_hostile_file_says_is_refused_in_words(change: str, png: bytes, tmp_path: Path) -> None:
    alter, words = CHANGES[change]
    path = tmp_path / "going.safetensors"
    made = going()
    assert made.keep is not None
    # a mask of its own content, so that every tensor has a name to change it by
    made = dataclasses.replace(made, mask=torch.full((48, 40), 0.5))
    path.write_bytes(b"".join(written(made)))
    parts = Parts(path)
    alter(parts)
    with pytest.raises(UnreadablePicture, match=words) as caught:
        found_in(with_body(png, parts.write(path).read_bytes()))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_a_file_taken_apart_and_put_together_is_read(png: bytes, tmp_path: Path) -> None:
    path = tmp_path / "going.safetensors"
    path.write_bytes(b"".join(written(going())))
    content = Parts(path).write(path).read_bytes()
    assert_equal(found_in(with_body(png, content)), read(content))


# -- what is said of a file that is dropped ---------------------------------------------------------------------------


def test_a_dropped_branch_says_where_it_goes_on_and_brings_its_settings(png: bytes) -> None:
    found = settings_in(png, TextToImage(""), 512)
    assert found.request == REQUEST
    assert not found.exact
    (note,) = found.notes
    assert note.startswith("It is a branch: it left another run and goes on from step 2 of it, painted over there.")
    assert "the file itself can be verified" in note
    assert dataclasses.asdict(found)["branch"] == {"parent": PARENT, "at": 1}


def test_a_dropped_branch_that_carries_nothing_promises_nothing(png: bytes) -> None:
    for branch, step in ((BRANCH, "step 2"), ({"parent": "../x", "from": -4, "lock": {}}, "it left another run")):
        text = {REQUEST_KEY: json.dumps({**note_in(png), "branch": branch})}
        found = settings_in(write_png(read_picture(png), text), TextToImage(""), 512)
        assert step in found.notes[0]
        assert "verified" not in found.notes[0]
        assert (found.branch is None) == (branch != BRANCH)


def test_a_recording_is_no_continuation(tmp_path: Path) -> None:
    from studio.diffusion.run_file import save_recording

    run: Recording = recording()
    save_recording(run, tmp_path / "run.safetensors")
    with pytest.raises(StudioError, match="nothing that says it is how a run goes on"):
        read((tmp_path / "run.safetensors").read_bytes())


def test_odd_values_anywhere_in_the_description_are_refused_in_words_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "going.safetensors"
    path.write_bytes(b"".join(written(going())))
    text = json.dumps(Parts(path).run)
    refused = 0
    for number in range(200):
        odd = values_changed(text, random.Random(number))
        content = Parts(path).write(tmp_path / "odd.safetensors", run_text=odd).read_bytes()
        try:
            read(content)
        except StudioError as problem:
            assert str(problem).isprintable()
            refused += 1
    assert refused > 150
