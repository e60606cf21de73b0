"""Starting and ending `app.py`: the page before the model, one line for wrong settings, an end soon after Ctrl+C."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from served import ROOT, free_port, served

HEAVY = ("torch", "diffusers", "transformers")


def _app(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "app.py"), "--no-browser", "--data", str(folder / "data"), *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_the_page_is_built_without_the_model_libraries(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from studio.settings import Settings\n"
        "from studio.web.server import build_app\n"
        "build_app(Settings(data=Path(sys.argv[1])))\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model", "nobody"), "'nobody'"),
        (("--host", "0.0.0.0"), "login"),
        (("--login", "gone.txt"), "gone.txt"),
    ],
    ids=["an unknown model", "a door without a lock", "no login file"],
)
def test_wrong_settings_end_the_start_in_one_line(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    done = _app(tmp_path, "--port", str(free_port()), *options)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("wavebrush: ")
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_ends_the_start_in_one_line_with_a_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = _app(tmp_path, "--port", str(port))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(port) in done.stderr
    assert "--port" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals are another thing there")
@pytest.mark.timeout(600)
def test_the_page_comes_first_and_ctrl_c_ends_it_soon_with_a_run_and_a_reader(tmp_path: Path) -> None:
    with served(tmp_path) as studio:
        session = studio.client.get("/studio/session").json()
        assert session["model"]["name"] == "painter"
        assert (session["jobs"], session["pictures"]) == ([], [])
        request = {"prompt": "a lake", "num_inference_steps": 200}
        job_id = studio.client.post("/studio/jobs", json={"request": request}).json()["id"]

        def read() -> None:
            events = f"/studio/jobs/{job_id}/events"
            with contextlib.suppress(httpx.HTTPError), studio.client.stream("GET", events) as answer:
                for _ in answer.iter_lines():
                    pass  # until the studio goes away

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        deadline = time.monotonic() + 200
        while studio.client.get(f"/studio/jobs/{job_id}").json()["step"] < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        began = time.monotonic()
        studio.process.send_signal(signal.SIGINT)
        studio.process.wait(90)
        # one step of the run, and a second of grace for readers; generous for a busy machine
        assert time.monotonic() - began < 60
    said = studio.log.read_text()
    assert "wavebrush is at http://127.0.0.1:" in said
    assert "Traceback" not in said
    pictures = list((tmp_path / "pictures").rglob("*"))
    assert not [file for file in pictures if file.suffix == ".part"]
    assert [file.suffix for file in pictures if file.is_file()] == [".png"], "the run was stopped and its picture kept"
