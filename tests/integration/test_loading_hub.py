"""Hub models, against a small hub of our own on this computer that speaks the real one's protocol."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tiny_models import save_tiny

from studio.errors import ModelNotFound, UnsafeModel
from studio.models import hub
from studio.models.loading import load_pipeline, weights_digest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OFFLINE_WORDS = (
    "`someone/lake` is not on this computer and there is no connection. "
    "Start again with `--model FOLDER`, or use Painter."
)


class TinyHub(ThreadingHTTPServer):
    """Serves one repository, `someone/lake`, from a folder, and writes down what it was asked for."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.asked: list[str] = []
        self.answer_with: tuple[int, dict[str, str]] | None = None  # a refusal instead
        self.silent = False  # accepts, and says nothing

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: TinyHub

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(f"{self.command} {path}")
        if self.server.silent:
            time.sleep(60)
        elif self.server.answer_with is not None:
            status, headers = self.server.answer_with
            self.reply(status, b"{}", headers)
        elif path.startswith("/api/models/someone/lake"):
            files = sorted(
                p.relative_to(self.server.folder).as_posix() for p in self.server.folder.rglob("*") if p.is_file()
            )
            listed = {"id": "someone/lake", "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
            if "/tree/" in path:
                tree = [self.entry(name) for name in files]
                self.reply(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})
            else:
                self.reply(200, json.dumps(listed).encode(), {"Content-Type": "application/json"})
        elif path.startswith("/someone/lake/resolve/"):
            file = self.server.folder / path.split("/", 5)[5]
            if file.is_file():
                data = file.read_bytes()
                etag = f'"{hashlib.sha256(data).hexdigest()}"'
                self.reply(200, data, {"X-Repo-Commit": COMMIT, "ETag": etag})
            else:
                self.reply(404, b"", {"X-Error-Code": "EntryNotFound"})
        else:
            self.reply(404, b"", {"X-Error-Code": "RepoNotFound"})

    def entry(self, name: str) -> dict[str, Any]:
        data = (self.server.folder / name).read_bytes()
        return {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def reply(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[TinyHub]:
    save_tiny("sd", tmp_path / "repository")
    (tmp_path / "repository" / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps("never fetched"))
    (tmp_path / "repository" / "lake.ckpt").write_bytes(pickle.dumps("never fetched"))
    (tmp_path / "repository" / "pipeline.py").write_text("raise SystemExit('never fetched')")
    server = TinyHub(tmp_path / "repository")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache of this test's own, and a library that believes to be online."""
    from huggingface_hub import constants

    cache = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(hub, "TIMEOUT", 1.0)
    return cache


def test_named_model_is_fetched_once_and_then_loaded_without_a_network(
    served: TinyHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = hub.fetch("someone/lake", served.endpoint)
    fetched = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert {"model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"} <= fetched
    assert not any(name.endswith((".bin", ".ckpt", ".py")) for name in fetched)
    served.asked.clear()
    assert hub.fetch("someone/lake", served.endpoint) == folder
    assert load_pipeline("someone/lake", device="cpu").unet is not None
    assert weights_digest("someone/lake") == weights_digest(served.folder)
    assert served.asked == []


def test_interrupted_fetch_is_finished(served: TinyHub) -> None:
    folder = hub.fetch("someone/lake", served.endpoint)
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.resolve().unlink()
    weights.unlink()
    assert hub.fetch("someone/lake", served.endpoint) == folder
    assert weights.is_file()


def test_pickled_model_is_refused_before_its_weights_are_fetched(served: TinyHub) -> None:
    for weights in served.folder.rglob("*.safetensors"):
        weights.with_suffix(".bin").write_bytes(b"x" * 1000)
        weights.unlink()
    with pytest.raises(UnsafeModel, match=r"keeps its weights in `.*\.bin`, a pickle.*Nothing was fetched"):
        hub.fetch("someone/lake", served.endpoint)
    assert not any(request.endswith(".bin") for request in served.asked)


def test_model_with_code_of_its_own_is_refused_before_its_weights_are_fetched(served: TinyHub) -> None:
    index = json.loads((served.folder / "model_index.json").read_text())
    (served.folder / "model_index.json").write_text(json.dumps({**index, "_class_name": ["pipeline", "Mine"]}))
    with pytest.raises(UnsafeModel, match="a pipeline of its own"):
        hub.fetch("someone/lake", served.endpoint)
    assert not any("safetensors" in request for request in served.asked)


def test_repository_that_is_no_diffusers_model_says_so(served: TinyHub) -> None:
    (served.folder / "model_index.json").unlink()
    with pytest.raises(ModelNotFound, match="is no diffusers model"):
        hub.fetch("someone/lake", served.endpoint)


def test_fp16_files_are_fetched_where_only_they_are_there(served: TinyHub) -> None:
    shutil.rmtree(served.folder)
    save_tiny("sd", served.folder, variant="fp16")
    folder = hub.fetch("someone/lake", served.endpoint)
    assert (folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").is_file()
    assert load_pipeline("someone/lake", device="cpu").unet is not None


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (401, {"X-Error-Code": "GatedRepo"}, "accept its licence first"),
        (403, {"X-Error-Code": "GatedRepo"}, "accept its licence first"),
        (404, {"X-Error-Code": "RepoNotFound"}, "The hub has no model `someone/lake`"),
        (403, {}, "The hub refused to hand out `someone/lake`"),
        (418, {}, r"it answered 418"),
    ],
)
def test_refusal_of_the_hub_is_put_into_words(
    status: int, headers: dict[str, str], words: str, served: TinyHub
) -> None:
    served.answer_with = (status, headers)
    with pytest.raises(ModelNotFound, match=words):
        hub.fetch("someone/lake", served.endpoint)


def test_no_connection_says_what_to_do() -> None:
    with pytest.raises(ModelNotFound) as refusal:
        hub.fetch("someone/lake", "http://127.0.0.1:9")  # the discard port: nobody listens
    assert str(refusal.value) == OFFLINE_WORDS


def test_offline_mode_says_what_to_do(monkeypatch: pytest.MonkeyPatch, served: TinyHub) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFound) as refusal:
        load_pipeline("someone/lake", device="cpu")
    assert str(refusal.value) == OFFLINE_WORDS
    assert served.asked == []


def test_hub_that_hangs_is_given_up_soon(served: TinyHub) -> None:
    served.silent = True
    began = time.monotonic()
    with pytest.raises(ModelNotFound) as refusal:
        hub.fetch("someone/lake", served.endpoint)
    assert time.monotonic() - began < 50
    assert str(refusal.value) == OFFLINE_WORDS


def test_digest_of_a_model_that_is_not_here_asks_no_network(served: TinyHub) -> None:
    with pytest.raises(ModelNotFound, match="is not on this computer"):
        weights_digest("someone/lake")
    assert served.asked == []


def test_files_are_chosen_by_part_and_kind() -> None:
    listed = [
        "model_index.json",
        "README.md",
        "v1-5-pruned.ckpt",
        "v1-5-pruned.safetensors",
        "safety_checker/model.safetensors",
        "unet/config.json",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.json",
        "unet/nested/evil.json",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.non_ema.safetensors",
        "tokenizer/merges.txt",
    ]
    assert hub.files_to_fetch("someone/lake", listed, ["unet", "vae", "tokenizer"]) == [
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors.index.json",
        "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "tokenizer/merges.txt",
    ]
