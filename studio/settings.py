"""What the studio is started with: where it keeps things, where it listens, what it loads first."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


def default_data_folder() -> Path:
    """`WAVEBRUSH_DATA` if it is set, else the usual place for a person's application data on this system."""
    return Path(os.environ.get("WAVEBRUSH_DATA") or platformdirs.user_data_dir("wavebrush", appauthor=False))


@dataclass(frozen=True)
class Settings:
    """One frozen value for a whole run of the studio."""

    data: Path = field(default_factory=default_data_folder)
    host: str = "127.0.0.1"
    port: int = 7860
    model: str = "painter"
    login: Path | None = None  # a file of names and password hashes; needed to listen beyond this computer
    certificate: Path | None = None  # PEM, with the chain above it; the page is then served over HTTPS
    key: Path | None = None  # PEM, without a password; None: it is in the certificate's file
    proxy: bool = False  # whether a proxy on this computer is believed whom it speaks for
    allowed_hosts: tuple[str, ...] = ()  # further names under which the studio may be reached
    open_browser: bool = True
    rewriter: Path | None = None  # a folder with a language model that makes short prompts richer
    queue_limit: int = 128  # pictures that may wait

    @property
    def is_local(self) -> bool:
        return self.host in LOCAL_HOSTS

    @property
    def address(self) -> str:
        """Where the page is, as a browser on this computer is told."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}/"
