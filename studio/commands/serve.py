"""`serve`: the studio as a page in the browser."""

from __future__ import annotations

import argparse
import contextlib
import os
import ssl
import sys
from pathlib import Path
from typing import Any

from studio.errors import InvalidRequest, StudioError
from studio.project.folder_lock import FolderLock
from studio.settings import Settings, default_data_folder

FILES = 8192  # open at once: some for each connection, and many for models


def add_to(commands: Any) -> None:
    parser = commands.add_parser("serve", help="serve the page (what happens without a command)")
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; beyond this computer needs --login")
    parser.add_argument("--port", type=int, default=7860, help="port to listen at (default 7860)")
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="where pictures are kept")
    parser.add_argument(
        "--model", default="painter", help="a catalogue name, a diffusers folder, a .safetensors file or a hub id"
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open the page in a browser")
    parser.add_argument("--login", type=Path, default=None, metavar="FILE", help="names and password hashes")
    parser.add_argument("--certificate", type=Path, default=None, metavar="PEM", help="serve over HTTPS, with this")
    parser.add_argument("--key", type=Path, default=None, metavar="PEM", help="the key of --certificate")
    parser.add_argument(
        "--proxy", action="store_true", help="behind a proxy on this computer that sets X-Forwarded-For and -Proto"
    )
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="a further name this studio is reached by"
    )
    parser.add_argument(
        "--rewriter", type=Path, default=None, metavar="FOLDER", help="a local language model that enriches prompts"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if not 1 <= options.port <= 65535:
        raise InvalidRequest(f"Ports run from 1 to 65535, not {options.port}.", "port")
    settings = Settings(
        data=options.data if options.data is not None else default_data_folder(),
        host=options.host,
        port=options.port,
        model=options.model,
        login=options.login,
        certificate=options.certificate,
        key=options.key,
        proxy=options.proxy,
        allowed_hosts=tuple(options.allow_host),
        open_browser=not options.no_browser,
        rewriter=options.rewriter,
    )
    _check(settings)
    _allow_files()
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported: nothing leaves this computer
    with FolderLock(settings.data).held(settings.address):  # before anything that takes long is imported
        from studio.web.server import serve

        serve(settings)
    return 0


def _allow_files() -> None:
    """Lets the process have as many files and connections open as this system grants it, which is more than usual."""
    try:
        import resource
    except ImportError:  # Windows counts them otherwise
        return
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
    if usual != resource.RLIM_INFINITY and usual < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS grants less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _check(settings: Settings) -> None:
    """Raises StudioError for settings that the server would refuse, before a folder is made for them."""
    from studio.models import catalogue
    from studio.web.accounts import Accounts, check_exposure

    accounts = Accounts.read(settings.login) if settings.login is not None else None
    check_exposure(settings.host, accounts, settings.allowed_hosts)
    catalogue.find(settings.model)
    _check_certificate(settings)
    if settings.certificate is None and not settings.is_local:
        print(
            "wavebrush: passwords and pictures cross the network readable to everybody on it. Serve over HTTPS with "
            "--certificate and --key, or behind a proxy that does.",
            file=sys.stderr,
        )


def _check_certificate(settings: Settings) -> None:
    if settings.certificate is None:
        if settings.key is not None:
            raise StudioError(f"The key {settings.key} is of no use without its certificate. Add --certificate.")
        return
    for file in filter(None, (settings.certificate, settings.key)):
        try:
            file.open("rb").close()
        except OSError as problem:
            raise StudioError(f"{file} cannot be read: {problem.strerror or problem}.") from problem

    def no_password() -> bytes:
        raise StudioError(f"The key of {settings.certificate} has a password. Give one without: openssl pkey -in …")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.certificate, settings.key, no_password)
    except OSError as problem:  # SSLError is one
        reason = getattr(problem, "reason", None) or problem.strerror or problem
        raise StudioError(
            f"{settings.certificate} and {settings.key or 'the key in it'} are no certificate with its key in PEM: "
            f"{reason}."
        ) from problem
