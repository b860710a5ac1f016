"""Where models enter: what is refused there, and what users rely on."""

import json
import os
from pathlib import Path

import pytest
from onnx import helper

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import Refused
from onnxzoo.registry.core.settings import Settings
from tests.registry.maintenance.test_rebuild import flip
from tests.support import hostile, models
from tests.support.commands import Run

FOREIGN = hostile.written(
    hostile.model(
        hostile.graph([hostile.node("Foo", domain="com.acme")]),
        opsets=[*hostile.OPSETS, helper.make_opsetid("com.acme", 1)],
    )
)
# One of each kind; `test_guard` has them all.
KINDS = [
    "external: above",
    "external: a pipe",
    "external: the model itself",
    "external: a hard link",
    "external: a folder that is a link",
    "external: short",
    "external: another checksum",
    "tensor: too few bytes",
    "folding: a filled shape",
    "function: doubled twenty-four times",
    "form: a byte too much",
    "form: two models",
    "domain: foreign",
]
CASES = [case for case in hostile.cases() if case.name in KINDS]
assert len(CASES) == len(KINDS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("words", [("register",), ("pull",)], ids=lambda words: words[0])
def test_a_hostile_model_does_not_enter(
    zoo: Run, tmp_path: Path, case: hostile.Case, words: tuple[str, ...]
) -> None:
    ran = zoo(*words, case.build(tmp_path), "--name", "net")
    assert (ran.code, ran.out) == (5, "")
    assert "\nerror: " in f"\n{ran.err}"
    assert zoo("list", "-q").out == ""


def test_a_pipe_that_takes_the_models_own_place_is_not_waited_for(zoo: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.onnx")
    for words in (("register",), ("pull",), ("show",)):
        named = [] if words == ("show",) else ["--name", "net"]
        assert zoo(*words, tmp_path / "m.onnx", *named).code == 3


def test_nothing_but_a_plain_file_is_copied(home: Path, tmp_path: Path) -> None:
    from onnxzoo.registry.core.errors import StorageError
    from onnxzoo.registry.store import Store

    os.mkfifo(tmp_path / "pipe")
    with Store(home / "store").stage() as stage, pytest.raises(StorageError, match="plain file"):
        stage.copy(tmp_path / "pipe", "w.bin")


def test_a_foreign_domain_enters_where_it_is_allowed(
    zoo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = FOREIGN(tmp_path)
    assert zoo("register", path, "--name", "a").code == 5
    assert zoo("register", path, "--name", "a", "--allow-domain", "com.acme").code == 0
    assert zoo("pull", path, "--name", "b", "--allow-domain", "com.acme").code == 0
    monkeypatch.setenv("ZOO_ALLOW_DOMAINS", "org.other, com.acme")
    assert zoo("register", path, "--name", "c").code == 0
    assert [*Settings.from_env().allow_domains] == ["org.other", "com.acme"]


def test_what_a_file_would_be_refused_for_is_shown(zoo: Run, tmp_path: Path) -> None:
    path = FOREIGN(tmp_path)
    shown = zoo("show", path)
    assert shown.code == 0
    assert "refused" in shown.out
    assert "`com.acme`" in json.loads(zoo("show", path, "--json").out)["refused"]
    sound = models.linear(tmp_path / "sound.onnx")
    assert json.loads(zoo("show", sound, "--json").out)["refused"] is None
    assert "refused" not in zoo("show", sound).out


def cached(folder: Path, blob: Path | None = None) -> Path:
    """Make a repository as Hugging Face's cache keeps one: snapshots of links into blobs."""
    repo = folder / "hub" / "models--acme--net"
    snapshot = repo / "snapshots" / "0a1b2c" / "onnx"
    (repo / "blobs").mkdir(parents=True)
    made = models.external(folder / "made" / "model.onnx", "model.onnx_data")
    snapshot.mkdir(parents=True)
    for number, name in enumerate(("model.onnx", "model.onnx_data")):
        (made.parent / name).rename(repo / "blobs" / str(number))
        (snapshot / name).symlink_to(Path("../../../blobs") / str(number))
    if blob is not None:
        (snapshot / "model.onnx_data").unlink()
        (snapshot / "model.onnx_data").symlink_to(blob)
    return snapshot / "model.onnx"


def test_a_file_of_the_hugging_face_cache_is_taken_through_its_links(
    zoo: Run, tmp_path: Path
) -> None:
    path = cached(tmp_path)
    assert zoo("register", path, "--name", "net").code == 0
    assert zoo("pull", path, "--name", "net").code == 0
    os.link(path.parents[3] / "blobs" / "1", tmp_path / "twin")  # as deduplication leaves it
    assert zoo("register", path, "--name", "net").code == 0
    files = json.loads(zoo("show", "net", "--json").out)["files"]
    assert [file["path"] for file in files] == ["model.onnx", "model.onnx_data"]


@pytest.mark.parametrize("where", ["elsewhere", "hub/models--acme--other/blobs/0"])
def test_a_link_out_of_its_own_repository_is_refused(zoo: Run, tmp_path: Path, where: str) -> None:
    secret = tmp_path / where
    secret.parent.mkdir(parents=True, exist_ok=True)
    secret.write_bytes(bytes(16))
    ran = zoo("register", cached(tmp_path, secret), "--name", "net")
    assert ran.code == 5
    assert "is a symbolic link" in ran.err


def test_a_link_that_the_user_names_is_followed(zoo: Run, tmp_path: Path) -> None:
    models.linear(tmp_path / "real" / "m.onnx")
    (tmp_path / "m.onnx").symlink_to("real/m.onnx")
    os.link(tmp_path / "real" / "m.onnx", tmp_path / "hard.onnx")
    assert zoo("register", tmp_path / "m.onnx", "--name", "net").code == 0
    assert zoo("register", tmp_path / "hard.onnx", "--name", "net").code == 0


def test_publishing_walks_whatever_brought_it(home: Path, tmp_path: Path) -> None:
    """The last gate: a caller that forgot to look is stopped here."""
    from onnxzoo.registry.core.records import Draft
    from onnxzoo.registry.onnx_file.describe import describe

    path = FOREIGN(tmp_path)
    with Registry() as registry, registry.store.stage() as stage:
        stage.copy(path, "m.onnx")
        draft = Draft(name="net", entry="m.onnx", graph=describe(path), source="test")
        with pytest.raises(Refused, match=r"com\.acme"):
            registry.publish(stage, draft, "test", must_open=False)
        registry.publish(stage, draft, "test", must_open=False, domains=["com.acme"])


def test_what_a_graph_was_compiled_into_is_kept_with_it(zoo: Run, tmp_path: Path) -> None:
    path = hostile.compiled("c.bin", lambda place: place.write_bytes(b"compiled"))(tmp_path)
    assert zoo("register", path, "--name", "net").code == 0
    (tmp_path / "c.bin").unlink()
    kept = Path(zoo("path", "net").out.strip()).with_name("c.bin")
    assert kept.read_bytes() == b"compiled"
    assert zoo("register", path, "--name", "net").code == 3


def test_what_is_held_from_before_is_walked_again_and_stays(
    home: Path, tmp_path: Path, zoo: Run
) -> None:
    from onnxzoo.registry.core.records import Draft
    from onnxzoo.registry.database import writes
    from onnxzoo.registry.database.database import Database
    from onnxzoo.registry.onnx_file.describe import describe

    (bomb,) = [case for case in CASES if case.name == "folding: a filled shape"]
    assert zoo("register", models.linear(tmp_path / "whole.onnx"), "--name", "whole").code == 0
    foreign = ("--name", "own", "--allow-domain", "com.acme")
    assert zoo("register", FOREIGN(tmp_path), *foreign).code == 0
    with Registry() as registry, registry.store.stage() as stage:
        stage.copy(path := bomb.build(tmp_path), "m.onnx")
        draft = Draft(name="net", entry="m.onnx", graph=describe(path), source="test")
        with Database(home / "registry.db").write() as session:  # no guard stood here once
            writes.add(session, draft, registry.store.publish(stage), "test")
    ran = zoo("verify")
    assert (ran.code, ran.out) == (5, "3 of 3 bundles are whole\n")
    assert "refused today: net:fp32@1: the constants of `m.onnx` become" in ran.err
    assert "hint: zoo rm net:fp32@1" in ran.err
    assert zoo("verify", "--repair", "-q").out == "net:fp32@1\n"
    assert zoo("verify", "whole").code == 0
    found = {item["refs"][0]: item for item in json.loads(zoo("verify", "--json").out)}
    assert [*map(len, (found["net:fp32@1"]["refused"], found["whole:fp32@1"]["refused"]))] == [1, 0]
    flip(Path(zoo("path", "whole").out.strip()))
    assert zoo("verify").code == 4
