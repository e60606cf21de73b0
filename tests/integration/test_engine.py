"""The engine on tiny real models: the same bytes for the same request, stop, and every failure survived."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import save_tiny

from studio import engine as engine_module
from studio.diffusion.strengths import Strengths
from studio.engine import BAND_LEVELS, PREVIEW_INTERVAL, CannotShow, Engine, Picture, Progress
from studio.errors import InvalidRequest, ModelNotFound, OutOfMemory, StudioError, UnsafeModel
from studio.project.store import request_in
from studio.requests import SOLVERS, TextToImage, batch

STEPS = 6


@pytest.fixture
def lake(tiny_model: Path) -> TextToImage:
    return TextToImage(
        "an oil painting of a lake at sunset",
        width=64,
        height=64,
        num_inference_steps=STEPS,
        seed=7,
        model=str(tiny_model),
    )


@pytest.fixture(scope="module")
def flow_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine(str(save_tiny("flux", tmp_path_factory.mktemp("models") / "flow")))


def _same(one: Picture, other: Picture) -> bool:
    return np.array_equal(one.pixels, other.pixels)


# -- the same request, the same bytes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_same_request_gives_the_same_bytes_whatever_is_watched(
    tiny_engine: Engine, lake: TextToImage, solver: str
) -> None:
    lake = dataclasses.replace(lake, solver=solver)
    plain = tiny_engine.run(lake)
    watched = tiny_engine.run(lake, on_progress=lambda _: None, cancelled=lambda: False)
    assert plain.to_png() == watched.to_png()
    assert plain.pixels.shape == (64, 64, 3)
    assert plain.pixels.std() > 0


def test_a_picture_of_a_batch_is_the_picture_painted_alone(tiny_engine: Engine, lake: TextToImage) -> None:
    together = [tiny_engine.run(request) for request in batch(lake, 4)]
    alone = [tiny_engine.run(lake.with_seed(seed)) for seed in (10, 9, 8, 7)]
    for picture, twin in zip(together, reversed(alone), strict=True):
        assert picture.to_png() == twin.to_png()
    assert not any(_same(a, b) for a, b in itertools.combinations(together, 2)), "every seed is another picture"


def test_another_engine_paints_the_same_bytes(tiny_engine: Engine, lake: TextToImage, tiny_model: Path) -> None:
    assert Engine(str(tiny_model)).run(lake).to_png() == tiny_engine.run(lake).to_png()


def test_previews_change_no_byte(tiny_engine: Engine, lake: TextToImage, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tiny_engine.run(lake, previews=False)
    monkeypatch.setattr(engine_module, "PREVIEW_INTERVAL", 0.0)
    monkeypatch.setattr(engine_module, "PREVIEW_SHARE", 1e9)
    seen: list[Progress] = []
    watched = tiny_engine.run(lake, on_progress=seen.append, previews=True)
    assert sum(p.preview is not None for p in seen) == STEPS - 1, "every step but the last, which is the picture"
    assert plain.to_png() == watched.to_png()


def test_the_request_is_in_the_png_and_makes_the_same_png_again(tiny_engine: Engine, lake: TextToImage) -> None:
    png = tiny_engine.run(lake).to_png()
    found, stopped_at = request_in(png)
    assert found == lake
    assert stopped_at is None
    assert tiny_engine.run(found).to_png() == png


def test_the_picture_does_not_depend_on_the_global_generator(tiny_engine: Engine, lake: TextToImage) -> None:
    lake = dataclasses.replace(lake, solver="DPM++ 2M SDE")
    torch.manual_seed(1)
    one = tiny_engine.run(lake)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert _same(one, tiny_engine.run(lake))
    assert torch.equal(state, torch.get_rng_state()), "and it leaves that generator alone"


def test_flow_models_paint_the_same_bytes_with_noisy_solvers(flow_engine: Engine) -> None:
    request = TextToImage(
        "a lake", width=64, height=64, num_inference_steps=4, solver="DPM++ 2M SDE", model=flow_engine.default_model
    )
    torch.manual_seed(1)
    one = flow_engine.run(request)
    torch.manual_seed(2)
    assert _same(one, flow_engine.run(request))
    assert not _same(one, flow_engine.run(request.with_seed(1)))


@pytest.mark.parametrize("family", ["sd-v", "sd-zero-snr", "painter", "sdxl", "sd3", "flux", "pixart"])
def test_every_family_paints_watches_and_stops(family: str, tmp_path: Path) -> None:
    engine = Engine(str(save_tiny(family, tmp_path / family)))
    solver = "Euler"
    request = TextToImage(
        "a lake", width=96, height=64, num_inference_steps=4, solver=solver, model=engine.default_model
    )
    plain = engine.run(request)
    seen: list[Progress] = []
    assert _same(plain, engine.run(request, on_progress=seen.append))
    assert [p.number for p in seen] == [1, 2, 3, 4]
    assert all(sum(p.moved) == pytest.approx(100, abs=1e-9) for p in seen)
    stopped = engine.run(request, cancelled=lambda: True)
    assert stopped.stopped_at == 1
    assert stopped.pixels.shape == plain.pixels.shape == (64, 96, 3)


# -- progress ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["DPM++ 2M", "Heun"])
def test_progress_counts_as_the_request_does_and_shares_add_up(
    tiny_engine: Engine, lake: TextToImage, solver: str
) -> None:
    seen: list[Progress] = []
    picture = tiny_engine.run(dataclasses.replace(lake, solver=solver), on_progress=seen.append)
    assert [p.number for p in seen] == list(range(1, STEPS + 1))
    assert {p.count for p in seen} == {STEPS}
    for p in seen:
        assert len(p.moved) == BAND_LEVELS + 1
        assert sum(round(share * 10) for share in p.moved) == 1000
    assert picture.ribbon == tuple(p.moved for p in seen)


def test_previews_keep_their_distance(tiny_engine: Engine, lake: TextToImage, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(step=0.03)  # seconds; every look at the clock is 30 ms after the one before
    monkeypatch.setattr(engine_module.time, "perf_counter", lambda: next(clock))
    times: list[float] = []

    def note(progress: Progress) -> None:
        if progress.preview is not None:
            times.append(engine_module.time.perf_counter())

    tiny_engine.run(dataclasses.replace(lake, num_inference_steps=60), on_progress=note)
    assert len(times) >= 2
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= PREVIEW_INTERVAL


def test_a_slow_decoder_gives_fewer_previews_rather_than_a_slow_run(
    tiny_engine: Engine, lake: TextToImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(engine_module.time, "perf_counter", lambda: now[0])
    decoded = engine_module._decoded
    seen: list[float] = []

    def slow(*args: Any) -> Any:
        now[0] += 1.0  # a decoding takes a second
        seen.append(now[0])
        return decoded(*args)

    def step(_: Progress) -> None:
        now[0] += 0.1

    monkeypatch.setattr(engine_module, "_decoded", slow)
    tiny_engine.run(dataclasses.replace(lake, num_inference_steps=200), on_progress=step)
    assert (
        len(seen) / now[0] <= engine_module.PREVIEW_SHARE + 0.05
    )  # the first comes before it is known how long they take


def test_a_preview_is_the_clean_estimate_and_comes_closer_to_the_picture(
    tiny_engine: Engine, lake: TextToImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "PREVIEW_INTERVAL", 0.0)
    monkeypatch.setattr(engine_module, "PREVIEW_SHARE", 1e9)
    shown: list[np.ndarray] = []
    picture = tiny_engine.run(
        dataclasses.replace(lake, num_inference_steps=12),
        on_progress=lambda p: shown.append(p.preview) if p.preview is not None else None,
    )
    away = [float(np.abs(s.astype(int) - picture.pixels).mean()) for s in shown]
    assert away[-1] < away[0]
    assert away[-1] < 2.0  # of 255: one step before the end


def test_the_pace_of_one_run_tells_how_long_the_next_takes(tiny_model: Path, lake: TextToImage) -> None:
    engine = Engine(str(tiny_model))
    assert engine.seconds_for(lake) is None
    picture = engine.run(lake)
    twice = dataclasses.replace(lake, num_inference_steps=2 * STEPS)
    assert engine.seconds_for(twice) == pytest.approx(2 * picture.seconds)
    assert engine.seconds_for(dataclasses.replace(lake, width=128)) is None


# -- stop -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["DPM++ 2M", "Euler a", "Heun", "LCM"])
def test_stop_ends_within_one_step_and_keeps_the_clean_estimate(
    tiny_engine: Engine, lake: TextToImage, solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "PREVIEW_INTERVAL", 0.0)
    monkeypatch.setattr(engine_module, "PREVIEW_SHARE", 1e9)
    lake = dataclasses.replace(lake, solver=solver)
    seen: list[Progress] = []
    tiny_engine.run(lake, on_progress=seen.append)
    calls = itertools.count(1)
    evaluations = 2 if solver == "Heun" else 1
    stopped = tiny_engine.run(lake, cancelled=lambda: next(calls) >= 3 * evaluations)
    assert stopped.stopped_at == 3
    assert next(calls) == 3 * evaluations + 1, "the model was not asked again"
    if solver != "Heun":  # a half step of Heun is not shown as a preview
        expected = seen[2].preview
        assert expected is not None
        np.testing.assert_array_equal(stopped.pixels, expected)
    note = request_in(stopped.to_png())
    assert note == (lake, 3)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_stop_at_the_last_step_comes_too_late_and_the_picture_is_whole(
    tiny_engine: Engine, lake: TextToImage, solver: str
) -> None:
    lake = dataclasses.replace(lake, solver=solver)
    steps_seen: list[int] = []
    late = tiny_engine.run(
        lake, on_progress=lambda p: steps_seen.append(p.number), cancelled=lambda: len(steps_seen) >= STEPS - 1
    )
    # `cancelled` is asked before progress is told: it is true at the last evaluation alone
    assert late.stopped_at is None
    assert late.to_png() == tiny_engine.run(lake).to_png()


def test_a_stopped_run_leaves_the_next_as_it_would_have_been(tiny_engine: Engine, lake: TextToImage) -> None:
    before = tiny_engine.run(lake).to_png()
    tiny_engine.run(lake, cancelled=lambda: True)
    assert tiny_engine.run(lake).to_png() == before


# -- failures ---------------------------------------------------------------------------------------------------------


class _Broken(torch.nn.Module):
    """Stands for the U-Net, and does something bad at its second call."""

    def __init__(self, unet: Any, what: Any) -> None:
        super().__init__()
        self.__dict__["whole"] = unet
        self.__dict__["what"] = what
        self.__dict__["calls"] = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["whole"], name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.__dict__["calls"] += 1
        result = self.__dict__["whole"](*args, **kwargs)
        return self.__dict__["what"](result) if self.__dict__["calls"] == 2 else result


def _raise(problem: Exception) -> Any:
    def what(_: Any) -> Any:
        raise problem

    return what


@pytest.fixture
def breakable(tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the engine's model misbehave for one run, and checks that the next request is painted as before."""
    assert tiny_engine._loaded is not None
    pipe = tiny_engine._loaded.pipe
    whole = pipe.unet

    def run(what: Any, request: TextToImage, **kwargs: Any) -> Picture:
        pipe.unet = _Broken(whole, what)
        try:
            return tiny_engine.run(request, **kwargs)
        finally:
            pipe.unet = whole

    return run


def test_numbers_that_are_none_are_said_in_words(
    breakable: Any, tiny_engine: Engine, lake: TextToImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tiny_engine.run(lake).to_png()

    def lose(result: Any) -> Any:
        return (result[0] * torch.nan,)

    with pytest.raises(StudioError, match="Try more steps or less guidance"):
        breakable(lose, lake)
    monkeypatch.setattr(engine_module, "PREVIEW_INTERVAL", 0.0)
    with pytest.raises(StudioError, match="no numbers"):
        breakable(lose, lake, on_progress=lambda _: None)
    with pytest.raises(StudioError, match="no numbers"):
        calls = itertools.count(1)
        breakable(lose, lake, cancelled=lambda: next(calls) == 3)
    assert tiny_engine.run(lake).to_png() == before


def test_a_model_that_raises_stays_loud_and_the_engine_usable(
    breakable: Any, tiny_engine: Engine, lake: TextToImage
) -> None:
    before = tiny_engine.run(lake).to_png()
    with pytest.raises(ZeroDivisionError):
        breakable(_raise(ZeroDivisionError("a bug")), lake)
    with pytest.raises(RuntimeError, match="memory format"):
        breakable(_raise(RuntimeError("channels_last memory format is not supported")), lake)
    assert tiny_engine.run(lake).to_png() == before


@pytest.mark.parametrize(
    "problem",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes."),
    ],
    ids=["python", "gpu", "cpu", "windows"],
)
def test_too_little_memory_is_said_in_words_and_survived(
    breakable: Any, tiny_engine: Engine, lake: TextToImage, problem: Exception
) -> None:
    before = tiny_engine.run(lake).to_png()
    with pytest.raises(OutOfMemory, match="64 × 64 did not fit"):
        breakable(_raise(problem), lake)
    assert tiny_engine.run(lake).to_png() == before


def test_a_listener_that_raises_does_not_break_the_engine(tiny_engine: Engine, lake: TextToImage) -> None:
    before = tiny_engine.run(lake).to_png()

    def fail(_: Progress) -> None:
        raise KeyError("a page that is gone")

    with pytest.raises(KeyError):
        tiny_engine.run(lake, on_progress=fail)
    assert tiny_engine.run(lake).to_png() == before


@pytest.mark.parametrize("solver", ["DDIM", "Euler a", "LCM"])
def test_a_solver_that_the_model_cannot_use_is_refused_with_those_that_work(flow_engine: Engine, solver: str) -> None:
    request = TextToImage(
        "a lake", width=64, height=64, num_inference_steps=3, solver="Euler", model=flow_engine.default_model
    )
    before = flow_engine.run(request)
    with pytest.raises(InvalidRequest, match="Euler") as refused:
        flow_engine.run(dataclasses.replace(request, solver=solver))
    assert refused.value.field == "solver"
    assert _same(before, flow_engine.run(request))


def test_words_to_leave_out_are_refused_where_a_model_would_ignore_them(flow_engine: Engine) -> None:
    request = TextToImage(
        "a lake", width=64, height=64, num_inference_steps=2, solver="Euler", model=flow_engine.default_model
    )
    before = flow_engine.run(request)
    with pytest.raises(InvalidRequest, match="cannot leave words out") as refused:
        flow_engine.run(dataclasses.replace(request, negative_prompt="boats"))
    assert refused.value.field == "negative_prompt"
    assert _same(before, flow_engine.run(request))


def test_words_to_leave_out_change_the_picture(tiny_engine: Engine, lake: TextToImage) -> None:
    without = tiny_engine.run(dataclasses.replace(lake, negative_prompt="boat"))
    assert not _same(without, tiny_engine.run(lake))


def test_a_model_that_cannot_be_loaded_leaves_the_old_one_in_place(
    tiny_engine: Engine, lake: TextToImage, tmp_path: Path
) -> None:
    before = tiny_engine.run(lake).to_png()
    (tmp_path / "empty").mkdir()
    pickle = tmp_path / "weights.safetensors"
    pickle.write_bytes(b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94.")
    (tmp_path / "old.ckpt").write_bytes(b"PK\x03\x04")
    for name, kind in (
        ("no-such-model", ModelNotFound),
        (str(tmp_path / "empty"), ModelNotFound),
        (str(tmp_path / "gone.safetensors"), ModelNotFound),
        (str(pickle), UnsafeModel),
        (str(tmp_path / "old.ckpt"), UnsafeModel),
    ):
        with pytest.raises(kind):
            tiny_engine.run(dataclasses.replace(lake, model=name))
        assert tiny_engine.loaded_model == lake.model
    assert tiny_engine.run(lake).to_png() == before


def test_a_request_for_another_model_makes_the_engine_hold_that_one(
    tiny_model: Path, lake: TextToImage, tmp_path: Path
) -> None:
    other = str(save_tiny("sd", tmp_path / "other", seed=1))
    engine = Engine(str(tiny_model))
    first = engine.run(lake)
    second = engine.run(dataclasses.replace(lake, model=other))
    assert engine.loaded_model == other
    assert not _same(first, second)
    assert first.made_with["weights"] != second.made_with["weights"]
    assert _same(first, engine.run(lake))


def test_runs_from_several_threads_wait_for_each_other(tiny_engine: Engine, lake: TextToImage) -> None:
    requests = batch(lake, 4)
    alone = [tiny_engine.run(request).to_png() for request in requests]
    found: dict[int, bytes] = {}
    threads = [
        threading.Thread(target=lambda r=r: found.update({r.seed: tiny_engine.run(r).to_png()}))  # type: ignore[misc]
        for r in requests
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[request.seed] for request in requests] == alone


# -- recorded runs ----------------------------------------------------------------------------------------------------


def test_recording_changes_no_byte_and_goes_on_from_any_step(tiny_engine: Engine, lake: TextToImage) -> None:
    plain, recorded = tiny_engine.run(lake), tiny_engine.run(lake, record=True)
    assert plain.to_png() == recorded.to_png()
    assert plain.recording is None
    assert recorded.recording is not None
    assert len(recorded.recording.steps) == STEPS
    seen: list[Progress] = []
    point = recorded.recording.at(4)
    again = tiny_engine.run(lake, on_progress=seen.append, record=True, resume=point)
    assert _same(again, plain)
    assert [p.number for p in seen] == [5, 6], "counted as in the whole run"
    assert again.recording is not None
    assert [step.index for step in again.recording.steps] == [4, 5]


def test_a_resumed_run_teaches_no_wrong_pace(tiny_engine: Engine, lake: TextToImage) -> None:
    recorded = tiny_engine.run(lake, record=True)
    assert recorded.recording is not None
    before = tiny_engine.seconds_for(lake)
    picture = tiny_engine.run(lake, resume=recorded.recording.at(STEPS - 1))
    after = tiny_engine.seconds_for(lake)
    assert before is not None and after is not None
    assert after == pytest.approx(0.5 * before + 0.5 * picture.seconds * STEPS), "one step was made, not all"


def test_a_run_too_large_to_record_is_painted_all_the_same(
    tiny_engine: Engine, lake: TextToImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "RECORD_LIMIT", 10)
    picture = tiny_engine.run(lake, record=True)
    assert picture.recording is None
    assert _same(picture, tiny_engine.run(lake))


def test_a_correction_acts_only_when_the_request_has_one(tiny_engine: Engine, lake: TextToImage) -> None:
    plain = tiny_engine.run(lake)
    off = tiny_engine.run(dataclasses.replace(lake, correction=Strengths()))
    on = tiny_engine.run(dataclasses.replace(lake, correction=Strengths.double(0.05, 0.05)))
    assert _same(plain, off)
    assert not _same(plain, on)
    nowhere = np.zeros((64, 64), dtype=np.float32)
    assert _same(plain, tiny_engine.run(on.request, mask=nowhere))
    assert _same(on, tiny_engine.run(on.request, mask=nowhere + 1))


def test_encoding_undoes_decoding_about_as_well_as_the_autoencoder_can(painter_engine: Engine) -> None:
    request = painter_engine.card().request("a lake", 3)
    picture = painter_engine.run(dataclasses.replace(request, num_inference_steps=8), record=True)
    assert picture.recording is not None
    step = picture.recording.steps[-1]
    found = painter_engine.encode(request, picture.pixels, step.layout, step.x)
    assert found is not None
    assert found.shape == step.x.shape
    decoded = painter_engine.decode(request, found)
    assert decoded is not None
    shown = (decoded.transpose(1, 2, 0) + 1) * 127.5
    assert np.abs(shown - picture.pixels).mean() < 12, "levels of 255"
    unrelated = painter_engine.decode(request, step.x.new_zeros(step.x.shape))
    assert unrelated is not None
    assert np.abs((unrelated.transpose(1, 2, 0) + 1) * 127.5 - picture.pixels).mean() > 24


@pytest.fixture(scope="module")
def painter_engine() -> Engine:
    return Engine("painter")


def test_what_another_model_made_cannot_be_decoded(tiny_engine: Engine, lake: TextToImage) -> None:
    other = dataclasses.replace(lake, model="painter")
    with pytest.raises(CannotShow, match="--model painter"):
        tiny_engine.decode(other, torch.zeros(1, 16, 8, 8))
    with pytest.raises(CannotShow):
        tiny_engine.look("painter")


def test_a_card_is_read_once(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    find = engine_module.catalogue.find

    def counted(name: str) -> Any:
        asked.append(name)
        return find(name)

    monkeypatch.setattr(engine_module.catalogue, "find", counted)
    engine = Engine(str(tiny_model))
    engine.load()
    assert engine.card() is engine.card()
    assert len(asked) == 1
