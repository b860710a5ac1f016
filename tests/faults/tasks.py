"""The commands that faults are put into, each with the home that it begins in.

To add a command: an entry in `TASKS`. `prepare` makes what it needs beside the home and runs what
comes before it; a fault then strikes somewhere in `words`.
"""

import platform
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.runner import Runner
from tests.support import models

_CONVERTER = """
from onnxzoo.registry.convert.interface import Converter, Made, Sample

CONVERTER = Converter(name="acme", module="acme", needs=("acme",),
                      recognises=lambda path: path.is_file() and path.read_bytes()[:4] == b"ACME")

def convert(job):
    import numpy as np
    from onnx import TensorProto, helper, save

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y])
    opset = [helper.make_opsetid("", 13)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), job.model)
    rows = np.arange(6, dtype="float32").reshape(2, 3)
    return Made([Sample({"x": rows}, [-rows])])
"""
Prepare = Callable[[Runner, Path], None]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A command that faults are put into.

    Attributes:
        name: what it is called in reports.
        words: after ``zoo``; files beside the home are named relative to it.
        prepare: brings the home into the state that the command begins in.
        again: exit codes of the same command once it was done.
        environment: of the command.
        children: it starts child processes, so a run takes seconds.
        makes: a file beside the home that is there whole, or as it was.
    """

    name: str
    words: tuple[str, ...]
    prepare: Prepare
    again: tuple[int, ...] = (0,)
    environment: Mapping[str, str] = field(default_factory=dict)
    children: bool = False
    makes: str | None = None


def nothing(_: Runner, home: Path) -> None:
    """Make a model beside a home that is not there yet."""
    models.linear(home.parent / "m.onnx")


def one(runner: Runner, home: Path) -> None:
    """Hold a model ``kept`` of two versions, with an alias and a tag."""
    nothing(runner, home)
    for value in (2, 3):
        path = models.external(home.parent / "kept.onnx", value=value)
        _run(runner, home, "register", path, "--name", "kept", "--new-version")
    _run(runner, home, "alias", "kept@1", "stable")
    _run(runner, home, "tag", "kept", "old")


def converter(runner: Runner, home: Path) -> None:
    """Install a converter of another package."""
    one(runner, home)
    folder = home.parent / "packages"
    (folder / "acme-1.2.dist-info").mkdir(parents=True)
    (folder / "acme.py").write_text(_CONVERTER)
    (folder / "acme-1.2.dist-info" / "METADATA").write_text("Name: acme\nVersion: 1.2\n")
    (folder / "acme-1.2.dist-info" / "entry_points.txt").write_text(
        "[onnxzoo.converters]\nacme = acme:CONVERTER\n"
    )
    (home.parent / "net.acme").write_text("ACME")


def matrix(runner: Runner, home: Path) -> None:
    """Hold a model that can be quantized."""
    one(runner, home)
    models.mlp(home.parent / "matrix.onnx")
    _run(runner, home, "register", home.parent / "matrix.onnx", "--name", "matrix")


def garbage(runner: Runner, home: Path) -> None:
    """Hold a model, and the bytes of another that was removed."""
    one(runner, home)
    _run(runner, home, "register", home.parent / "m.onnx", "--name", "gone")
    _run(runner, home, "rm", "-y", "gone")
    dead = f"{platform.node()}-{2**22 + 1}-ab"  # above every pid that Linux gives
    for place in ("store/.staging", "cache/conversions"):
        (home / place / dead / "part").mkdir(parents=True)


def old(runner: Runner, home: Path) -> None:
    """Make a database of the first schema, with a model in it."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    from onnxzoo.registry.database.schema import APPLICATION_ID

    nothing(runner, home)
    home.mkdir()
    config = Config()
    config.set_main_option("script_location", "onnxzoo.registry.database:migrations")
    config.set_main_option("path_separator", "os")
    engine = create_engine(f"sqlite:///{home / 'registry.db'}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    with closing(sqlite3.connect(home / "registry.db")) as rows:
        rows.execute("PRAGMA journal_mode = WAL")
        rows.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        rows.execute("INSERT INTO model (name, key, created_at) VALUES ('a', 'a', '2026-01-01')")
        rows.commit()


def exported(runner: Runner, home: Path) -> None:
    """Hold a model, and lay a file of two others beside the home."""
    elsewhere = home.with_name("elsewhere")
    one(runner, elsewhere)
    for value, name in enumerate(("kept", "second"), start=5):  # "kept" is held here in part
        path = models.linear(home.parent / "other.onnx", value=value)
        _run(runner, elsewhere, "register", path, "--name", name, "--new-version")
    _run(runner, elsewhere, "export", "kept", "second", "-o", home.parent / "m.zoo")
    shutil.rmtree(elsewhere)
    one(runner, home)


def locked(runner: Runner, home: Path) -> None:
    """Hold a model, and a lock of it and of one more that is to be fetched."""
    elsewhere = home.with_name("elsewhere")
    nothing(runner, elsewhere)
    models.external(home.parent / "kept.onnx", value=3)
    for name in ("m", "kept"):
        _run(runner, elsewhere, "register", home.parent / f"{name}.onnx", "--name", name)
    _run(runner, elsewhere, "lock", "m", "kept", "--lock", home.parent / "zoo.lock")
    shutil.rmtree(elsewhere)
    one(runner, home)


def damaged(runner: Runner, home: Path) -> None:
    """Damage the database, so that it is one no more."""
    one(runner, home)
    for path in home.glob("registry.db-*"):
        path.unlink()
    (home / "registry.db").write_bytes(b"garbage!" * 4096)


def _run(runner: Runner, home: Path, *words: object) -> None:
    ended = runner.run(words, home)
    if ended.code:
        raise RuntimeError(f"zoo {words}: {ended}")


TASKS = (
    Task("register first", ("register", "m.onnx", "--name", "new"), nothing),
    Task("register", ("register", "m.onnx", "--name", "new"), one),
    Task("pull", ("pull", "light-squeezenet"), one),
    Task("alias", ("alias", "kept@2", "stable"), one),
    Task("tag", ("tag", "kept", "fresh"), one),
    Task("rm", ("rm", "-y", "kept@2"), one, again=(0, 3)),
    Task("gc", ("gc",), garbage),
    Task("migrate", ("list",), old),
    Task("export", ("export", "kept", "-o", "out.zoo"), one, makes="out.zoo"),
    Task("import", ("import", "m.zoo"), exported),
    Task("lock", ("lock", "kept@2"), locked, makes="zoo.lock"),
    Task("sync", ("sync",), locked),
    Task("rebuild", ("doctor", "--rebuild"), damaged, again=(0, 5)),
    Task("convert", ("convert", "net.acme", "--name", "net"), converter, children=True,
         environment={"PYTHONPATH": "packages"}),
    Task("quantize", ("quantize", "matrix", "--to", "int8"), matrix, children=True),
    Task("opset", ("convert", "kept@2", "--opset", "19"), one, children=True),
)  # fmt: skip
