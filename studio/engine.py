"""From a request to pixels. The engine owns the device, the loaded model and its lock; it knows no queue and no page.

engine = Engine()
picture = engine.run(TextToImage("an oil painting of a mountain lake at sunset", seed=7))
Path("lake.png").write_bytes(picture.to_png())
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from studio import pipeline_call
from studio.errors import OutOfMemory, StudioError
from studio.models import catalogue
from studio.passage import Approach, Going, Passage
from studio.picture import Picture, Pixels, made_with
from studio.requests import TextToImage

if TYPE_CHECKING:
    from torch import Tensor

    from studio.diffusion.layout import Layout
    from studio.diffusion.resume import ResumePoint
    from studio.diffusion.steps import Step
    from studio.models.counting import Count, WordCounter
    from studio.models.preview import LinearPreview

PREVIEW_INTERVAL = 0.2  # seconds between previews, at the least
PREVIEW_SHARE = 0.08  # of the time of a run may go into decoding previews
BAND_LEVELS = 4  # wavelet levels of the progress ribbon: five bands
RECORD_LIMIT = 2 * 1024**3  # bytes that the recording of one run may take; larger runs are painted, but not recorded
CARD_SHARE = 16  # on a graphics card, where the recording lies until the run is over, also this part of its memory


class CannotShow(StudioError):
    """Latents that cannot be turned into pixels now, because their model is not the one in memory."""


@dataclass(frozen=True, eq=False)
class Progress:
    """What the engine tells after a step."""

    number: int  # steps finished, counted as in the request
    count: int  # steps that the request asks for
    moved: tuple[float, ...]  # what this step moved: share of each wavelet band in percent, coarse to fine
    preview: Pixels | None  # the clean estimate (H, W, 3), if it was time for one
    place: int = 0  # among the steps that this run makes, counted from 0; it goes back where steps are made again


@dataclass(eq=False)
class _Loaded:
    """A model in memory. `scheduler` is the one it came with, from whose configuration every solver is made."""

    name: str
    pipe: Any
    scheduler: Any
    digest: str
    preview: LinearPreview | None = None
    counter: WordCounter | None = None  # of its own, since the pipeline's tokenizer is at work during a run


class Engine:
    """Runs requests, one at a time, on the one model that it holds in memory.

    `default_model` is what the studio starts with; a request that names another model makes the engine load that one
    instead. Safe to call from several threads: runs wait for each other.
    """

    def __init__(self, default_model: str = "painter", device: str | None = None) -> None:
        self.default_model = default_model
        self._device = device
        self._loaded: _Loaded | None = None
        self._lock = threading.RLock()
        self._decoding = threading.Lock()
        self._cards: dict[str, catalogue.ModelCard] = {}
        self._seconds_per_step: dict[tuple[str, str, int], float] = {}
        self._decode_pace: dict[str, float] = {}  # seconds per pixel

    def card(self, name: str | None = None) -> catalogue.ModelCard:
        """What is known of a model without loading it, read from its files once. Raises ModelNotFound."""
        name = name or self.default_model
        if name not in self._cards:
            self._cards[name] = catalogue.find(name)
        return self._cards[name]

    @property
    def loaded_model(self) -> str | None:
        """The name of the model in memory."""
        return self._loaded.name if self._loaded else None

    def load(self, name: str | None = None) -> None:
        """Brings a model into memory now rather than at the first picture. Raises StudioError if that fails."""
        with self._lock:
            self._ensure(name or self.default_model)

    def seconds_for(self, request: TextToImage) -> float | None:
        """How long this request will take, from what earlier ones took; None before the first."""
        per_step = self._seconds_per_step.get(_pace_key(request))
        return per_step * request.num_inference_steps if per_step is not None else None

    def run(
        self,
        request: TextToImage,
        on_progress: Callable[[Progress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        previews: bool = True,
        record: bool = False,
        resume: ResumePoint | None = None,
        mask: NDArray[np.float32] | None = None,
        approach: Approach | None = None,
    ) -> Picture:
        """Paints one picture.

        `on_progress` is called after every step, `cancelled` is asked then: a cancelled run returns the clean estimate
        of the step it stood at. With `previews`, progress carries a decoded clean estimate every now and then. With
        `record`, the picture brings the recording of its steps, to look at and to go on from; `resume` is a point of
        such a recording to go on from. `mask` (H, W) in [0, 1] limits the request's correction to a region. `approach`
        says how the run goes where the request does not: what holds a part of the picture, or where it begins.
        Raises StudioError with words for the person; the engine is ready for the next request afterwards.
        """
        with self._lock:
            try:
                loaded = self._ensure(request.model)
                return self._run(loaded, request, on_progress, cancelled, previews, record, resume, mask, approach)
            except (MemoryError, RuntimeError) as problem:
                if _is_out_of_memory(problem):
                    self._free()
                    raise OutOfMemory(
                        f"{request.width} × {request.height} did not fit into memory. Try a smaller size."
                    ) from problem
                raise

    # -- words, also while a picture is being painted ----------------------------------------------------------------

    def count_words(self, text: str) -> Count | None:
        """How many tokens a text takes for the model in memory; None before there is one, or where it does not say."""
        loaded = self._loaded
        return loaded.counter.count(text) if loaded is not None and loaded.counter is not None else None

    def weighs(self, model: str) -> bool:
        """Whether brackets can weigh words for a model; one that is not on this computer is taken to do without."""
        loaded = self._loaded
        if loaded is not None and loaded.name == model:
            from studio.models.weighting import can_weigh

            return can_weigh(loaded.pipe)
        return catalogue.pipeline_of(self.card(model)) in catalogue.WEIGHING

    # -- latents and pixels, also while a picture is being painted ---------------------------------------------------

    def look(self, model: str) -> LinearPreview | None:
        """The linear preview of a model's latents, or None if there is none yet. Raises CannotShow."""
        return self._showing(model).preview

    def decode(self, request: TextToImage, latents: Tensor) -> NDArray[np.float32] | None:
        """Clean latents, as the scheduler saw them, as pixels (3, H, W) in [-1, 1], or None where that is impossible.

        Raises CannotShow if the request's model is not the one in memory.
        """
        from studio.models.layouts import decode

        loaded = self._showing(request.model)
        with self._turn(loaded):
            began = time.perf_counter()
            found = decode(loaded.pipe, latents[:1], request.width, request.height)
            pace = (time.perf_counter() - began) / (request.width * request.height)
        if found is None:
            return None
        self._decode_pace[loaded.name] = min(pace, self._decode_pace.get(loaded.name, pace))
        pixels: NDArray[np.float32] = found[0].clamp(-1, 1).numpy()
        return pixels

    def decode_seconds(self, request: TextToImage) -> float | None:
        """About how long `decode` takes for this request's size; None before the first time."""
        pace = self._decode_pace.get(request.model)
        return pace * request.width * request.height if pace is not None else None

    def encode(self, request: TextToImage, pixels: Pixels, layout: Layout, like: Tensor) -> Tensor | None:
        """Pixels (H, W, 3) as clean latents laid out as `like`; None where that is impossible. Raises CannotShow."""
        from studio.imaging.pixels import to_float
        from studio.models.encode import encode

        loaded = self._showing(request.model)
        with self._turn(loaded):
            return encode(loaded.pipe, to_float(pixels), layout, like)

    def _showing(self, model: str) -> _Loaded:
        """The model in memory, loaded first if there is none, if it is this one. Raises CannotShow."""
        loaded = self._loaded
        if loaded is None and model == self.default_model:
            with self._lock:
                loaded = self._ensure(model)
        if loaded is None or loaded.name != model:
            raise CannotShow(
                f"These steps were painted by '{model}', and the studio runs with '{self.default_model}'. "
                f"Start it with --model {model} to open them."
            )
        return loaded

    def _turn(self, loaded: _Loaded) -> contextlib.AbstractContextManager[Any]:
        """What to hold while the autoencoder works. One that is moved between devices or precisions, by the run too,
        has to wait for it; of any other, the run and this may ask at once.
        """
        from studio.models.layouts import upcasts

        vae = getattr(loaded.pipe, "vae", None)
        moves = vae is not None and (hasattr(vae, "_hf_hook") or upcasts(vae))
        return self._lock if moves else self._decoding

    # -- inside the lock ------------------------------------------------------------------------------------------

    def _ensure(self, name: str) -> _Loaded:
        if self._loaded is not None and self._loaded.name == name:
            return self._loaded
        from studio.models import loading, memory
        from studio.models.counting import WordCounter
        from studio.models.preview import read_preview

        memory.settle_threads()
        card = self.card(name)
        pipe = loading.load_pipeline(card, device=self._device)
        digest = loading.weights_digest(card)
        source = card.source
        look = read_preview(source) if isinstance(source, Path) and source.is_dir() else None
        # only now: a model that cannot be loaded leaves the old one in place
        self._loaded = _Loaded(name, pipe, pipe.scheduler, digest, look, WordCounter.of(pipe))
        return self._loaded

    def _free(self) -> None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _run(
        self,
        loaded: _Loaded,
        request: TextToImage,
        on_progress: Callable[[Progress], None] | None,
        cancelled: Callable[[], bool] | None,
        previews: bool,
        record: bool,
        resume: ResumePoint | None,
        mask: NDArray[np.float32] | None,
        approach: Approach | None,
    ) -> Picture:
        import torch

        from studio.diffusion.observe import Cancelled
        from studio.models import memory
        from studio.models.solvers import make_scheduler

        memory.check_fits(loaded.pipe, request.width, request.height)
        # on the CPU, whatever the device: the same seed gives the same noise everywhere
        generator = torch.Generator("cpu").manual_seed(request.seed)
        watcher = _Watcher(loaded, request, on_progress, previews)
        record = record and _recording_bytes(request) <= _record_limit(loaded.pipe)
        began = time.perf_counter()
        with torch.inference_mode():
            passage = approach(loaded.pipe) if approach is not None else Passage()
        pipe = passage.pipe if passage.pipe is not None else loaded.pipe
        pipe.scheduler = make_scheduler(request.solver, loaded.scheduler, generator)
        going = Going(
            pipe=pipe,
            hooks=(*pipeline_call.hooks(request, mask), *passage.hooks),
            on_step=lambda step, run: watcher(step, run, cancelled),
            record=record,
        )
        try:
            arguments = {
                "generator": generator,
                **pipeline_call.arguments(pipe, request, bool(passage.arguments)),
                **passage.arguments,
            }
            start = resume if resume is not None else passage.start
            with torch.inference_mode():
                if passage.rewinding is None:
                    output = going.once(arguments, start)
                else:
                    output = going.again_and_again(arguments, passage.rewinding(start, record))
            pixels = pipeline_call.finished(output.images, request)
            stopped_at = None
        except Cancelled:
            clean = _decoded(loaded, watcher.newest, request)
            if clean is None:
                raise StudioError("Stopped. This model keeps no clean estimate that could be shown.") from None
            pixels, stopped_at = clean, watcher.number
        finally:
            pipe.scheduler = loaded.scheduler
            if pipe is not loaded.pipe and hasattr(loaded.pipe, "maybe_free_model_hooks"):
                loaded.pipe.maybe_free_model_hooks()  # only it knows of the hooks that its parts have
        seconds = time.perf_counter() - began
        self._learn(loaded, request, watcher, pixels, seconds if stopped_at is None else None)
        ribbon = tuple(watcher.ribbon)
        made = made_with(loaded.digest, pipeline_call.surroundings(pipe))
        return Picture(pixels, request, seconds, stopped_at, ribbon, made, going.recording)

    def _learn(
        self, loaded: _Loaded, request: TextToImage, watcher: _Watcher, pixels: Pixels, seconds: float | None
    ) -> None:
        """Remembers the pace of a run that was finished in `seconds`, how long decoding took, and, the first time, how
        this model's latents look as pixels.
        """
        if seconds is not None:
            key, per_step = _pace_key(request), seconds / max(watcher.steps, 1)
            earlier = self._seconds_per_step.get(key, per_step)
            self._seconds_per_step[key] = 0.5 * earlier + 0.5 * per_step
        if watcher.decode_seconds > 0:
            pace = watcher.decode_seconds / (request.width * request.height)
            self._decode_pace[loaded.name] = min(pace, self._decode_pace.get(loaded.name, pace))
        if loaded.preview is None and watcher.newest is not None:
            loaded.preview = _fit_preview(loaded.pipe, watcher.newest, pixels, request)


class _Watcher:
    """Follows the steps of one run: what each moved, and a preview when it is time for one."""

    def __init__(
        self,
        loaded: _Loaded,
        request: TextToImage,
        on_progress: Callable[[Progress], None] | None,
        previews: bool,
    ) -> None:
        self.ribbon: list[tuple[float, ...]] = []
        self.newest: Any = None  # the clean estimate of the newest step, as the scheduler saw it
        self.number = 0
        self.steps = 0  # that were made: fewer than the request's where a run goes on from another
        self._first: int | None = None  # the number of the first of them
        self._loaded = loaded
        self._request = request
        self._on_progress = on_progress
        self._previews = previews and on_progress is not None
        self._earlier: Any = None
        self._last_preview = time.perf_counter()
        self.decode_seconds = 0.0
        # an autoencoder that waits on the CPU for its turn would throw the denoiser out of the card to be there itself
        self._offloaded = hasattr(getattr(loaded.pipe, "vae", None), "_hf_hook")

    def __call__(self, step: Step, run: Any, cancelled: Callable[[], bool] | None) -> None:
        self.newest = step.denoised if step.denoised is not None else step.x_next
        if step.index + 1 < step.total and cancelled is not None and cancelled():
            run.cancel()  # after the last evaluation it is too late: the picture is whole
        if (step.index + 1) % step.order and step.index + 1 < step.total:
            return  # the first half of a step of a second-order solver
        self.number = step.number
        self.steps += 1
        self._first = step.number if self._first is None else self._first
        if self._on_progress is None:
            return
        place = step.number - self._first
        del self.ribbon[place:]  # of steps that are made again
        self.ribbon.append(self._moved())
        preview = self._preview(last=step.number == step.count)
        self._on_progress(Progress(step.number, step.count, self.ribbon[-1], preview, place))

    def _moved(self) -> tuple[float, ...]:
        """Shares of the wavelet bands in what this step changed of the clean estimate, as a picture."""
        from studio.diffusion.wavelets import band_energies, shares
        from studio.models.layouts import spatial

        plane = spatial(self._loaded.pipe, self.newest, self._request.width, self._request.height)
        if plane is None:
            return (0.0,) * (BAND_LEVELS + 1)
        look = self._loaded.preview
        shown = (look(plane) if look is not None and look.fits(plane) else plane.float().cpu())[0].numpy()
        change = shown if self._earlier is None else shown - self._earlier
        self._earlier = shown
        return tuple(shares(band_energies(change, levels=BAND_LEVELS)))

    def _preview(self, last: bool) -> Pixels | None:
        since = time.perf_counter() - self._last_preview
        wait = max(PREVIEW_INTERVAL, self.decode_seconds / PREVIEW_SHARE)
        if not self._previews or last or since < wait:
            return None
        began = time.perf_counter()
        try:
            pixels = self._glance() if self._offloaded else _decoded(self._loaded, self.newest, self._request)
        except pipeline_call.NotFinite:  # the end may be fine, and says so itself if it is not
            pixels = None
        self._last_preview = time.perf_counter()
        if not self._offloaded:
            spent = self._last_preview - began
            # the fastest so far: one decode that had to wait for the machine must not put off all that follow
            self.decode_seconds = min(spent, self.decode_seconds or spent)
        return pixels

    def _glance(self) -> Pixels | None:
        """The newest clean estimate as pixels without the autoencoder, if the model's linear look is known."""
        from studio.imaging.pixels import to_uint8
        from studio.models.layouts import spatial

        look = self._loaded.preview
        plane = spatial(self._loaded.pipe, self.newest[:1], self._request.width, self._request.height)
        if look is None or plane is None or not look.fits(plane):
            return None
        seen = look(plane)
        pipeline_call.check_finite(seen.numpy(), self._request)
        pixels: Pixels = to_uint8(seen)[0]
        return pixels


def _is_out_of_memory(problem: Exception) -> bool:
    import torch

    if isinstance(problem, (MemoryError, torch.OutOfMemoryError)):
        return True
    # what the CPU's allocator says is an ordinary RuntimeError
    return "can't allocate memory" in str(problem) or "not enough memory" in str(problem)


def _pace_key(request: TextToImage) -> tuple[str, str, int]:
    return request.model, request.solver, request.width * request.height


def _decoded(loaded: _Loaded, latents: Any, request: TextToImage) -> Pixels | None:
    """Clean latents as pixels (H, W, 3), or None where the pipeline cannot be decoded from outside."""
    from studio.imaging.pixels import to_uint8
    from studio.models.layouts import decode

    decoded = decode(loaded.pipe, latents[:1], request.width, request.height)
    if decoded is None:
        return None
    pipeline_call.check_finite(decoded.numpy(), request)
    pixels: Pixels = to_uint8(decoded)[0]
    return pixels


def _record_limit(pipe: Any) -> int:
    """How many bytes a recording may take where this pipeline works."""
    import torch

    device = torch.device(getattr(pipe, "_execution_device", None) or pipe.device)
    if device.type != "cuda":
        return RECORD_LIMIT
    return min(RECORD_LIMIT, torch.cuda.get_device_properties(device).total_memory // CARD_SHARE)


def _recording_bytes(request: TextToImage) -> int:
    """At most this much is recorded: latents of 16 channels at an eighth of the size, with what solvers remember."""
    per_tensor = 4 * 16 * (request.width // 8) * (request.height // 8)
    return 6 * per_tensor * request.num_inference_steps


def _fit_preview(pipe: Any, latents: Any, pixels: Pixels, request: TextToImage) -> LinearPreview | None:
    """The linear look of this model's latents, from one finished picture."""
    from studio.imaging.pixels import to_float
    from studio.models.layouts import spatial
    from studio.models.preview import fit_linear_preview

    plane = spatial(pipe, latents, request.width, request.height)
    if plane is None or pixels.shape[0] % plane.shape[-2] or pixels.shape[1] % plane.shape[-1]:
        return None
    return fit_linear_preview(plane[:1], to_float(pixels))
