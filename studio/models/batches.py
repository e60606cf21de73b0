"""Many pictures of one model at once: the pipeline is called with several prompts and a seed for each.

What the engine paints one after the other, with bytes that do not depend on what else is painted, is here painted
together: for measurements, where only the throughput counts.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from studio.models.solvers import make_scheduler

SEED_COUNT = 2**32


@dataclass(frozen=True, eq=False)
class Batches:
    """Paints the samples with the numbers it is called with. Sample i has prompt i, around and around, and seed + i.

    The pipeline's scheduler is replaced by one for `solver`, made from `own`, the one that the model came with. Where
    the pipeline allows it, every prompt is encoded once only.
    """

    pipe: Any
    own: Any  # the scheduler that the model came with
    prompts: Sequence[str]
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    solver: str
    seed: int = 0
    output_type: str = "latent"
    _encoded: dict[str, tuple[Tensor, Tensor | None]] = field(default_factory=dict)

    def use_solver(self) -> None:
        """Puts a fresh scheduler into the pipeline. Raises InvalidRequest if the solver does not suit the model."""
        generator = torch.Generator("cpu").manual_seed(self.seed)
        self.pipe.scheduler = make_scheduler(self.solver, self.own, generator)

    def __call__(self, samples: Sequence[int]) -> Any:
        """The pipeline's output for these samples."""
        accepted = inspect.signature(type(self.pipe).__call__).parameters
        arguments: dict[str, Any] = {
            **self._words([self.prompts[sample % len(self.prompts)] for sample in samples]),
            "num_inference_steps": self.num_inference_steps,
            "guidance_scale": self.guidance_scale,
            "width": self.width,
            "height": self.height,
            "output_type": self.output_type,
            "use_resolution_binning": False,
        }
        generators = [torch.Generator("cpu").manual_seed((self.seed + sample) % SEED_COUNT) for sample in samples]
        with torch.inference_mode():
            return self.pipe(
                generator=generators, **{name: value for name, value in arguments.items() if name in accepted}
            )

    def _words(self, prompts: list[str]) -> dict[str, Any]:
        if type(self.pipe).__name__ != "StableDiffusionPipeline":
            return {"prompt": prompts}
        guided = self.guidance_scale > 1
        for prompt in prompts:
            if prompt not in self._encoded:
                with torch.inference_mode():
                    self._encoded[prompt] = self.pipe.encode_prompt(
                        prompt, self.pipe._execution_device, 1, do_classifier_free_guidance=guided
                    )
        pairs = [self._encoded[prompt] for prompt in prompts]
        words: dict[str, Any] = {"prompt_embeds": torch.cat([asked for asked, _ in pairs])}
        if guided:
            words["negative_prompt_embeds"] = torch.cat([other for _, other in pairs if other is not None])
        return words
