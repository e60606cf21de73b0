"""Several processes that train one model on one machine: each takes its share of the batch, gradients are
averaged (gloo).

On a busy machine, two one-thread processes are faster than one process with two threads that wait for each
other.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

PATIENCE = timedelta(minutes=5)  # for the slowest member: rank 0 also measures and saves


@dataclass(frozen=True)
class Member:
    """One process's place in the crew."""

    rank: int = 0
    size: int = 1
    parent: int = 0  # process id that started this one, 0 for rank 0

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def orphaned(self) -> bool:
        """True when the leading process died without a word."""
        return bool(self.parent) and os.getppid() != self.parent

    def share_parameters(self, parameters: Sequence[Tensor]) -> None:
        """Give every member rank 0's values."""
        if self.size > 1:
            for parameter in parameters:
                dist.broadcast(parameter.detach(), 0)

    def average(self, parameters: Sequence[nn.Parameter], stop: bool, spent: float) -> tuple[bool, float]:
        """Average the gradients in place. Returns whether any member wants to stop, and rank 0's time, alike
        for all.
        """
        if self.size == 1:
            return stop, spent
        gradients = [p.grad for p in parameters if p.grad is not None]
        words = torch.tensor([float(stop), spent if self.leads else 0.0])
        flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), words])
        dist.all_reduce(flat)
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient)).div_(self.size)
            start += gradient.numel()
        return bool(flat[-2] > 0), float(flat[-1])


def _serve(work: Callable[[Member], None], member: Member, meeting: str, threads: int) -> None:
    import signal

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the leader decides when to stop, and all hear it with the gradients
    torch.set_num_threads(threads)
    with _meet(member, meeting):
        work(member)


@contextmanager
def _meet(member: Member, meeting: str) -> Iterator[None]:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=member.rank, world_size=member.size, timeout=PATIENCE
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def together(work: Callable[[Member], None], size: int, threads: int) -> None:
    """Run `work` in `size` processes, this one leading. `work` must be importable and its arguments
    picklable.
    """
    if size == 1:
        work(Member())
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = str(Path(folder) / "meeting")
        context = multiprocessing.get_context("spawn")
        others = [
            context.Process(target=_serve, args=(work, Member(rank, size, os.getpid()), meeting, threads), daemon=True)
            for rank in range(1, size)
        ]
        for process in others:
            process.start()
        try:
            with _meet(Member(0, size), meeting):
                work(Member(0, size))
            for process in others:
                process.join(30)
        finally:
            for process in others:
                process.kill()
