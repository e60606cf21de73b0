"""Settings: where data lies, and what counts as this computer."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from studio.settings import Settings, default_data_folder


def test_data_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WAVEBRUSH_DATA", str(tmp_path / "mine"))
    assert default_data_folder() == tmp_path / "mine"
    assert Settings().data == tmp_path / "mine"


def test_an_empty_environment_variable_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVEBRUSH_DATA", "")
    usual = default_data_folder()
    monkeypatch.delenv("WAVEBRUSH_DATA")
    assert usual == default_data_folder()
    assert usual.name == "wavebrush"


def test_making_settings_makes_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WAVEBRUSH_DATA", str(tmp_path / "mine"))
    Settings()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_is_this_computer(host: str) -> None:
    assert Settings(host=host).is_local


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "studio.example", ""])
def test_everything_else_is_not(host: str) -> None:
    assert not Settings(host=host).is_local


def test_the_usual_settings_are_private_to_this_computer() -> None:
    usual = Settings()
    assert usual.is_local
    assert usual.login is None
    assert usual.allowed_hosts == ()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]
