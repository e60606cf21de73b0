"""The real `app.py` in a process of its own, for tests that look at the process rather than at the page."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
START_LIMIT = 200.0  # seconds, on a machine that has other things to do


@dataclass
class Served:
    process: subprocess.Popen[str]
    client: httpx.Client
    log: Path
    seconds: float  # from the start of the process to the first page


@contextlib.contextmanager
def served(folder: Path, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Starts the studio on a free port with its data in `folder`, and ends it on leaving if it still runs."""
    port, log = free_port(), folder / "studio.log"
    with log.open("w") as output:
        began = time.monotonic()
        process = subprocess.Popen(
            [
                sys.executable,
                str(ROOT / "app.py"),
                "--port",
                str(port),
                "--no-browser",
                "--data",
                str(folder),
                *options,
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=dict(environment if environment is not None else os.environ),
            text=True,
        )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
        try:
            while True:
                assert process.poll() is None, log.read_text()
                with contextlib.suppress(httpx.TransportError):
                    if client.get("/").status_code == 200:
                        break
                assert time.monotonic() - began < START_LIMIT, log.read_text()
                time.sleep(0.1)
            yield Served(process, client, log, time.monotonic() - began)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
