"""From a request to pixels. The engine owns the device, the loaded model and its lock; it knows no queue and no page.

engine = Engine()
picture = engine.run(TextToImage("an oil painting of a mountain lake at sunset", seed=7))
Path("lake.png").write_bytes(picture.to_png())
"""

from __future__ import annotations

import inspect
import json
import os
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from numpy.typing import NDArray

import studio
from studio.errors import InvalidRequest, OutOfMemory, StudioError
from studio.imaging.png import REQUEST_KEY, write_png
from studio.models import catalogue
from studio.requests import TextToImage

if TYPE_CHECKING:
    from studio.diffusion.steps import Step
    from studio.models.preview import LinearPreview

Pixels = NDArray[np.uint8]

PREVIEW_INTERVAL = 0.2  # seconds between previews, at the least
PREVIEW_SHARE = 0.08  # of the time of a run may go into decoding previews
BAND_LEVELS = 4  # wavelet levels of the progress ribbon: five bands


@dataclass(frozen=True, eq=False)
class Progress:
    """What the engine tells after a step."""

    number: int  # steps finished, counted as in the request
    count: int  # steps that the request asks for
    moved: tuple[float, ...]  # what this step moved: share of each wavelet band in percent, coarse to fine
    preview: Pixels | None  # the clean estimate (H, W, 3), if it was time for one


@dataclass(frozen=True, eq=False)
class Picture:
    """A finished picture (H, W, 3) with everything that led to it."""

    pixels: Pixels
    request: TextToImage
    seconds: float
    stopped_at: int | None = None  # the step after which a person stopped it; None if it ran to its end
    ribbon: tuple[tuple[float, ...], ...] = ()  # `Progress.moved` of every step
    made_with: dict[str, str] = field(default_factory=dict)  # versions and the digest of the weights

    def to_png(self) -> bytes:
        """Lossless PNG that carries the request, so that the same picture can be made again."""
        note: dict[str, Any] = {
            "format": 1,
            "request": self.request.to_dict(),
            "made_with": self.made_with,
        }
        if self.stopped_at is not None:
            note["stopped_at"] = self.stopped_at
        text = {
            REQUEST_KEY: json.dumps(note, sort_keys=True, ensure_ascii=False),
            "Software": f"wavebrush {studio.__version__}",
        }
        return write_png(self.pixels, text)


@dataclass(eq=False)
class _Loaded:
    """A model in memory. `scheduler` is the one it came with, from whose configuration every solver is made."""

    name: str
    pipe: Any
    scheduler: Any
    digest: str
    preview: LinearPreview | None = None


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
        self._seconds_per_step: dict[tuple[str, str, int], float] = {}

    def card(self, name: str | None = None) -> catalogue.ModelCard:
        """What is known of a model without loading it. Raises ModelNotFound."""
        return catalogue.find(name or self.default_model)

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
    ) -> Picture:
        """Paints one picture.

        `on_progress` is called after every step, `cancelled` is asked then: a cancelled run returns the clean estimate
        of the step it stood at. With `previews`, progress carries a decoded clean estimate every now and then.
        Raises StudioError with words for the person; the engine is ready for the next request afterwards.
        """
        with self._lock:
            try:
                return self._run(self._ensure(request.model), request, on_progress, cancelled, previews)
            except (MemoryError, RuntimeError) as problem:
                if _is_out_of_memory(problem):
                    self._free()
                    raise OutOfMemory(
                        f"{request.width} × {request.height} did not fit into memory. Try a smaller size."
                    ) from problem
                raise

    # -- inside the lock ------------------------------------------------------------------------------------------

    def _ensure(self, name: str) -> _Loaded:
        if self._loaded is not None and self._loaded.name == name:
            return self._loaded
        from studio.models import loading
        from studio.models.preview import read_preview

        _settle_threads()
        pipe = loading.load_pipeline(name, device=self._device)
        digest = loading.weights_digest(name)
        source = catalogue.find(name).source
        look = read_preview(source) if isinstance(source, Path) and source.is_dir() else None
        # only now: a model that cannot be loaded leaves the old one in place
        self._loaded = _Loaded(name, pipe, pipe.scheduler, digest, look)
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
    ) -> Picture:
        import torch

        from studio.diffusion.observe import Cancelled, observe
        from studio.models import memory
        from studio.models.solvers import make_scheduler

        memory.check_fits(loaded.pipe, request.width, request.height)
        pipe = loaded.pipe
        # on the CPU, whatever the device: the same seed gives the same noise everywhere
        generator = torch.Generator("cpu").manual_seed(request.seed)
        pipe.scheduler = make_scheduler(request.solver, loaded.scheduler, generator)
        watcher = _Watcher(loaded, request, on_progress, previews)
        began = time.perf_counter()
        try:
            with (
                torch.inference_mode(),
                observe(pipe, on_step=lambda step: watcher(step, run, cancelled), record=False) as run,
            ):
                output = pipe(generator=generator, **_arguments(pipe, request))
            pixels = _to_uint8(np.asarray(output.images[0]), request)
            stopped_at = None
        except Cancelled:
            clean = _decoded(loaded, watcher.newest, request)
            if clean is None:
                raise StudioError("Stopped. This model keeps no clean estimate that could be shown.") from None
            pixels, stopped_at = clean, watcher.number
        finally:
            pipe.scheduler = loaded.scheduler
        seconds = time.perf_counter() - began
        if stopped_at is None:
            self._learn(loaded, request, watcher, pixels, seconds)
        return Picture(pixels, request, seconds, stopped_at, tuple(watcher.ribbon), made_with(loaded.digest))

    def _learn(self, loaded: _Loaded, request: TextToImage, watcher: _Watcher, pixels: Pixels, seconds: float) -> None:
        """Remembers the pace of a finished run and, the first time, how its latents look as pixels."""
        key, per_step = _pace_key(request), seconds / request.num_inference_steps
        earlier = self._seconds_per_step.get(key, per_step)
        self._seconds_per_step[key] = 0.5 * earlier + 0.5 * per_step
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
        self._loaded = loaded
        self._request = request
        self._on_progress = on_progress
        self._previews = previews and on_progress is not None
        self._earlier: Any = None
        self._last_preview = time.perf_counter()
        self._decode_seconds = 0.0

    def __call__(self, step: Step, run: Any, cancelled: Callable[[], bool] | None) -> None:
        self.newest = step.denoised if step.denoised is not None else step.x_next
        if step.index + 1 < step.total and cancelled is not None and cancelled():
            run.cancel()  # after the last evaluation it is too late: the picture is whole
        if (step.index + 1) % step.order and step.index + 1 < step.total:
            return  # the first half of a step of a second-order solver
        self.number = step.number
        if self._on_progress is None:
            return
        self.ribbon.append(self._moved())
        preview = self._preview(last=step.number == step.count)
        self._on_progress(Progress(step.number, step.count, self.ribbon[-1], preview))

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
        wait = max(PREVIEW_INTERVAL, self._decode_seconds / PREVIEW_SHARE)
        if not self._previews or last or since < wait:
            return None
        began = time.perf_counter()
        pixels = _decoded(self._loaded, self.newest, self._request)
        self._last_preview = time.perf_counter()
        self._decode_seconds = self._last_preview - began
        return pixels


def made_with(digest: str) -> dict[str, str]:
    """What a picture's bytes depend on beside its request."""
    return {
        "wavebrush": studio.__version__,
        "torch": version("torch"),
        "diffusers": version("diffusers"),
        "transformers": version("transformers"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "weights": digest,
    }


def _settle_threads() -> None:
    """One thread per physical core, unless the environment says otherwise: more of them would wait for each other."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(psutil.cpu_count(logical=False) or 1, torch.get_num_threads()))


def _is_out_of_memory(problem: Exception) -> bool:
    import torch

    if isinstance(problem, (MemoryError, torch.OutOfMemoryError)):
        return True
    # what the CPU's allocator says is an ordinary RuntimeError
    return "can't allocate memory" in str(problem) or "not enough memory" in str(problem)


def _pace_key(request: TextToImage) -> tuple[str, str, int]:
    return request.model, request.solver, request.width * request.height


def _arguments(pipe: Any, request: TextToImage) -> dict[str, Any]:
    """The keyword arguments of the pipeline's call. Raises InvalidRequest for what this pipeline cannot do."""
    accepted = inspect.signature(type(pipe).__call__).parameters
    arguments: dict[str, Any] = {
        "prompt": request.prompt,
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        "width": request.width,
        "height": request.height,
        "output_type": "np",
        "use_resolution_binning": False,  # PixArt and Sana would paint another size and stretch it
    }
    if request.negative_prompt:
        # Flux takes such words, but looks at them only when a second kind of guidance is on
        second = accepted.get("true_cfg_scale")
        if "negative_prompt" not in accepted or (second is not None and second.default <= 1):
            raise InvalidRequest("This model cannot leave words out. Empty that field.", "negative_prompt")
        arguments["negative_prompt"] = request.negative_prompt
    return {name: value for name, value in arguments.items() if name in accepted}


def _decoded(loaded: _Loaded, latents: Any, request: TextToImage) -> Pixels | None:
    """Clean latents as pixels (H, W, 3), or None where the pipeline cannot be decoded from outside."""
    from studio.models.layouts import decode

    decoded = decode(loaded.pipe, latents[:1], request.width, request.height)
    if decoded is None:
        return None
    return _to_uint8((decoded[0].movedim(0, -1).numpy() / 2 + 0.5).clip(0, 1), request)


def _to_uint8(picture: NDArray[np.floating], request: TextToImage) -> Pixels:
    """Float (H, W, 3) in [0, 1] -> uint8. Raises StudioError if the model gave no numbers."""
    if not np.isfinite(picture).all():
        raise StudioError(
            f"The model lost its way: {request.solver} at {request.num_inference_steps} steps and guidance "
            f"{request.guidance_scale:g} gave values that are no numbers. Try more steps or less guidance."
        )
    return (picture * 255).round().astype(np.uint8)


def _fit_preview(pipe: Any, latents: Any, pixels: Pixels, request: TextToImage) -> LinearPreview | None:
    """The linear look of this model's latents, from one finished picture."""
    import torch

    from studio.models.layouts import spatial
    from studio.models.preview import fit_linear_preview

    plane = spatial(pipe, latents, request.width, request.height)
    if plane is None or pixels.shape[0] % plane.shape[-2] or pixels.shape[1] % plane.shape[-1]:
        return None
    target = torch.from_numpy(pixels.copy()).movedim(-1, 0)[None].float() / 127.5 - 1
    return fit_linear_preview(plane[:1], target)
