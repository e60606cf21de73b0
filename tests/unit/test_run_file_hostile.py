"""Damaged and hostile run files: refused in words, never run, never half believed."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from test_run_file import assert_equal, recording

from studio.diffusion.recording import Recording
from studio.diffusion.run_file import load_recording, save_recording
from studio.errors import StudioError


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recording]:
    """A file that loads, and what it holds."""
    made = recording(sample=torch.ones(1, 4, 6, 5), order_list=[1, 2], ratio=0.5, nothing=None)
    path = tmp_path_factory.mktemp("run") / "lake.safetensors"
    save_recording(made, path)
    return path, made


class Parts:
    """A run file taken apart, so that a test can change it as somebody would who knows the format."""

    def __init__(self, path: Path) -> None:
        raw = path.read_bytes()
        (length,) = struct.unpack("<Q", raw[:8])
        self.header: dict[str, Any] = json.loads(raw[8 : 8 + length])
        self.metadata: dict[str, str] = self.header.pop("__metadata__")
        self.run: dict[str, Any] = json.loads(self.metadata["run"])
        data = raw[8 + length :]
        self.tensors: dict[str, tuple[str, list[int], bytes]] = {
            name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])])
            for name, entry in self.header.items()
        }

    def write(self, path: Path, run_text: str | None = None) -> Path:
        """Puts the file together again, all its digests right."""
        header: dict[str, Any] = {}
        data = b""
        for name, (dtype, shape, content) in self.tensors.items():
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
            data += content
        run = json.dumps(self.run) if run_text is None else run_text
        digests = json.dumps({name: digest(content) for name, (_, _, content) in self.tensors.items()})
        self.metadata |= {"run": run, "tensors": digests, "digest": digest(run.encode(), digests.encode())}
        text = json.dumps({"__metadata__": self.metadata, **header}).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data)
        return path


def digest(*parts: bytes) -> str:
    return hashlib.blake2b(b"".join(part + b"\0" for part in parts), digest_size=16).hexdigest()


@pytest.fixture
def parts(good: tuple[Path, Recording]) -> Parts:
    return Parts(good[0])


def test_file_taken_apart_and_put_together_still_loads(
    parts: Parts, good: tuple[Path, Recording], tmp_path: Path
) -> None:
    assert_equal(load_recording(parts.write(tmp_path / "same.safetensors")), good[1])


# -- damage -----------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_any_changed_byte_is_found_or_changes_nothing(
    place: float, value: int, good: tuple[Path, Recording], tmp_path: Path
) -> None:
    raw = bytearray(good[0].read_bytes())
    raw[int(place * len(raw))] = value
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(raw)
    try:
        loaded = load_recording(damaged)
    except StudioError:
        return
    assert_equal(loaded, good[1])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True))
def test_truncated_file_is_refused(place: float, good: tuple[Path, Recording], tmp_path: Path) -> None:
    raw = good[0].read_bytes()
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(raw[: int(place * len(raw))])
    with pytest.raises(StudioError, match=r"`cut\.safetensors` (ends early|is empty or nearly so)"):
        load_recording(cut)


def test_file_with_something_behind_it_is_refused(good: tuple[Path, Recording], tmp_path: Path) -> None:
    longer = tmp_path / "longer.safetensors"
    longer.write_bytes(good[0].read_bytes() + b"and more")
    with pytest.raises(StudioError, match="belong to nothing"):
        load_recording(longer)


# -- other files ------------------------------------------------------------------------------------------------------


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('the pickle ran')",)


@pytest.mark.parametrize("protocol", range(6))
def test_pickle_is_refused_and_not_run(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "lake.safetensors"
    path.write_bytes(pickle.dumps({"run": _Bomb(), "padding": "x" * 100}, protocol=protocol))
    with pytest.raises(StudioError, match=r"is not a safetensors file but a pickle|claims a header of"):
        load_recording(path)


def test_weights_of_a_model_are_told_apart(tmp_path: Path) -> None:
    save_file({"conv.weight": torch.zeros(3)}, tmp_path / "unet.safetensors", metadata={"format": "pt"})
    with pytest.raises(StudioError, match=r"nothing that says it is a run \(perhaps a model's weights\?\)"):
        load_recording(tmp_path / "unet.safetensors")


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match=r"no file `lake\.safetensors`"):
        load_recording(tmp_path / "lake.safetensors")
    with pytest.raises(StudioError, match="is not a file"):
        load_recording(tmp_path)


def test_header_that_claims_more_than_a_run_needs_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "lake.safetensors"
    path.write_bytes(struct.pack("<Q", 90_000_000) + b"{}")
    with path.open("r+b") as file:
        file.truncate(100_000_000)  # sparse: takes no room
    with pytest.raises(StudioError, match="claims a header of 90 MB"):
        load_recording(path)


def test_enormous_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "lake.safetensors"
    with path.open("wb") as file:
        file.truncate(17 * 1024**3)
    with pytest.raises(StudioError, match=r"is 18\.3 GB large; recorded runs up to 17\.2 GB are read"):
        load_recording(path)


# -- malice -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "words"),
    [("2", "version 2, and this studio reads version 1: update the studio"), ("1.0", "never was"), ("", "never was")],
)
def test_other_versions_are_refused(version: str, words: str, parts: Parts, tmp_path: Path) -> None:
    parts.metadata["version"] = version
    with pytest.raises(StudioError, match=words):
        load_recording(parts.write(tmp_path / "lake.safetensors"))


@pytest.mark.parametrize(
    "name",
    [
        "__class__",
        "__dict__",
        "_Scheduler__secret",
        "_internal_dict",
        "_wavebrush_run",
        "step",
        "set_timesteps",
        "scale_model_input",
        "from_pretrained",
        "timesteps",
        "config",
        "a.b",
        "a b",
        "",
        "x" * 80,
        "mémoire",
        "name\n",
    ],
)
@pytest.mark.parametrize("kind", ["memory", "arguments"])
def test_memory_under_a_name_that_no_solver_uses_is_refused(
    name: str, kind: str, parts: Parts, tmp_path: Path
) -> None:
    parts.run["moments"][1][kind][name] = 1
    with pytest.raises(StudioError, match="which is no memory of a solver"):
        load_recording(parts.write(tmp_path / "lake.safetensors"))


def _set(*path: str | int, value: object) -> Callable[[Parts], None]:
    def change(parts: Parts) -> None:
        target: Any = parts.run
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value

    return change


def _tensor(name: str, dtype: str, shape: list[int], content: bytes) -> Callable[[Parts], None]:
    return lambda parts: parts.tensors.update({name: (dtype, shape, content)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set("steps", 1, "x", value="x.00007"), "refers to the tensor `x.00007`, which it does not hold"),
        (_set("steps", 1, "x", value={"tensor": "x.00001"}), r"steps\[1\]\.x is no text"),
        (_set("steps", 1, "x", value="torch_state.00000"), "is no tensor of latents"),
        (_set("steps", 1, "index", value=5), r"step 5 of 3 \(order 1\) cannot be"),
        (_set("steps", 1, "index", value=2), "step 2 stands in place 1, after step 0"),
        (_set("steps", 1, "index", value=True), r"steps\[1\]\.index is no number of something"),
        (_set("steps", 1, "total", value=10**9), r"one of 1000000000 \(order 1\), not of 3"),
        (_set("steps", 1, "order", value=0), "cannot be"),
        (_set("steps", 1, "sigma", value="high"), r"steps\[1\]\.sigma is no number"),
        (_set("steps", 1, "sigma", value={"float": "nan"}), r"steps\[1\]\.sigma is not a number"),
        (_set("steps", 1, "sigma", value=2**64), r"steps\[1\]\.sigma is no number that a run can have"),
        (_set("steps", 1, "extra", value=1), "has an entry `extra` that means nothing"),
        (_set("steps", 1, "layout", value={"kind": "Plane", "module": "os"}), r"steps\[1\]\.layout"),
        (_set("steps", 1, "layout", value={"kind": "Packed", "height": 2, "width": 2}), "does not lie as Packed"),
        (_set("facts", "layout", value={"kind": "system"}), "The layout 'system' is unknown"),
        (_set("facts", "scheduler", value="os.system"), "no name of a class"),
        (_set("facts", "scheduler_config", value=[]), "scheduler_config is no object"),
        (_set("facts", "timesteps", value=[1.0]), "1 timesteps, but 3 noise levels"),
        (_set("facts", "fingerprint", value="x" * 5000), "no text, or a very long one"),
        (_set("steps", value=[]), "nothing is recorded in it"),
        (_set("moments", value=[]), "3 steps, but 0 moments"),
        (_set("moments", 0, "memory", value=[]), "memory is no object"),
        (_set("moments", 0, "memory", "_step_index", value=99), "its solver stands at 99"),
        (_set("moments", 0, "memory", "dt", value={"pickle": "gASV"}), "of a kind that no solver's memory has"),
        (_set("moments", 0, "memory", "dt", value={"numpy": "object_", "value": 1}), "of a kind"),
        (_set("moments", 0, "memory", "dt", value={"numpy": "int32", "value": 2**40}), "which is no int32"),
        (_set("moments", 0, "torch_state", value="x.00000"), "is no state of a random generator"),
        (_set("moments", 0, "generator_states", value=["x.00000"]), "is no state of a random generator"),
        (_tensor("torch_state.00000", "U8", [5056], b"\xff" * 5056), "no state that a random generator can have"),
        (_tensor("torch_state.00000", "U8", [16], b"\0" * 16), "has 16 bytes, which no random generator's state has"),
        (_tensor("x.00001", "F32", [1, 4, 6, 4], b"\0" * 384), r"is shaped \(1, 4, 6, 4\)"),
        (_tensor("x.00001", "I32", [1, 4, 6, 5], b"\0" * 480), "is no tensor of latents"),
        (_set("moments", 1, "x", value="torch_state.00000"), "step 1: entering is no tensor of latents"),
        (_tensor("x.00001", "F8_E4M3", [1, 4, 6, 5], b"\0" * 120), "of type F8_E4M3, which no run has"),
        (_tensor("x.00001", "F32", [0, 2**62], b""), "claims a shape that no tensor has"),
        (_tensor("more", "F32", [1], b"\0" * 4), "its tensor `more` belongs to no step"),
    ],
)
def test_contradiction_is_named(change: Callable[[Parts], None], words: str, parts: Parts, tmp_path: Path) -> None:
    change(parts)
    with pytest.raises(StudioError, match=words):
        load_recording(parts.write(tmp_path / "lake.safetensors"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("NaN", "NaN is not a number in JSON"),
        ('{"facts": 1e999}', "beyond the numbers"),
        ("[" * 5_000 + "]" * 5_000, "nested deeper"),
        ('{"facts": {}, "facts": {}}', "stands there twice"),
        ("{} {}", "not JSON"),
        ("[]", "the description is no object"),
        ("", "not JSON"),
    ],
)
def test_description_that_is_not_strict_json_is_refused(text: str, words: str, parts: Parts, tmp_path: Path) -> None:
    with pytest.raises(StudioError, match=words):
        load_recording(parts.write(tmp_path / "lake.safetensors", run_text=text))


def test_strangers_text_cannot_break_the_line_of_the_error(parts: Parts, tmp_path: Path) -> None:
    parts.run["moments"][0]["memory"]["\n\x1b[31mgotcha" + "x" * 5_000] = 1
    with pytest.raises(StudioError) as refusal:
        load_recording(parts.write(tmp_path / "lake.safetensors"))
    assert "\n" not in str(refusal.value)
    assert "\x1b" not in str(refusal.value)
    assert len(str(refusal.value)) < 300


_STRANGE = (
    None, True, 0, -1, 2**63, 1e300, 0.5, "", "x.00000", "\u202e", [], [[[]]], {}, {"tensor": "x.00000"},
    {"tensor": 3}, {"float": "inf"}, {"tuple": [1]}, {"kind": "Plane"},
)  # fmt: skip


def _places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from _places(item, (*path, key))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_field_is_refused_or_gives_a_recording_that_holds_together(
    data: st.DataObject, parts: Parts, tmp_path: Path
) -> None:
    """With all digests right, as only an author could have them: the change itself has to be judged."""
    changed = copy.deepcopy(parts)
    path = data.draw(st.sampled_from(list(_places(changed.run))))
    _set(*path, value=data.draw(st.sampled_from(_STRANGE)))(changed)
    try:
        loaded = load_recording(changed.write(tmp_path / "changed.safetensors"))
    except StudioError:
        return
    save_recording(loaded, tmp_path / "again.safetensors")
    assert_equal(load_recording(tmp_path / "again.safetensors"), loaded)
