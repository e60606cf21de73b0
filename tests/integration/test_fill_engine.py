"""Fills through the engine: real classes of many families, recorded runs, branches, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_room import Room
from tiny_models import save_tiny, tiny

from studio.engine import Engine, Progress
from studio.errors import InvalidRequest, OutOfMemory, StudioError
from studio.filling import Filling
from studio.imaging.geometry import Extent
from studio.imaging.pixels import to_float
from studio.models import inpaint
from studio.models.encode import clean_latents
from studio.picture import Picture
from studio.project.runs import RunStore
from studio.requests import Fill, TextToImage
from studio.viewer import fills
from studio.viewer.branching import Wish, branch_of, paint
from studio.viewer.keeping import keep
from studio.viewer.source import Source

SIDE = 64
STEPS = 6


def picture_of(side: int = SIDE, seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (side // 16, side // 16, 4), dtype=np.uint8)
    small[..., 3] = 255
    return small.repeat(16, axis=0).repeat(16, axis=1)


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[16:48, 8:40] = 255
    return mask


def filling_for(engine: Engine, mask: np.ndarray, /, source: np.ndarray | None = None, **changes: Any) -> Filling:
    card = engine.card()
    solver = changes.pop("solver", "Euler")
    words = TextToImage(
        "a red boat", width=SIDE, height=SIDE, num_inference_steps=STEPS, guidance_scale=2.0, seed=5, model=card.name
    )
    painting = Fill(words, **changes)
    painting = Fill.from_dict(painting.to_dict() | {"painting": words.to_dict() | {"solver": solver}})
    return Filling.of(painting, picture_of() if source is None else source, mask, card, Extent(SIDE, SIDE))


def run(engine: Engine, filling: Filling, **options: Any) -> Picture:
    return engine.run(filling.painting, approach=filling.approach, **options)


# -- any model --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "family", ["sd", "sd-v", "sd-zero-snr", "painter", "sdxl", "sd3", "flux", "flux-schnell", "pixart"]
)
def test_any_text_to_image_model_fills(family: str, tmp_path: Path, mask: np.ndarray) -> None:
    engine = Engine(str(save_tiny(family, tmp_path / family)), device="cpu")
    filling = filling_for(engine, mask)
    picture = run(engine, filling, record=True)
    assert picture.recording is not None
    last = picture.recording.steps[-1]
    loaded = engine._loaded
    assert loaded is not None
    found = clean_latents(loaded.pipe, to_float(filling.seen), filling.working)
    assert found is not None
    known, layout = found
    plane, wanted = layout.to_space(last.x_next)[0], layout.to_space(known)[0]
    cells = SIDE // plane.shape[-1]
    held = torch.from_numpy(mask).float().reshape(plane.shape[-2], cells, plane.shape[-1], cells).amax((1, 3)) == 0
    assert held.any() and not held.all()
    # what is known is the encoded picture to the bit, what is not is the model's
    assert torch.equal(plane[:, held], wanted[:, held])
    assert not torch.equal(plane[:, ~held], wanted[:, ~held])
    assert filling.finished(picture).count.outside_changed == 0
    # and another seed paints something else
    other = run(engine, filling.with_seed(6))
    assert not np.array_equal(other.pixels, picture.pixels)


def test_the_model_may_paint_all_of_the_mask_from_the_beginning(tiny_engine: Engine, mask: np.ndarray) -> None:
    assert tiny_engine._loaded is not None
    (keep,) = filling_for(tiny_engine, mask).approach(tiny_engine._loaded.pipe).hooks
    np.testing.assert_array_equal(keep.mask, mask / 255)


def test_a_model_that_cannot_be_encoded_says_so(tiny_engine: Engine, mask: np.ndarray, monkeypatch: Any) -> None:
    monkeypatch.setattr("studio.models.encode._plane", lambda *_: None)
    with pytest.raises(InvalidRequest, match="encoder") as problem:
        run(tiny_engine, filling_for(tiny_engine, mask))
    assert problem.value.field == "method"


# -- where a fill begins, and what it holds ---------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["Euler", "DPM++ 2M", "Heun", "DPM++ 2M SDE"])
@pytest.mark.parametrize("start", [0, 4])
def test_a_fill_makes_the_steps_from_its_start_on(
    tiny_engine: Engine, mask: np.ndarray, solver: str, start: int
) -> None:
    told: list[Progress] = []
    filling = filling_for(tiny_engine, mask, solver=solver, start=start)
    picture = run(tiny_engine, filling, on_progress=told.append, record=True)
    assert [progress.number for progress in told] == list(range(start + 1, STEPS + 1))
    assert [progress.place for progress in told] == list(range(STEPS - start))
    assert len(picture.ribbon) == STEPS - start


def strayed(engine: Engine, filling: Filling) -> float:
    """How far the latents of a fill end from those of what it began with."""
    picture, loaded = run(engine, filling, record=True), engine._loaded
    assert loaded is not None and picture.recording is not None
    found = clean_latents(loaded.pipe, to_float(filling.seen), filling.working)
    assert found is not None
    return float((picture.recording.steps[-1].x_next - found[0]).abs().mean())


def test_a_late_start_keeps_more_of_what_is_there(tiny_engine: Engine) -> None:
    everywhere = np.full((SIDE, SIDE), 255, np.uint8)
    apart = [
        strayed(tiny_engine, filling_for(tiny_engine, everywhere, start=start, prefill="none")) for start in (1, 3, 5)
    ]
    assert apart[0] > apart[1] > apart[2]


def test_a_mask_over_everything_is_the_text_to_image_of_the_same_request(tiny_engine: Engine) -> None:
    filling = filling_for(tiny_engine, np.full((SIDE, SIDE), 255, np.uint8), match_colour=False, feather=0)
    plain = tiny_engine.run(filling.painting)
    done = filling.finished(run(tiny_engine, filling))
    np.testing.assert_array_equal(done.layer.pixels[..., :3], plain.pixels)


def test_paint_over_a_region_is_kept_by_a_late_start(tiny_engine: Engine, mask: np.ndarray) -> None:
    """The loop of hand and model: paint roughly, go on from a late step, and the paint is still there."""
    painted = picture_of()
    painted[16:48, 8:40, :3] = (250, 20, 20)
    late = filling_for(tiny_engine, mask, painted, intent="refine", start=5)
    early = filling_for(tiny_engine, mask, painted, intent="refine", start=1)
    np.testing.assert_array_equal(late.seen, painted[..., :3])  # the paint is what the run starts from
    assert strayed(tiny_engine, late) < strayed(tiny_engine, early)


def test_the_same_request_gives_the_same_bytes_alone_and_among_others(tiny_engine: Engine, mask: np.ndarray) -> None:
    for changes in ({}, {"harmonise": 1}, {"start": 2, "solver": "DPM++ 2M SDE"}, {"prefill": "noise"}):
        filling = filling_for(tiny_engine, mask, **changes)
        alone = filling.finished(run(tiny_engine, filling)).layer.pixels
        run(tiny_engine, filling.with_seed(77))
        again = filling_for(tiny_engine, mask, **changes)
        np.testing.assert_array_equal(again.finished(run(tiny_engine, again, record=True)).layer.pixels, alone)


def test_harmonising_makes_steps_again_and_tells_so(tiny_engine: Engine, mask: np.ndarray) -> None:
    told: list[Progress] = []
    filling = filling_for(tiny_engine, mask, harmonise=1)
    picture = run(tiny_engine, filling, on_progress=told.append, record=True)
    assert len(told) == 2 * STEPS - 1  # all but the first, before which nothing is known
    assert told[-1].number == STEPS and len(picture.ribbon) == STEPS
    assert picture.recording is not None and len(picture.recording.steps) == STEPS
    assert not np.array_equal(picture.pixels, run(tiny_engine, filling_for(tiny_engine, mask)).pixels)


# -- the model's own inpainting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["sd", "sdxl", "flux"])
@pytest.mark.parametrize("start", [0, 3])
def test_the_model_s_own_inpainting_fills_too(family: str, start: int, tmp_path: Path, mask: np.ndarray) -> None:
    engine = Engine(str(save_tiny(family, tmp_path / family)), device="cpu")
    told: list[Progress] = []
    filling = filling_for(engine, mask, method="own", start=start)
    picture = run(engine, filling, on_progress=told.append, record=True)
    assert len(told) == STEPS - start
    assert picture.recording is not None
    assert "Inpaint" in picture.recording.facts.pipeline
    assert filling.finished(picture).count.outside_changed == 0
    again = run(engine, filling)
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    assert engine.run(filling.painting).pixels.shape == picture.pixels.shape  # and the model paints as before


def test_the_model_s_own_inpainting_sees_the_mask_as_it_is_drawn(tiny_engine: Engine, mask: np.ndarray) -> None:
    """Such pipelines cut the mask at a half: one that is eased at its rim would leave a ring of the pre-fill."""
    filling = filling_for(tiny_engine, mask, method="own", feather=0)
    assert tiny_engine._loaded is not None
    seen = np.asarray(filling.approach(tiny_engine._loaded.pipe).arguments["mask_image"])
    np.testing.assert_array_equal(seen, mask)


def test_the_model_s_own_inpainting_leaves_its_scheduler_and_its_devices_as_they_were(
    tiny_engine: Engine, mask: np.ndarray, monkeypatch: Any
) -> None:
    loaded = tiny_engine._loaded
    assert loaded is not None
    freed: list[bool] = []
    monkeypatch.setattr(loaded.pipe, "maybe_free_model_hooks", lambda: freed.append(True), raising=False)
    before = dict(loaded.scheduler.config)
    own = inpaint.own_pipeline(loaded.pipe)
    assert own.scheduler is not loaded.pipe.scheduler and own.vae is loaded.pipe.vae
    run(tiny_engine, filling_for(tiny_engine, mask, method="own"))
    assert freed == [True]  # the pipeline that was made of its parts knows nothing of their hooks
    assert dict(loaded.scheduler.config) == before and loaded.pipe.scheduler is loaded.scheduler
    monkeypatch.setattr(loaded.pipe.vae, "encode", _raising(StudioError("no")))
    with pytest.raises(StudioError):
        run(tiny_engine, filling_for(tiny_engine, mask, method="own"))
    assert freed == [True, True]


def test_an_older_model_s_settings_are_not_mended_by_its_own_inpainting(tmp_path: Path) -> None:
    pipe = tiny("sd")
    pipe.scheduler = type(pipe.scheduler).from_config(dict(pipe.scheduler.config) | {"steps_offset": 0})
    inpaint.own_pipeline(pipe)
    assert pipe.scheduler.config.steps_offset == 0


def test_a_model_that_only_fills_is_not_harmonised_and_says_so(tiny_engine: Engine, mask: np.ndarray) -> None:
    class Pipe:
        def __call__(self, prompt: str, image: Any, mask_image: Any) -> None: ...

    with pytest.raises(InvalidRequest, match="cannot be harmonised") as problem:
        filling_for(tiny_engine, mask, harmonise=1).approach(Pipe())
    assert problem.value.field == "harmonise"


def test_a_family_without_inpainting_of_its_own_says_so(tmp_path: Path, mask: np.ndarray) -> None:
    engine = Engine(str(save_tiny("pixart", tmp_path / "pixart")), device="cpu")
    with pytest.raises(InvalidRequest, match="PixArtSigmaPipeline") as problem:
        run(engine, filling_for(engine, mask, method="own"))
    assert problem.value.field == "method"
    assert run(engine, filling_for(engine, mask)).pixels.shape == (SIDE, SIDE, 3)


def test_a_model_that_is_made_to_fill_is_loaded_and_does(tmp_path: Path, mask: np.ndarray) -> None:
    """Nine channels: noisy latents, the mask, and the latents of what is known."""
    from diffusers import StableDiffusionInpaintPipeline, UNet2DConditionModel

    plain = tiny("sd")
    torch.manual_seed(0)
    parts = dict(plain.components) | {"unet": UNet2DConditionModel.from_config(plain.unet.config, in_channels=9)}
    StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False).save_pretrained(tmp_path / "inpaint")
    engine = Engine(str(tmp_path / "inpaint"), device="cpu")
    filling = filling_for(engine, mask)
    picture = run(engine, filling, record=True)
    assert picture.recording is not None and picture.recording.steps[0].x.shape[1] == 4
    assert filling.finished(picture).count.outside_changed == 0
    with pytest.raises(InvalidRequest, match="only fills") as problem:
        engine.run(filling.painting)
    assert problem.value.field == "model"
    np.testing.assert_array_equal(run(engine, filling).pixels, picture.pixels)


def test_the_steps_that_are_left_out_are_those_asked_for_however_diffusers_counts() -> None:
    class Pipe:
        def __call__(self, image: Any, mask_image: Any, strength: float) -> None: ...

    grey, all_of_it = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.float32)
    for steps in range(1, 201):
        for start in range(0, steps, 1 + steps // 20):
            strength = inpaint.arguments(Pipe(), grey, all_of_it, start, steps)["strength"]
            assert 0 < strength <= 1
            assert int(steps * strength) == steps - start  # as Stable Diffusion counts
            assert int(max(steps - steps * strength, 0)) == start  # as Flux does


# -- recorded, branched -----------------------------------------------------------------------------------------------


class FillRoom(Room):
    """A room that also keeps fills, as jobs do."""

    def fill(self, filling: Filling) -> tuple[str, Picture]:
        picture = filling.finished(run(self.engine, filling, record=True)).picture
        run_id = self._id()
        assert keep(self.viewer, "me", run_id, picture, self._made, filling=filling) is not None
        return run_id, picture

    def go_on(self, run_id: str, uploads: dict[str, np.ndarray] | None = None, **wish: Any) -> tuple[Filling, Picture]:
        read = Wish.from_dict(wish, (uploads or {}).get)
        branch = branch_of(self.viewer, "me", run_id, read, (self.engine.default_model,))
        filling = fills.filling_of_branch(self.viewer, "me", branch)
        assert filling is not None
        return filling, paint(self.viewer, "me", branch)


@pytest.mark.parametrize(
    "changes", [{}, {"start": 2}, {"harmonise": 1}, {"solver": "DPM++ 2M SDE"}, {"method": "own"}]
)
def test_a_branch_that_changes_nothing_is_the_fill_to_the_bit(
    tiny_engine: Engine, mask: np.ndarray, tmp_path: Path, changes: dict[str, Any]
) -> None:
    room = FillRoom(tiny_engine, tmp_path)
    filling = filling_for(tiny_engine, mask, **changes)
    run_id, picture = room.fill(filling)
    restored, again = room.go_on(run_id, **{"from": 2})
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    # and it can be put back into its picture, as the fill was
    one, other = filling.finished(picture), restored.finished(again)
    np.testing.assert_array_equal(one.layer.pixels, other.layer.pixels)
    assert (one.layer.x, one.layer.y, one.count) == (other.layer.x, other.layer.y, other.count)
    assert other.picture.fill == one.picture.fill


@pytest.mark.parametrize("method", ["known", "own"])
@pytest.mark.parametrize("request_", [{"num_inference_steps": 3}, {"num_inference_steps": 12}, {"solver": "DPM++ 2M"}])
@pytest.mark.parametrize("at", [0, 2])
def test_a_branch_by_another_solver_or_number_of_steps_leaves_out_the_same_share(
    tiny_engine: Engine, mask: np.ndarray, tmp_path: Path, method: str, request_: dict[str, Any], at: int
) -> None:
    """Of 6 steps 3 were left out: of 12 it is 6, and of 3 a start at 3 would be none."""
    room = FillRoom(tiny_engine, tmp_path)
    run_id, _ = room.fill(filling_for(tiny_engine, mask, start=3, method=method))
    filling, picture = room.go_on(run_id, **{"from": at, "request": request_})
    steps = request_.get("num_inference_steps", STEPS)
    assert filling.fill.start == {3: 2, 6: 3, 12: 6}[steps]
    assert picture.recording is not None
    made = len(picture.recording.steps)
    assert made == steps - filling.fill.start if not at else 0 < made <= steps - filling.fill.start
    assert filling.finished(picture).count.outside_changed == 0


def test_a_fill_that_was_read_for_a_branch_is_not_read_again(
    tiny_engine: Engine, mask: np.ndarray, tmp_path: Path, monkeypatch: Any
) -> None:
    room = FillRoom(tiny_engine, tmp_path)
    run_id, picture = room.fill(filling_for(tiny_engine, mask))
    branch = branch_of(room.viewer, "me", run_id, Wish.from_dict({"from": 2}, {}.get), (tiny_engine.default_model,))
    filling = fills.filling_of_branch(room.viewer, "me", branch)
    with monkeypatch.context() as gone:
        gone.setattr(room.viewer.runs, "region", _raising(StudioError("read twice")))
        again = paint(room.viewer, "me", branch, filling=filling)
        with pytest.raises(StudioError, match="twice"):
            paint(room.viewer, "me", branch)
    np.testing.assert_array_equal(again.pixels, picture.pixels)


@pytest.mark.parametrize("request_", [{"num_inference_steps": 4}, {"num_inference_steps": 12}, {"solver": "DPM++ 2M"}])
def test_a_harmonised_fill_goes_on_elsewhere_once_and_says_so(
    tiny_engine: Engine, mask: np.ndarray, tmp_path: Path, request_: dict[str, Any]
) -> None:
    room = FillRoom(tiny_engine, tmp_path)
    run_id, _ = room.fill(filling_for(tiny_engine, mask, harmonise=2))
    filling, picture = room.go_on(run_id, **{"from": 4, "request": request_})
    assert filling.fill.harmonise == 0
    assert picture.recording is not None
    numbers = [step.number for step in picture.recording.steps]
    assert numbers == list(range(numbers[0], request_.get("num_inference_steps", STEPS) + 1))
    assert numbers[0] > 1
    # from the first step on it is a run of its own, with all that is made again
    whole, again = room.go_on(run_id, **{"from": 0, "request": request_})
    assert whole.fill.harmonise == 2
    np.testing.assert_array_equal(again.pixels, run(tiny_engine, whole).pixels)
    same, _ = room.go_on(run_id, **{"from": 4, "request": {"guidance_scale": 3.0}})
    assert same.fill.harmonise == 2


def test_a_branch_of_a_fill_keeps_what_is_known(tiny_engine: Engine, mask: np.ndarray, tmp_path: Path) -> None:
    room = FillRoom(tiny_engine, tmp_path)
    run_id, picture = room.fill(filling_for(tiny_engine, mask))
    painted = np.full((SIDE, SIDE, 3), (250, 20, 20), np.uint8)
    restored, edited = room.go_on(
        run_id,
        {"paint": painted, "where": mask[..., None].repeat(3, axis=2)},
        **{"from": 3, "edit": {"picture": "paint", "mask": "where"}, "request": {"guidance_scale": 3.0}},
    )
    assert not np.array_equal(edited.pixels, picture.pixels)
    assert picture.recording is not None and edited.recording is not None
    before, after = (p.recording.steps[-1].x_next[0] for p in (picture, edited) if p.recording is not None)
    cell = SIDE // before.shape[-1]
    held = torch.from_numpy(mask).float().reshape(before.shape[-1], cell, before.shape[-1], cell).amax((1, 3)) == 0
    assert torch.equal(before[:, held], after[:, held])
    assert not torch.equal(before[:, ~held], after[:, ~held])
    assert restored.finished(edited).count.outside_changed == 0


def test_any_run_goes_on_within_a_mask_alone(tiny_engine: Engine, mask: np.ndarray, tmp_path: Path) -> None:
    """Painted over at a step and gone on with: outside of the mask the picture is what it was."""
    room = Room(tiny_engine, tmp_path)
    words = TextToImage(
        "a red boat", width=SIDE, height=SIDE, num_inference_steps=STEPS, model=tiny_engine.default_model
    )
    run_id, _ = room.make(words)
    uploads = {"paint": np.full((SIDE, SIDE, 3), (250, 20, 20), np.uint8), "where": mask[..., None].repeat(3, axis=2)}
    edit = {"picture": "paint", "mask": "where"}
    inside, _ = room.branch(run_id, uploads, **{"from": 3, "edit": edit, "within": "where"})
    free, _ = room.branch(run_id, uploads, **{"from": 3, "edit": edit})
    frames = [room.viewer.frames("me", room.viewer.run("me", each))[-1] for each in (run_id, inside, free)]
    ends = [frames[0].clean[0], *(frame.step.x_next[0] for frame in frames[1:])]
    cell = SIDE // ends[0].shape[-1]
    held = torch.from_numpy(mask).float().reshape(ends[0].shape[-1], cell, ends[0].shape[-1], cell).amax((1, 3)) == 0
    assert torch.equal(ends[1][:, held], ends[0][:, held])
    assert not torch.equal(ends[1][:, ~held], ends[0][:, ~held])
    assert not torch.equal(ends[2][:, held], ends[0][:, held])  # which is what the mask is for


def test_a_kept_fill_survives_a_restart_and_a_damaged_one_is_told(
    tiny_engine: Engine, mask: np.ndarray, tmp_path: Path
) -> None:
    room = FillRoom(tiny_engine, tmp_path)
    filling = filling_for(tiny_engine, mask, grow=2, feather=3)
    run_id, _ = room.fill(filling)
    store = RunStore(tmp_path)
    store.prepare()
    source = Source(tiny_engine, store)
    found = store.get("me", run_id)
    assert found is not None and found.fill is not None
    again = fills.filling_of(source, "me", found)
    assert again is not None
    assert (again.fill, again.frame, again.note()) == (filling.fill, filling.frame, filling.note())
    for name in ("source", "mask", "free"):
        np.testing.assert_array_equal(getattr(again, name), getattr(filling, name))
    for file in tmp_path.rglob(f"{run_id}.mask.png"):
        file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(StudioError):
        fills.filling_of(source, "me", found)
    for file in tmp_path.rglob(f"{run_id}.source.png"):
        file.unlink()
    with pytest.raises(StudioError, match="Fill the place again"):
        fills.filling_of(source, "me", found)


# -- stopped, and gone wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("harmonise", [0, 1])
def test_a_stopped_fill_keeps_what_is_there(tiny_engine: Engine, mask: np.ndarray, harmonise: int) -> None:
    told: list[Progress] = []
    filling = filling_for(tiny_engine, mask, harmonise=harmonise)
    picture = run(tiny_engine, filling, on_progress=told.append, cancelled=lambda: len(told) >= 2, record=True)
    assert picture.stopped_at == 3
    assert picture.recording is not None and len(picture.recording.steps) == 3
    assert filling.finished(picture).count.outside_changed == 0


def _raising(problem: Exception) -> Callable[..., Any]:
    def encode(*_: Any, **__: Any) -> Any:
        raise problem

    return encode


def test_a_preview_of_no_numbers_costs_no_picture(tiny_engine: Engine, mask: np.ndarray, monkeypatch: Any) -> None:
    filling = filling_for(tiny_engine, mask)
    before = run(tiny_engine, filling).pixels
    told: list[Progress] = []
    monkeypatch.setattr("studio.engine.PREVIEW_INTERVAL", 0.0)
    monkeypatch.setattr("studio.engine.PREVIEW_SHARE", 1e9)
    monkeypatch.setattr("studio.models.layouts.decode", lambda *_: torch.full((1, 3, SIDE, SIDE), float("nan")))
    np.testing.assert_array_equal(run(tiny_engine, filling, on_progress=told.append).pixels, before)
    assert [progress.preview for progress in told] == [None] * STEPS


def test_what_moves_between_precisions_waits_for_the_run(tiny_engine: Engine, monkeypatch: Any) -> None:
    loaded = tiny_engine._loaded
    assert loaded is not None
    assert tiny_engine._turn(loaded) is tiny_engine._decoding
    monkeypatch.setattr("studio.models.layouts.upcasts", lambda vae: vae is loaded.pipe.vae)
    assert tiny_engine._turn(loaded) is tiny_engine._lock


def test_after_a_failure_the_engine_fills_as_before(tiny_engine: Engine, mask: np.ndarray, monkeypatch: Any) -> None:
    filling = filling_for(tiny_engine, mask)
    before = run(tiny_engine, filling).pixels
    loaded = tiny_engine._loaded
    assert loaded is not None
    scheduler = loaded.pipe.scheduler
    for problem, words in (
        (MemoryError(), OutOfMemory),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), OutOfMemory),
        (StudioError("no"), StudioError),
    ):
        with monkeypatch.context() as broken:
            broken.setattr(loaded.pipe.vae, "encode", _raising(problem))
            with pytest.raises(words):
                run(tiny_engine, filling)
        assert loaded.pipe.scheduler is scheduler
    with monkeypatch.context() as broken:
        nothing = torch.full((1, 4, SIDE // 8, SIDE // 8), float("nan"))
        broken.setattr("studio.models.encode._plane", lambda *_: nothing)
        with pytest.raises(StudioError, match=r"NaN|no number"):
            run(tiny_engine, filling)
    np.testing.assert_array_equal(run(tiny_engine, filling).pixels, before)
