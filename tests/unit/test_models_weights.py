"""Safetensors headers: sound ones are read, and every lie is named before anything is loaded."""

from __future__ import annotations

import io
import json
import pickle
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from studio.errors import ModelNotFound, UnsafeModel
from studio.models.weights import HEADER_LIMIT, check_weights, human_bytes, shown, tensor_shapes


def write(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    """A safetensors file with whatever header, claiming `length` bytes for it (default: the truth)."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def tensor(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "lake.safetensors"
    save_file({"a": torch.zeros(2, 3), "b": torch.ones(5, dtype=torch.float16), "c": torch.tensor(1)}, path)
    return path


def test_sound_file_is_counted_without_being_loaded(sound: Path) -> None:
    weights = check_weights(sound)
    assert weights.parameters == 2 * 3 + 5 + 1
    assert weights.size == sound.stat().st_size
    assert tensor_shapes(sound) == {"a": (2, 3), "b": (5,), "c": ()}


def test_file_with_metadata_and_no_tensors_is_sound(tmp_path: Path) -> None:
    save_file({}, tmp_path / "empty.safetensors", metadata={"format": "pt"})
    assert check_weights(tmp_path / "empty.safetensors").parameters == 0


@pytest.mark.parametrize("name", ["a.ckpt", "a.pt", "a.pth", "a.bin", "a.pkl", "A.CKPT"])
def test_pickle_suffix_is_refused_unopened(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnsafeModel, match="can run code"):
        check_weights(tmp_path / name)  # it need not even exist


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('the pickle ran')",)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_named_safetensors_is_refused_and_not_run(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "lake.safetensors"
    path.write_bytes(pickle.dumps({"weights": _Bomb(), "padding": "x" * 100}, protocol=protocol))
    with pytest.raises(UnsafeModel, match=r"`lake\.safetensors` is not a safetensors file but a pickle"):
        check_weights(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_archive_named_safetensors_is_refused(zipped: bool, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(4)}, buffer, _use_new_zipfile_serialization=zipped)
    path = tmp_path / "lake.safetensors"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(UnsafeModel, match="not a safetensors file but a"):
        check_weights(path)


def test_old_pickle_protocol_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "lake.safetensors"
    path.write_bytes(pickle.dumps({"weights": [1.0] * 50}, protocol=0))
    with pytest.raises(UnsafeModel, match="claims a header"):
        check_weights(path)


def test_truncated_file_says_how_much_is_there(sound: Path) -> None:
    whole = sound.read_bytes()
    sound.write_bytes(whole[:-7])
    with pytest.raises(UnsafeModel) as refusal:
        check_weights(sound)
    assert str(refusal.value) == (
        f"`lake.safetensors` ends early: {len(whole) - 7} of {len(whole)} bytes are there. Fetch it again, or "
        "choose another model."
    )


def test_truncated_large_file_is_counted_in_gigabytes(tmp_path: Path) -> None:
    path = write(tmp_path / "lake.safetensors", {"w": tensor([850_000_000], 0, 3_400_000_000)})
    with path.open("r+b") as file:
        file.truncate(1_200_000_000)  # sparse: takes no room
    with pytest.raises(UnsafeModel, match=r"`lake\.safetensors` ends early: 1\.2 of 3\.4 GB are there\."):
        check_weights(path)


def test_truncation_within_one_displayed_digit_still_shows_a_difference(tmp_path: Path) -> None:
    path = write(tmp_path / "lake.safetensors", {"w": tensor([850_000_000], 0, 3_400_000_000)})
    with path.open("r+b") as file:
        file.truncate(3_400_000_000)
    with pytest.raises(UnsafeModel, match=r"ends early: 3,400,000,000 of 3,400,000,\d\d\d bytes are there"):
        check_weights(path)


@pytest.mark.parametrize("kept", [0, 3, 7, 8, 20])
def test_file_cut_inside_its_header_is_refused(kept: int, sound: Path) -> None:
    sound.write_bytes(sound.read_bytes()[:kept])
    with pytest.raises(UnsafeModel, match=r"ends early|is empty or nearly so"):
        check_weights(sound)


def test_header_longer_than_the_format_allows_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = write(tmp_path / "lake.safetensors", b"{}", length=HEADER_LIMIT + 1)
    with path.open("r+b") as file:
        file.truncate(HEADER_LIMIT * 10)  # sparse: the length is possible, but not allowed
    with pytest.raises(UnsafeModel, match=r"claims a header of 100 MB"):
        check_weights(path)


@pytest.mark.parametrize(
    ("header", "data"),
    [
        (b"not json at all", b""),
        (b"{'a': 1}", b""),
        (b"[1, 2]", b""),
        (b'{"a": NaN}', b""),
        (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{}}', b"0000"),
        (b'{"a":' + b'{"b":' * 5000 + b"1" + b"}" * 5001, b""),
        ({"a": 5}, b""),
        ({"a": {"dtype": "F32", "shape": [1]}}, b"0000"),
        ({"a": tensor([1], 0, 4, dtype="PICKLE")}, b"0000"),
        ({"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}, b"0000"),
        ({"__metadata__": {"format": 1}, "a": tensor([1], 0, 4)}, b"0000"),
        ({"a": tensor([-1], 0, 4)}, b"0000"),
        ({"a": tensor([True], 0, 4)}, b"0000"),  # type: ignore[list-item]
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}, b"0" * 8),
        ({"a": {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]}}, b"0000"),
        ({"a": tensor([2], 0, 4)}, b"0000"),  # shape and length disagree
        ({"a": tensor([1], 4, 0)}, b"0000"),  # ends before it begins
        ({"a": tensor([1], 0, 4), "b": tensor([1], 2, 6)}, b"0" * 6),  # overlap
        ({"a": tensor([1], 0, 4), "b": tensor([1], 8, 12)}, b"0" * 12),  # a hole that could hide something
        ({"a": tensor([1], 4, 8)}, b"0" * 8),  # does not begin at the beginning
        ({"a": tensor([1], 0, 4)}, b"0" * 9),  # more data than tensors
    ],
)
def test_lying_header_is_refused_as_unsound(header: object, data: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / "lake.safetensors", header, data)
    with pytest.raises(UnsafeModel, match="not a sound safetensors file"):
        check_weights(path)


def test_enormous_shape_is_refused_without_overflow(tmp_path: Path) -> None:
    path = write(tmp_path / "lake.safetensors", {"a": tensor([2**62, 2**62], 0, 4)}, b"0000")
    with pytest.raises(UnsafeModel, match="does not lie where its shape says"):
        check_weights(path)


def test_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"no file `lake\.safetensors`"):
        check_weights(tmp_path / "lake.safetensors")


def test_name_of_a_tensor_cannot_break_the_line_of_the_error(tmp_path: Path) -> None:
    path = write(tmp_path / "lake.safetensors", {"\n\x1b[31mgotcha" + "x" * 500: tensor([2], 0, 4)}, b"0000")
    with pytest.raises(UnsafeModel) as refusal:
        check_weights(path)
    assert "\n" not in str(refusal.value)
    assert "\x1b" not in str(refusal.value)
    assert len(str(refusal.value)) < 300


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 200), value=st.integers(0, 255))
def test_any_changed_byte_is_refused_or_harmless_to_the_real_reader(position: int, value: int, sound: Path) -> None:
    """What passes here must also be accepted by the library that reads it afterwards."""
    whole = bytearray(sound.read_bytes())
    broken = sound.with_name("broken.safetensors")
    whole[position % len(whole)] = value
    broken.write_bytes(whole)
    try:
        check_weights(broken)
    except UnsafeModel:
        return
    try:
        load_file(broken)
    except SafetensorError as problem:
        pytest.fail(f"passed the check, but safetensors says: {problem}")


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (99_999, "99,999 bytes"),
        (1_234_567, "1.2 MB"),
        (34e6, "34 MB"),
        (6.94e9, "6.9 GB"),
        (22e10, "220 GB"),
    ],
)
def test_bytes_are_shown_in_a_persons_unit(count: float, words: str) -> None:
    assert human_bytes(count) == words


def test_shown_text_is_short_and_plain() -> None:
    assert shown("a\x00b\u202ec") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
    assert len(shown("x" * 1000, 40)) == 40
