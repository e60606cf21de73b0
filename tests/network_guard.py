"""A network that is not there, for processes that a test starts.

`environment(folder)` gives the variables under which Python refuses every connection and every look-up of a name
beyond this computer, and writes each attempt into a file. It works through audit events, which the socket module
raises itself, so no library can hold an older, unpatched function.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]

_HOOK = """
import os, sys

ALLOWED = {"127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "", None}
LOOK_UPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}
SENDING = {"socket.connect", "socket.sendto", "socket.sendmsg"}

def refuse(event, arguments):
    if event in LOOK_UPS:
        host = arguments[0]
    elif event in SENDING:
        host = arguments[1]
    else:
        return
    if isinstance(host, tuple):
        host = host[0]
    elif event in SENDING:
        return  # a socket of the file system, or one that is connected already
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in ALLOWED:
        return
    with open(os.environ["NETWORK_LOG"], "a") as log:
        log.write(f"{event} {host}\\n")
    raise OSError(101, "Network is unreachable")

sys.addaudithook(refuse)
"""


def environment(folder: Path) -> dict[str, str]:
    """The environment for a process without a network, with none of the settings that would keep a library quiet."""
    (folder / "hook").mkdir(parents=True, exist_ok=True)
    (folder / "hook" / "sitecustomize.py").write_text(_HOOK)
    quiet = {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY"}
    proxies = {name for name in os.environ if name.lower().endswith("_proxy")}
    kept = {name: value for name, value in os.environ.items() if name not in quiet | proxies}
    return kept | {
        "PYTHONPATH": os.pathsep.join([str(folder / "hook"), str(ROOT)]),
        "NETWORK_LOG": str(folder / "network.log"),
        "WAVEBRUSH_DATA": str(folder / "data"),
        "HOME": str(folder / "home"),
        "HF_HOME": str(folder / "home" / "huggingface"),
    }


def attempts(folder: Path) -> list[str]:
    """What was tried, one line each."""
    log = folder / "network.log"
    return log.read_text().splitlines() if log.exists() else []
