"""Whatever strikes a command, the registry stays sound; short: see ``python -m tests.faults``."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.cases import Effort, copy, trial_of
from tests.faults.crowd import StoppedWriter, crowd
from tests.faults.errors import errors, refused
from tests.faults.hostile import hostile
from tests.faults.invariants import broken, state
from tests.faults.kills import kills
from tests.faults.places import places
from tests.faults.power import order, power
from tests.faults.rebuilds import rebuilds
from tests.faults.runner import Fault, Runner, bare, traces
from tests.faults.signals import signals
from tests.faults.tasks import TASKS

QUICK = tuple(task for task in TASKS if not task.children)
traced = pytest.mark.skipif(not traces(), reason="strace is not here, or not allowed")


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner() as running:
        yield running


@traced
def test_a_kill_before_any_change_leaves_a_sound_registry(runner: Runner, tmp_path: Path) -> None:
    assert not kills(runner, tmp_path, Effort(6, tasks=QUICK)).broke


@traced
def test_an_error_of_the_disk_is_one_clear_error(runner: Runner, tmp_path: Path) -> None:
    assert not errors(runner, tmp_path, Effort(6, tasks=QUICK)).broke


@traced
def test_a_database_that_is_made_again_is_whole_or_not_there(runner: Runner) -> None:
    """Its last checkpoint fails, of which SQLite says nothing."""
    trial = trial_of(runner, next(task for task in TASKS if task.name == "rebuild"))
    last = [point for point in trial.points if point.call == "pwrite64"][-1]
    assert not trial.strike(runner, Fault("error=ENOSPC", last, ever_after=True), refused)


@traced
def test_a_signal_ends_a_command_tidily(runner: Runner, tmp_path: Path) -> None:
    assert not signals(runner, tmp_path, Effort(3, tasks=QUICK)).broke


@traced
def test_a_rebuild_after_a_fault_brings_what_was_told(runner: Runner, tmp_path: Path) -> None:
    assert not rebuilds(runner, tmp_path, Effort(4, tasks=QUICK)).broke


@traced
def test_contents_come_before_names_and_names_before_rows(runner: Runner, tmp_path: Path) -> None:
    assert not order(runner, tmp_path, Effort(0)).broke


@traced
def test_a_power_cut_loses_nothing_that_was_said_to_be_done(runner: Runner, tmp_path: Path) -> None:
    assert not power(runner, tmp_path, Effort(5, most=1)).broke


def test_a_place_that_refuses_is_one_clear_error(runner: Runner, tmp_path: Path) -> None:
    assert not places(runner, tmp_path, Effort(5)).broke


def test_a_hostile_model_is_refused_by_the_whole_command(runner: Runner, tmp_path: Path) -> None:
    assert not hostile(runner, tmp_path / "hostile", Effort(3)).broke


def test_a_crowd_loses_nothing_and_one_that_stands_still_is_named(
    runner: Runner, tmp_path: Path
) -> None:
    stopped = StoppedWriter(tmp_path / "stopped")
    assert not crowd(runner, tmp_path / "crowd", Effort(6, processes=6)).broke
    assert not stopped.outcome(runner).broke


def test_a_kill_at_any_time_leaves_a_sound_registry(runner: Runner, tmp_path: Path) -> None:
    """Where nothing can be traced this is what is left."""
    for task in QUICK[:3]:
        folder = tmp_path / task.name
        (folder / "template").mkdir(parents=True)
        task.prepare(runner, folder / "template" / "home")
        before = state(folder / "template" / "home")
        chance = random.Random(task.name)
        for _ in range(3):
            copy(folder / "template", folder / "case")
            home = folder / "case" / "home"
            words = [sys.executable, "-m", "onnxzoo", *task.words]
            with subprocess.Popen(
                words, cwd=home.parent, env=bare(home), stderr=subprocess.DEVNULL, stdout=-3
            ) as process:
                time.sleep(chance.uniform(0.3, 1.5))
                process.send_signal(signal.SIGKILL)
            assert not broken(home)
            assert before <= state(home)
            assert runner.run(task.words, home).code == 0
