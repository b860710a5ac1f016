"""Completion: references, their variants and aliases, and values of options."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from onnxzoo.registry.api import Registry
from tests.support import models


@pytest.fixture(autouse=True)
def registry(home: Path, tmp_path: Path) -> Iterator[Registry]:
    with Registry(home) as registry:
        for value in (1, 2):
            registry.register(models.linear(tmp_path / f"{value}.onnx", value=value), "net")
        registry.register(models.linear(tmp_path / "3.onnx", value=3), "acme/other:mine")
        registry.alias("net@1", "production")
        yield registry


def completed(*words: str, shell: str = "bash") -> list[str]:
    """Return what a shell is offered for the last of some words, split as bash splits them."""
    shells = {
        "bash": {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)},
        "fish": {
            "_TYPER_COMPLETE_ARGS": " ".join(words),
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
    }
    ran = subprocess.run(
        [Path(sys.executable).with_name("zoo")],
        env={**os.environ, "_ZOO_COMPLETE": f"complete_{shell}", **shells[shell]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    return ran.stdout.split()


def test_names_are_completed() -> None:
    assert completed("zoo", "path", "n") == ["net"]
    assert completed("zoo", "path", "") == ["acme/other", "net"]
    assert "resnet50" in completed("zoo", "pull", "resnet5")


def test_bash_is_given_what_follows_the_last_mark() -> None:
    assert completed("zoo", "path", "net", ":") == ["fp32"]
    assert completed("zoo", "path", "net", ":", "f") == ["fp32"]
    assert completed("zoo", "path", "net", "@") == ["@1", "@2", "@latest", "@production"]
    assert completed("zoo", "path", "net", ":", "fp32", "@", "p") == ["@production"]
    assert completed("zoo", "path", "acme/other", ":", "m") == ["mine"]
    assert completed("zoo", "compare", "net", ":", "fp32", "net", "@", "1") == ["@1"]


def test_other_shells_are_given_the_whole_word() -> None:
    assert completed("zoo", "path", "net:f", shell="fish") == ["net:fp32"]
    assert completed("zoo", "path", "net@p", shell="fish") == ["net@production"]


def test_a_variant_of_an_index_is_completed() -> None:
    assert "fp32" in completed("zoo", "pull", "light-squeezenet", ":")


def test_values_of_options_are_completed() -> None:
    assert completed("zoo", "quantize", "net", "--to", "int") == ["int4", "int8"]
    assert completed("zoo", "pull", "net", "--prefer", "s") == ["size", "speed"]
    assert completed("zoo", "run", "net", "--device", "cu") == ["cuda"]
    assert "image-classification" in completed("zoo", "search", "--task", "image-c")
    assert "Apache-2.0" in completed("zoo", "search", "--license", "Apa")


def test_nothing_is_made_and_nothing_is_said_where_nothing_is(tmp_path: Path) -> None:
    os.environ["ZOO_HOME"] = str(tmp_path / "nowhere")
    assert completed("zoo", "path", "n") == []
    assert not (tmp_path / "nowhere").exists()


def test_a_database_of_an_older_schema_is_left_alone(home: Path) -> None:
    with closing(sqlite3.connect(home / "registry.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0005'")
    assert completed("zoo", "path", "n") == []
    with closing(sqlite3.connect(home / "registry.db")) as connection:
        (found,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    assert found == "0005"


def test_frameworks_are_completed() -> None:
    assert completed("zoo", "convert", "x", "--from", "sk") == ["sklearn"]
