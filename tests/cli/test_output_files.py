"""Files that commands write where the user says."""

import os
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from tests.support import models
from tests.support.commands import Run

COMMANDS = {
    "export": ["export", "net", "-o"],
    "sbom": ["licenses", "--sbom", "-o"],
    "attribution": ["licenses", "--attribution", "-o"],
    "save": ["run", "net", "--save"],
}
LOCK = ["lock", "net", "--lock"]


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_pipe_is_written_and_not_replaced(zoo: Run, tmp_path: Path, words: list[str]) -> None:
    zoo("register", models.linear(tmp_path / "m.onnx"), "--name", "net")
    pipe, got = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    reader = Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    ran = zoo(*words, pipe)
    reader.join(10)
    assert (ran.code, pipe.is_fifo(), bool(got and got[0])) == (0, True, True), ran.err


def test_a_lock_is_no_pipe(zoo: Run, tmp_path: Path) -> None:
    zoo("register", models.linear(tmp_path / "m.onnx"), "--name", "net")
    os.mkfifo(tmp_path / "pipe")
    ran = zoo(*LOCK, tmp_path / "pipe")
    assert (ran.code, "it is no plain file" in ran.err) == (2, True)


@pytest.mark.parametrize("words", [*COMMANDS.values(), LOCK], ids=[*COMMANDS, "lock"])
def test_a_link_stays_one(zoo: Run, tmp_path: Path, words: list[str]) -> None:
    zoo("register", models.linear(tmp_path / "m.onnx"), "--name", "net")
    (tmp_path / "there").mkdir()
    link, real = tmp_path / "link", tmp_path / "there" / "file"
    link.symlink_to(real)
    ran = zoo(*words, link)
    assert (ran.code, link.is_symlink(), real.stat().st_size > 0) == (0, True, True), ran.err


def test_what_was_saved_to_a_pipe_is_read(zoo: Run, tmp_path: Path) -> None:
    zoo("register", models.linear(tmp_path / "m.onnx"), "--name", "net")
    assert zoo("run", "net", "--save", tmp_path / "out.npz").code == 0
    with np.load(tmp_path / "out.npz") as saved:
        assert saved.files
