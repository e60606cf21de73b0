"""Budgets, logs, atomic files and the stop signal of the training stages."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from studio.painter.preset import PRESETS
from studio.painter.progress import (
    Budget,
    Log,
    load_checkpoint,
    save_checkpoint,
    stop_signal,
    write_file,
    write_folder,
)
from studio.painter.training import Progress, TrainingStage, average_weights, seeded


def test_rate_is_constant_and_then_falls_to_zero_over_the_last_fifth() -> None:
    budget = Budget.of(seconds=100, steps=None, fade=0.2, decay=None, spent=0, step=0)
    assert [budget.rate(spent, 0) for spent in (0, 50, 80)] == [1, 1, 1]
    assert budget.rate(90, 0) == pytest.approx(0.5)
    assert budget.rate(100, 0) == 0
    assert not budget.over(99.9, 10**9) and budget.over(100, 0)


def test_a_budget_of_steps_does_not_look_at_the_clock() -> None:
    budget = Budget.of(seconds=None, steps=10, fade=0.2, decay=None, spent=0, step=0)
    assert not budget.over(1e9, 9) and budget.over(0, 10)
    assert budget.rate(1e9, 9) == pytest.approx(0.5)


def test_earlier_runs_count_towards_the_budget() -> None:
    fresh = Budget.of(seconds=100, steps=None, fade=0.2, decay=None, spent=0, step=0)
    resumed = Budget.of(seconds=100, steps=None, fade=0.2, decay=None, spent=60, step=7)
    assert resumed == fresh


def test_decay_fades_from_the_checkpoint_on() -> None:
    budget = Budget.of(seconds=None, steps=None, fade=0.2, decay=40, spent=60, step=7)
    assert budget.rate(60, 7) == 1
    assert budget.rate(80, 7) == pytest.approx(0.5)
    assert budget.over(100, 7)


def _progress(folder: Path, state: dict[str, object], **asked: int) -> Progress:
    stage = TrainingStage(PRESETS["smoke"], folder, folder, torch.device("cpu"), **asked)  # type: ignore[arg-type]
    return Progress(stage, state, Log(folder / "log.jsonl", quiet=True))


def test_the_rate_rises_to_its_peak_and_fades_no_lower_than_the_floor(tmp_path: Path) -> None:
    begun = _progress(tmp_path, {}, steps=100)
    assert [begun.rate(8.0, warm_up) for warm_up in (1, 4, 8)] == [8.0, 2.0, 1.0]
    fading = _progress(tmp_path, {"step": 90, "spent": 1.0}, steps=100)
    assert fading.rate(8.0, 4) == pytest.approx(4.0)
    ended = _progress(tmp_path, {"step": 100, "spent": 1.0}, steps=100)
    assert (ended.rate(8.0, 4), ended.rate(8.0, 4, floor=0.25)) == (0.0, 2.0)
    assert ended.over and not fading.over


def test_a_training_goes_on_where_its_checkpoint_stands(tmp_path: Path) -> None:
    path = tmp_path / "network.pt"
    assert load_checkpoint(path) == {}
    first = _progress(tmp_path, load_checkpoint(path), steps=5)
    for spent in (2.0, 4.5):
        first.advance(spent)
    assert first.speed(batch=9) == 2 * 9 / 4.5
    save_checkpoint(path, {"weights": torch.ones(2)} | first.state())
    second = _progress(tmp_path, load_checkpoint(path), steps=5)
    assert (second.step, second.spent) == (2, 4.5)
    assert 4.5 <= second.seconds < 4.5 + 60
    second.advance(5.5)
    assert second.speed(batch=9) == 9, "of this run alone"
    second.log(loss=0.25)
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"step": 3, "seconds": 5.5, "loss": 0.25}


def test_the_random_numbers_of_a_step_are_its_own() -> None:
    drawn = [(seeded(step).random(), float(torch.rand(()))) for step in (3, 4, 3)]
    assert drawn[0] == drawn[2] != drawn[1]


def test_averaged_weights_keep_the_share_asked_for() -> None:
    averaged, trained = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    for network, value in ((averaged, 1.0), (trained, 5.0)):
        for parameter in network.parameters():
            torch.nn.init.constant_(parameter, value)
    average_weights(averaged, trained, 0.75)
    assert [each.item() for each in averaged.parameters()] == [2.0, 2.0]
    assert [each.item() for each in trained.parameters()] == [5.0, 5.0]


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    write_file(path, lambda beside: beside.write_text("old"))

    def fail(beside: Path) -> None:
        beside.write_text("ha")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_file(path, fail)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["facts.json"]


def test_a_folder_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "vae"
    write_folder(folder, lambda beside: (beside / "a").write_text("1"))
    write_folder(folder, lambda beside: (beside / "b").write_text("2"))
    assert [entry.name for entry in folder.iterdir()] == ["b"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["vae"]


def test_log_appends_one_object_per_line(tmp_path: Path) -> None:
    for step in (1, 2):
        Log(tmp_path / "stage.jsonl", quiet=True).write(step=step, loss=0.123456789)
    lines = [json.loads(line) for line in (tmp_path / "stage.jsonl").read_text().splitlines()]
    assert lines == [{"step": 1, "loss": 0.12346}, {"step": 2, "loss": 0.12346}]


def test_sigterm_sets_the_stop_signal_and_the_old_handler_returns() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_signal() as stop:
        assert not stop
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop
    assert signal.getsignal(signal.SIGTERM) is before
