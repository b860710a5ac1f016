"""Half-made folders: which are abandoned."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from onnxzoo.registry.core.staging import abandoned, alone, held, staging_folder, staging_name
from onnxzoo.registry.database.schema import create

HOLDING = """
import sys
from pathlib import Path
from onnxzoo.registry.core.staging import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")


def named(*, pid: int | None = None, space: str | None = None, start: str | None = None) -> str:
    """A name as another process of this machine gives it."""
    host, mine, where, word = staging_name().rsplit("-", 3)
    kernel, my_space, my_start = where.split(".")
    where = ".".join((kernel, space or my_space, start or my_start))
    return f"{host}-{pid or mine}-{where}-{word}"


def made(path: Path, *, old: bool = False) -> Path:
    path.mkdir()
    if old:
        os.utime(path, (0, 0))
    return path


def test_a_living_process_has_not_abandoned_what_it_makes(tmp_path: Path) -> None:
    with staging_folder(tmp_path / staging_name()) as folder:
        assert not abandoned(folder)
    assert not abandoned(folder)


@linux
def test_a_number_given_again_is_another_process(tmp_path: Path) -> None:
    """A container's first process is 1 each time."""
    assert abandoned(made(tmp_path / named(start="1")))
    assert abandoned(made(tmp_path / named(pid=1, start="99999999")))


@linux
def test_a_lock_tells_across_containers(tmp_path: Path) -> None:
    folder = made(tmp_path / named(space="f"), old=True)
    with subprocess.Popen([sys.executable, "-c", HOLDING, folder], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as holder:  # fmt: skip
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert not abandoned(folder)
        holder.communicate(timeout=60)
    assert abandoned(folder)


@linux
def test_what_was_just_made_in_another_container_waits(tmp_path: Path) -> None:
    assert not abandoned(made(tmp_path / named(space="f")))


@pytest.mark.parametrize(("old", "gone"), [(False, False), (True, True)])
def test_on_another_machine_the_age_tells(tmp_path: Path, *, old: bool, gone: bool) -> None:
    assert abandoned(made(tmp_path / "elsewhere-1-aaaa.1.1-00000000", old=old)) is gone
    assert abandoned(made(tmp_path / "else-where-1-00000000", old=old)) is gone


def test_a_file_is_held_too(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with held(tmp_path / "file"):
        assert not abandoned(tmp_path / "file")


def test_only_one_is_alone(tmp_path: Path) -> None:
    with alone(tmp_path / "lock") as first, alone(tmp_path / "lock") as second:
        assert (first, second) == (True, False)
    with alone(tmp_path / "lock") as third:
        assert third


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o022, 0o644)])
def test_a_database_has_the_rights_that_the_umask_leaves(
    tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        create(tmp_path / "registry.db")
    finally:
        os.umask(before)
    assert (tmp_path / "registry.db").stat().st_mode & 0o777 == mode


OUT_OF_FILES = """
import os, resource, sys
from pathlib import Path
from onnxzoo.registry.core.staging import abandoned
path = Path(sys.argv[1])
assert abandoned(path)
taken = [os.open(path, os.O_RDONLY)]
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 1, hard))
print(abandoned(path))
"""


@linux
def test_a_process_that_can_open_no_files_takes_nothing_for_abandoned(tmp_path: Path) -> None:
    """A lock that cannot be looked at may be held by a process of another container."""
    folder = made(tmp_path / named(space="4026530000", start="1"), old=True)
    ran = subprocess.run(
        [sys.executable, "-c", OUT_OF_FILES, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stdout, ran.returncode) == ("False\n", 0), ran.stderr
