"""No network: the command line and the served app work with every way out blocked, and do not even try one."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urljoin

import pytest
from network_guard import attempts, environment
from served import served

from studio.job import FINISHED
from studio.project.store import request_in

PROMPT = "an oil painting of a mountain lake at sunset"


def _studio(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "studio", *words],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_block_itself_blocks(tmp_path: Path) -> None:
    reach_out = "import socket; socket.create_connection(('192.0.2.1', 80), 1)"
    look_up = "import socket; socket.getaddrinfo('example.org', 80)"
    for code in (reach_out, look_up):
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment(tmp_path), capture_output=True, text=True, check=False
        )
        assert "Network is unreachable" in done.stderr
    assert len(attempts(tmp_path)) == 2


def test_generate_paints_with_every_socket_blocked_and_tries_none(tmp_path: Path) -> None:
    done = _studio(tmp_path, "generate", PROMPT, "--seed", "7", "--steps", "3", "--out", "a.png")
    assert (done.returncode, done.stderr) == (0, "")
    request, _ = request_in((tmp_path / "a.png").read_bytes())
    assert (request.prompt, request.seed) == (PROMPT, 7)
    assert attempts(tmp_path) == []


def test_a_hub_model_without_a_network_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    done = _studio(tmp_path, "generate", PROMPT, "--model", "owner/some-model", "--out", "a.png")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "owner/some-model" in done.stderr
    assert not (tmp_path / "a.png").exists()


@pytest.mark.timeout(600)
def test_the_served_app_paints_with_every_socket_blocked_and_tries_none(tmp_path: Path) -> None:
    with served(tmp_path, environment=environment(tmp_path)) as studio:
        page = studio.client.get("/")
        ours = str(studio.client.base_url)
        files = re.findall(r"""(?:src|href)=["']([^"'#]+)["']""", page.text)
        assert files
        for file in files:
            address = urljoin(f"{ours}/", file)
            if file.startswith("data:") or (re.match(r"https?://", address) and address.startswith(ours)):
                continue
            # a preconnect hint loads nothing, and the page's content policy would refuse it anyway
            assert re.search(
                rf"""rel=["'](?:preconnect|dns-prefetch)["'][^>]*{re.escape(file)}|{re.escape(file)}[^>]*rel=["'](?:preconnect|dns-prefetch)""",
                page.text,
            ), file
        request = {"prompt": PROMPT, "seed": 7, "num_inference_steps": 3}
        job = studio.client.post("/studio/jobs", json={"request": request}).json()
        deadline = time.monotonic() + 200
        while job["state"] not in FINISHED and time.monotonic() < deadline:
            time.sleep(0.1)
            job = studio.client.get(f"/studio/jobs/{job['id']}").json()
        assert job["state"] == "done", job["error"]
        png = studio.client.get(f"/studio/pictures/{job['pictures'][0]['id']}.png").content
        assert request_in(png)[0].prompt == PROMPT
    assert attempts(tmp_path) == []
    assert "Traceback" not in studio.log.read_text()
