"""A bundle that the database knows and this machine's store has not: not here, not damaged."""

from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import pytest

import onnxzoo
from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import IntegrityError, NotFound
from onnxzoo.registry.core.settings import Settings
from onnxzoo.zoo_index.zoo import Zoo
from tests.support import models
from tests.support.commands import Run


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Path:
    """Register a model with another home and the same database, and return the model's file."""
    url = f"sqlite:///{tmp_path}/shared.db"
    monkeypatch.setenv("ZOO_DATABASE_URL", url)
    path = models.linear(tmp_path / "m.onnx")
    other = replace(settings, home=tmp_path / "other", database_url=url)
    with Registry(settings=other) as registry:
        registry.register(path, "mine")
    return path


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    "words",
    [
        "path mine",
        "run mine",
        "bench mine",
        "export mine -o x.zoo",
        "lock mine",
        "verify",
        "doctor",
    ],
)
def test_a_bundle_of_another_machine_is_not_here(
    zoo: Run, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = zoo(*words.split())
    assert (ran.code, "not here" in ran.out + ran.err) == (3, True), ran
    assert "damaged" not in ran.out + ran.err
    assert "--repair" in ran.out + ran.err


@pytest.mark.usefixtures("elsewhere")
def test_lists_say_so_and_succeed(zoo: Run) -> None:
    ran = zoo("list")
    assert (ran.code, ran.err) == (0, "not here: mine:fp32@1; zoo verify mine --repair\n")
    assert "not here: zoo verify mine --repair" in zoo("show", "mine").out
    with pytest.raises(NotFound, match="`mine:fp32@1` is registered, but not here"):
        onnxzoo.load("mine")


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("words", ["verify --repair", "pull mine", "pull mine@1"])
def test_it_is_fetched_again_from_its_source(zoo: Run, words: str) -> None:
    ran = zoo(*words.split())
    assert ran.code == 0, ran.err
    assert zoo("verify").code == 0
    assert zoo("path", "mine").code == 0


@pytest.mark.usefixtures("elsewhere")
def test_nothing_is_fetched_by_a_dry_run(zoo: Run) -> None:
    ran = zoo("pull", "mine", "--dry-run")
    assert (ran.code, "nothing was fetched" in ran.err) == (0, True)
    assert zoo("verify").code == 3


def test_a_source_that_is_gone_is_named(zoo: Run, elsewhere: Path) -> None:
    elsewhere.unlink()
    for words in ("verify --repair", "pull mine"):
        ran = zoo(*words.split())
        assert (ran.code, str(elsewhere) in ran.err) == (3, True), ran.err
        assert "zoo import" in ran.err


def test_verify_tells_what_is_damaged_from_what_is_not_here(zoo: Run, elsewhere: Path) -> None:
    with Registry() as registry:
        held = registry.register(models.linear(elsewhere.parent / "n.onnx", value=2), "held")
    held.variant.path.chmod(0o644)
    held.variant.path.write_bytes(b"other bytes")
    for _ in range(2):  # set aside, it is damaged still
        ran = zoo("verify")
        assert ran.code == 4
        assert "damaged: held:fp32@1" in ran.err
        assert "not here: mine:fp32@1" in ran.err
        with pytest.raises(IntegrityError), Zoo() as opened:
            opened.registry.check_there(held.variant)
    with Registry() as registry:
        assert [event.reference for event in registry.events() if event.action == "damage"] == [
            "held:fp32@1",
            "held:fp32@1",
        ]


def test_a_bundle_with_a_file_missing_is_damaged(tmp_path: Path, settings: Settings) -> None:
    with Registry(settings=settings) as registry:
        path = models.external(tmp_path / "m.onnx")
        variant = registry.register(path, "mine").variant
        (variant.path.parent / "m.onnx").unlink()
        with pytest.raises(IntegrityError):
            registry.check_there(variant)
        rmtree(registry.store.path(variant.digest))
        with pytest.raises(NotFound, match="not here"):
            registry.check_there(variant)


def test_a_lock_finds_it_missing(
    zoo: Run, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(elsewhere.parent)
    monkeypatch.setenv("ZOO_HOME", str(elsewhere.parent / "other"))
    assert zoo("lock", "mine").code == 0
    monkeypatch.setenv("ZOO_HOME", str(elsewhere.parent / "home"))
    ran = zoo("sync", "--check")
    assert (ran.code, "missing" in ran.out) == (3, True), ran
    assert zoo("sync").code == 0
    assert zoo("sync", "--check").code == 0


def test_every_command_names_the_same_way_back(zoo: Run, home: Path, tmp_path: Path) -> None:
    joblib, linear = pytest.importorskip("joblib"), pytest.importorskip("sklearn.linear_model")
    file = tmp_path / "net.joblib"
    joblib.dump(linear.LinearRegression().fit([[0.0, 1.0], [1.0, 0.0]], [0.0, 1.0]), file)
    ran = zoo("convert", file, "--name", "net", "--trust", "-q")
    assert ran.code == 0, ran.err
    (ref,) = ran.out.split()
    rmtree(zoo("path", ref).out.rsplit("/", 1)[0])
    way = f"zoo convert {file} --name {ref} --from sklearn"
    assert [
        way in found for found in (zoo("list").err, zoo("show", ref).out, zoo("run", ref).err)
    ] == [
        True,
        True,
        True,
    ]
