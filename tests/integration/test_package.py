"""The wheel: everything travels with it, and it works where there is no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from studio.assets import asset
from studio.project.store import request_in

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=250,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def _python(unpacked: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )


def test_every_asset_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name: archive.getinfo(name).file_size for name in archive.namelist()}
    assets = {
        f"studio/_assets/{file.relative_to(ROOT / 'assets').as_posix()}": file.stat().st_size
        for file in (ROOT / "assets").rglob("*")
        if file.is_file()
    }
    assert "studio/_assets/models/painter/model_index.json" in assets
    assert "studio/_assets/generate.js" in assets
    assert {name: packed.get(name) for name in assets} == assets


def test_nothing_else_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    info = f"{wheel.name.split('-')[0]}-{wheel.name.split('-')[1]}.dist-info"
    assert {name.split("/")[0] for name in names} == {"studio", info}
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".part"))]
    assert any(name.startswith(info) and name.endswith("LICENSE") for name in names)


def test_every_module_of_the_checkout_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    modules = {file.relative_to(ROOT).as_posix() for file in (ROOT / "studio").rglob("*.py")}
    assert modules <= packed


def test_the_wheel_paints_in_an_empty_folder_as_the_checkout_does(unpacked: Path, tmp_path: Path) -> None:
    words = ("generate", "a lake at dawn", "--seed", "7", "--steps", "2", "--out", "a.png")
    here = _python(unpacked, tmp_path, "-c", "import studio.assets as a; print(a.__file__); print(a.asset('models'))")
    assert str(unpacked) in here.stdout.splitlines()[0]
    assert here.stdout.splitlines()[1] == str(unpacked / "studio" / "_assets" / "models")
    done = _python(unpacked, tmp_path, "-m", "studio", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
    from studio.engine import Engine

    picture = (tmp_path / "a.png").read_bytes()
    request, _ = request_in(picture)
    assert Engine().run(request).to_png() == picture
    assert asset("models").parent == ROOT / "assets" or asset("models").is_dir()


def test_the_wheel_builds_the_page_in_an_empty_folder(unpacked: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from studio.settings import Settings\n"
        "from studio.web.server import build_app\n"
        "build_app(Settings(data=Path('data')))\n"
        "from studio.web.page import STYLES\n"
        "from studio.assets import asset\n"
        "print(all(asset(name).is_file() for name in STYLES))\n"
    )
    done = _python(unpacked, tmp_path, "-W", "ignore", "-c", code)
    assert done.stdout.splitlines()[-1:] == ["True"], done.stderr
