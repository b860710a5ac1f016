"""Forks while other threads use the registry, and databases that take another's place."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread

import pytest

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core import forks
from onnxzoo.registry.serving.pool import SessionPool
from tests.support import models
from tests.support.commands import Run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def in_child(work: Callable[[], object], seconds: float = 60) -> int:
    """Fork, work in the child, and return its exit code; it is killed after some seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork of a process with threads
        child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:  # noqa: BLE001
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(3)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1


@pytest.fixture
def registry(home: Path, tmp_path: Path) -> Registry:
    registry = Registry(home)
    registry.register(models.linear(tmp_path / "m.onnx"), "net")
    return registry


def test_a_child_writes_although_a_thread_was_writing(registry: Registry) -> None:
    stop = Event()

    def write() -> None:
        while not stop.is_set():
            registry.alias("net", "busy")

    thread = Thread(target=write)
    thread.start()
    try:
        codes = [in_child(lambda: registry.alias("net", "child")) for _ in range(5)]
    finally:
        stop.set()
        thread.join()
    assert codes == [0] * 5
    assert registry.aliases("net") == {"latest": 1, "busy": 1, "child": 1}


def test_a_fork_inside_a_read_leaves_it_to_the_parent(registry: Registry) -> None:
    with registry._database.read() as rows:
        assert in_child(registry._database.close) == 0
        assert rows("SELECT name FROM model")[0]["name"] == "net"
    assert registry.resolve("net").version == 1


class Hook:
    """Does something before each fork."""

    def __init__(self, before: Callable[[], object]) -> None:
        self._before = before

    def before_fork(self) -> None:
        self._before()

    def after_fork(self) -> None:
        pass


# In a process of its own: what was imported after `forks` locks before it, and one fork waits for
# another there.
TWO_FORKS = """
import os
from threading import Event, Thread, current_thread
from onnxzoo.registry.core import forks

waits, go_on, entered = Event(), Event(), Event()

class Hook:
    def before_fork(self):
        if current_thread().name == "slow":
            waits.set()
            go_on.wait(30)

    def after_fork(self):
        pass

def fork():
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)

def enter():
    with forks.in_use():
        entered.set()

hook = Hook()
forks.at_fork(hook)
threads = [Thread(target=fork, name="slow"), Thread(target=enter)]
threads[0].start()
waits.wait(30)
fork()  # begins and ends meanwhile
threads[1].start()
print(entered.wait(0.3))
go_on.set()
for thread in threads:
    thread.join(60)
print(entered.is_set())
"""


def test_nobody_enters_while_one_of_two_threads_still_forks() -> None:
    command = [sys.executable, "-c", TWO_FORKS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_a_child_leaves_a_block_although_a_lost_thread_held_its_lock() -> None:
    holds = Event()

    def hold() -> None:
        with forks._gate.changed:
            holds.set()
            Event().wait(0.3)

    def held() -> None:
        Thread(target=hold).start()
        holds.wait(30)

    hook = Hook(held)
    forks.at_fork(hook)
    with ExitStack() as block:
        block.enter_context(forks.in_use())
        assert in_child(block.close, seconds=5) == 0


def test_a_child_of_a_pool_opens_anew(registry: Registry) -> None:
    with SessionPool(10_000_000, registry=registry) as pool:
        parents = pool.load("net")

        def work() -> None:
            assert pool.bytes == 0
            assert pool.load("net") is not parents

        with pool._lock:  # as a thread that is not in the child would
            assert in_child(work) == 0


def test_a_database_that_took_anothers_place_is_read(registry: Registry, zoo: Run) -> None:
    stamp = registry.stamp()
    assert zoo("doctor", "--rebuild", "--force").code == 0
    assert zoo("alias", "net@1", "prod").code == 0
    assert (registry.stamp() == stamp, registry.aliases("net")["prod"]) == (False, 1)
    registry.alias("net", "mine")
    assert set(registry.aliases("net")) == {"latest", "prod", "mine"}


def test_a_backup_that_is_put_back_is_read_and_written(registry: Registry, home: Path) -> None:
    path, backup = home / "registry.db", home / "backup"
    with sqlite3.connect(path) as source, sqlite3.connect(backup) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = WAL")
    source.close()
    copy.close()
    registry.alias("net", "later")
    backup.replace(path)
    for left in home.glob("registry.db-*"):
        left.unlink()
    assert registry.aliases("net") == {"latest": 1}
    registry.alias("net", "again")
    assert registry.aliases("net") == {"latest": 1, "again": 1}


class _Object:
    def __init__(self, *, fails: bool) -> None:
        self.fails, self.asked = fails, 0

    def before_fork(self) -> None:
        self.asked += 1
        if self.fails:
            raise ValueError("not now")

    def after_fork(self) -> None: ...


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_error_of_one_object_before_a_fork_stops_no_other() -> None:
    """Python prints the error and forks all the same."""
    objects = [_Object(fails=fails) for fails in (False, True, False, True, False)]
    for one in objects:
        forks.at_fork(one)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert in_child(lambda: None) == 0
        finally:
            for one in objects:
                forks._ours.discard(one)
    assert [one.asked for one in objects] == [1] * 5
