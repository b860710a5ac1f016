"""A folder of a group: two users, of whom one may write the database and one may not always."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support import models

ALICE, BOB, GROUP = 61_001, 61_002, 61_000  # numbers do; nobody needs an account
RUN = "from onnxzoo.cli import main; main()"


def _as(user: int) -> list[str]:
    """Return the words before a command of another user, who may read everything: this Python."""
    may = "+dac_read_search"
    words = f"setpriv --reuid={user} --regid={GROUP} --clear-groups"
    return [*words.split(), f"--inh-caps={may}", f"--ambient-caps={may}"]


def _reachable() -> bool:
    """Tell whether another user could start this Python."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    try:
        words = [*_as(BOB), sys.executable, "-c", "import onnxzoo.cli.app"]
        return subprocess.run(words, check=False, cwd="/").returncode == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(
    not _reachable(), reason="needs root, and a Python that other users may start"
)


@pytest.fixture
def shared() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        place = Path(folder)
        os.chown(place, ALICE, GROUP)
        place.chmod(0o2775)
        models.linear(place / "m.onnx")
        (place / "m.onnx").chmod(0o644)
        yield place


def zoo(user: int, mask: int, shared: Path, *words: object) -> subprocess.CompletedProcess[str]:
    keep = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    own = {"ZOO_HOME": str(shared / "home"), "HOME": str(shared), "ZOO_FIRST_LOOK": "0"}
    return subprocess.run(
        [*_as(user), sys.executable, "-c", RUN, *map(str, words)],
        umask=mask,
        env=keep | own | {"ZOO_CACHE_SIZE": "0", "ORT_DISABLE_TELEMETRY": "1"},
        cwd=shared,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def register(user: int, mask: int, shared: Path, name: str) -> subprocess.CompletedProcess[str]:
    return zoo(user, mask, shared, "register", shared / "m.onnx", "--name", name)


def test_both_write_where_the_umask_lets_the_group(shared: Path) -> None:
    assert register(ALICE, 0o002, shared, "a").returncode == 0
    done = register(BOB, 0o002, shared, "b")
    assert done.returncode == 0, done.stderr
    assert zoo(ALICE, 0o002, shared, "tag", "b", "edge").returncode == 0


def test_a_reader_leaves_nothing_that_locks_the_owner_out(shared: Path) -> None:
    assert register(ALICE, 0o022, shared, "a").returncode == 0
    home = shared / "home"
    home.chmod(0o2775)  # the group may write the folder, not the database
    for words in (["list"], ["path", "a"], ["tag", "a", "edge"]):
        zoo(BOB, 0o022, shared, *words)
        assert not [p for p in home.glob("registry.db-*") if p.stat().st_uid == BOB], words
    assert zoo(BOB, 0o022, shared, "list", "-q").stdout == "a:fp32@1\n"
    refused = zoo(BOB, 0o022, shared, "tag", "a", "edge")
    assert (refused.returncode, "chmod g+w" in refused.stderr) == (7, True), refused.stderr
    done = zoo(ALICE, 0o022, shared, "tag", "a", "edge")
    assert done.returncode == 0, done.stderr


def test_what_a_reader_left_once_is_named_with_the_way_out(shared: Path) -> None:
    assert register(ALICE, 0o022, shared, "a").returncode == 0
    for end in ("-wal", "-shm"):
        left = shared / "home" / f"registry.db{end}"
        left.touch(0o644)
        os.chown(left, BOB, GROUP)
    for words in (["tag", "a", "edge"], ["doctor"]):
        done = zoo(ALICE, 0o022, shared, *words)
        said = done.stdout + done.stderr
        assert (done.returncode, "belongs to another user" in said) == (7, True), said
        assert f"rm {shared}/home/registry.db-wal" in said


def test_a_reader_reads_an_older_schema_and_leaves_it(shared: Path) -> None:
    assert register(ALICE, 0o022, shared, "a").returncode == 0
    file = shared / "home" / "registry.db"
    with closing(sqlite3.connect(file)) as connection, connection:  # as the release before
        connection.execute("DROP INDEX ix_event_removed")
        connection.execute("UPDATE alembic_version SET version_num = '0005'")
    before = file.read_bytes()
    done = zoo(BOB, 0o022, shared, "list", "-q")
    assert (done.returncode, done.stdout) == (0, "a:fp32@1\n"), done.stderr
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.glob("registry.db*")] == ["registry.db"]
