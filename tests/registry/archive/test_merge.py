"""Models carried from one registry to another in a file: what arrives, and what stays."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import onnx
import pytest

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import IntegrityError, Refused
from onnxzoo.registry.core.records import Draft, Lineage, Measurement, Variant
from onnxzoo.registry.core.settings import Settings
from onnxzoo.registry.onnx_file.describe import describe
from onnxzoo.zoo_index.zoo import Zoo
from tests.journeys.test_kills import assert_sound
from tests.support import models
from tests.support.archives import one_set, spread
from tests.support.commands import Run
from tests.support.hub import Hub, sha256

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CONTEXT: dict[str, str | int | float | None] = {"runtime": "1.32", "threads": 2, "batch": None}


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "there") as registry:
        yield registry


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "here") as registry:
        yield registry


def kept(
    registry: Registry,
    path: Path,
    name: str,
    value: float,
    *,
    label: str = "fp32",
    origin: str | None = None,
    new_version: bool = False,
    parent: Variant | None = None,
) -> Variant:
    """Keep a model of this value as pulled from an origin, or made from a parent."""
    path = models.linear(path / f"{value}.onnx", value=value)
    lineage = Lineage(parent.digest, parent.ref, {"kind": "half", "tools": {}}) if parent else None
    with registry.store.stage() as stage:
        stage.copy(path, "model.onnx")
        draft = Draft(
            name,
            "model.onnx",
            describe(path),
            "hf://acme/net",
            label,
            revision="ab12",
            origin=origin,
            lineage=lineage,
            new_version=new_version,
            force=True,
        )
        return registry.publish(stage, draft, "pull", must_open=False).variant


@pytest.fixture
def archive(there: Registry, tmp_path: Path) -> Path:
    """Two versions, three variants, and everything that can be known of them."""
    first = there.register(
        models.linear(tmp_path / "a.onnx"),
        "m",
        license="MIT",
        task="ranking",
        tags=["small"],
        test_data=spread(tmp_path / "data", one_set()),
    ).variant
    kept(there, tmp_path, "m", 1.5, label="fp16", parent=first)
    there.register(models.external(tmp_path / "b.onnx", value=2), "m")
    there.alias("m@1", "production")
    there.measure(first.ref, [Measurement("latency_p50", 0.25, "s", CONTEXT, WHEN)])
    there.export(["m"], tmp_path / "m.zoo")
    return tmp_path / "m.zoo"


def plain(variant: Variant) -> Variant:
    """Return a variant without what differs from home to home."""
    return replace(variant, path=Path(variant.path.name))


def test_everything_arrives(there: Registry, here: Registry, archive: Path) -> None:
    found = here.import_file(archive)
    assert [arrival.ref for arrival in found.variants] == ["m:fp16@1", "m:fp32@1", "m:fp32@2"]
    assert all(arrival.new and arrival.exported == arrival.ref for arrival in found.variants)
    assert list(map(plain, here.list())) == list(map(plain, there.list()))
    assert here.aliases("m") == {"latest": 2, "production": 1}
    parent = here.resolve("m:fp32@1")
    lineage = here.resolve("m:fp16@1").lineage
    assert lineage is not None
    assert lineage.parent == parent.digest
    assert (parent.license, parent.task, parent.tags) == ("MIT", "ranking", ("small",))
    assert here.measurements("m:fp32@1") == there.measurements("m:fp32@1")
    data, original = here.test_data("m@1"), there.test_data("m@1")
    assert data is not None
    assert original is not None
    assert (data.digest, data.source) == (original.digest, original.source)
    assert [checked.problems for checked in here.verify()] == [()] * 4
    here.load("m@2")


def test_what_arrived_exports_to_the_same_bytes(
    here: Registry, archive: Path, tmp_path: Path
) -> None:
    here.import_file(archive)
    here.export(["m"], tmp_path / "again.zoo")
    assert (tmp_path / "again.zoo").read_bytes() == archive.read_bytes()


def test_importing_twice_changes_nothing(here: Registry, archive: Path) -> None:
    assert here.import_file(archive).changed
    before = here.events(limit=1000), here.list(), here.measurements("m:fp32@1")
    again = here.import_file(archive)
    assert not again.changed
    assert [arrival.new for arrival in again.variants] == [False] * 3
    assert (here.events(limit=1000), here.list(), here.measurements("m:fp32@1")) == before


def test_what_was_damaged_is_repaired_and_that_is_said(here: Registry, archive: Path) -> None:
    here.import_file(archive)
    (variant, *_) = here.list()
    variant.path.chmod(0o644)
    variant.path.write_bytes(variant.path.read_bytes() + b"x")
    found = here.import_file(archive)
    assert variant.ref in found.repaired
    assert found.changed
    assert here.is_whole(variant)


def test_what_arrived_meanwhile_was_not_repaired(here: Registry, archive: Path) -> None:
    def other(*_: object) -> None:
        if not here.list():
            with Registry(here.settings.home) as beside:
                assert beside.import_file(archive).changed

    found = here.import_file(archive, progress=other)
    assert found.repaired == ()
    assert not found.changed


def test_a_part_of_a_model_can_be_carried(
    there: Registry, here: Registry, archive: Path, tmp_path: Path
) -> None:
    there.export(["m@2"], tmp_path / "part.zoo")
    here.import_file(tmp_path / "part.zoo")
    assert [variant.ref for variant in here.list()] == ["m:fp32@2"]
    assert here.aliases("m") == {"latest": 2}
    there.export(["m:fp16@1"], tmp_path / "part.zoo")
    here.import_file(tmp_path / "part.zoo")
    assert [variant.ref for variant in here.list()] == ["m:fp32@2", "m:fp16@1"]
    here.import_file(archive)
    assert list(map(plain, here.list())) == list(map(plain, there.list()))


def test_a_number_that_means_other_bytes_gives_way_and_the_order_stays(
    here: Registry, archive: Path, tmp_path: Path
) -> None:
    here.register(models.linear(tmp_path / "mine.onnx", value=7), "m")
    found = here.import_file(archive)
    assert [(a.exported, a.ref) for a in found.variants] == [
        ("m:fp16@1", "m:fp16@2"),
        ("m:fp32@1", "m:fp32@2"),
        ("m:fp32@2", "m:fp32@3"),
    ]
    assert here.aliases("m") == {"latest": 3, "production": 2}
    again = here.import_file(archive)
    assert not again.changed
    assert [(a.exported, a.ref) for a in again.variants] == [
        (a.exported, a.ref) for a in found.variants
    ]


def test_a_number_that_was_removed_is_not_given_to_other_bytes(
    here: Registry, archive: Path, tmp_path: Path
) -> None:
    here.register(models.linear(tmp_path / "mine.onnx", value=7), "m")
    here.register(models.linear(tmp_path / "other.onnx", value=8), "m")
    here.remove("m@1")
    found = here.import_file(archive)
    assert [arrival.ref for arrival in found.variants] == ["m:fp16@3", "m:fp32@3", "m:fp32@4"]


def test_a_version_that_was_removed_comes_back_under_its_number(
    there: Registry, here: Registry, archive: Path
) -> None:
    here.import_file(archive)
    here.remove("m@1", force=True)
    found = here.import_file(archive)
    assert [(a.ref, a.new) for a in found.variants] == [
        ("m:fp16@1", True),
        ("m:fp32@1", True),
        ("m:fp32@2", False),
    ]
    assert here.aliases("m") == {"latest": 2, "production": 1}


def test_versions_that_hold_the_same_bytes_stay_apart(
    there: Registry, here: Registry, tmp_path: Path
) -> None:
    kept(there, tmp_path, "m", 1, origin="zoo:m")
    kept(there, tmp_path, "m", 1, origin="zoo:m", new_version=True)
    kept(there, tmp_path, "m", 2, label="int8", origin="zoo:m", new_version=True)
    there.export(["m"], tmp_path / "m.zoo")
    here.register(models.linear(tmp_path / "mine.onnx", value=7), "m")
    refs = ["m:fp32@2", "m:fp32@3", "m:int8@4"]
    for _ in range(2):
        found = here.import_file(tmp_path / "m.zoo")
        assert [arrival.ref for arrival in found.variants] == refs
    assert not found.changed


def test_a_version_that_holds_more_is_not_taken_for_one_that_holds_less(
    there: Registry, here: Registry, tmp_path: Path
) -> None:
    kept(there, tmp_path, "m", 1)
    kept(there, tmp_path, "m", 1, new_version=True)
    kept(there, tmp_path, "m", 2, label="int8")
    there.export(["m"], tmp_path / "m.zoo")
    here.register(models.linear(tmp_path / "mine.onnx", value=7), "m")
    for _ in range(2):
        found = here.import_file(tmp_path / "m.zoo")
        assert [a.ref for a in found.variants] == ["m:fp32@2", "m:fp32@3", "m:int8@3"]
    assert not found.changed


def test_the_order_of_versions_stays_where_a_number_between_is_free(
    here: Registry, archive: Path, tmp_path: Path
) -> None:
    with Registry(tmp_path / "third") as third:
        for value in (7, 8, 9):
            third.register(models.linear(tmp_path / f"{value}.onnx", value=value), "m")
        third.export(["m@1", "m@3"], tmp_path / "third.zoo")
    here.import_file(tmp_path / "third.zoo")
    found = here.import_file(archive)
    assert [arrival.ref for arrival in found.variants] == ["m:fp16@4", "m:fp32@4", "m:fp32@5"]


def test_a_version_of_the_same_origin_is_the_same_version(
    there: Registry, here: Registry, tmp_path: Path
) -> None:
    kept(there, tmp_path, "m", 1, label="int8", origin="zoo:m")
    kept(here, tmp_path, "m", 7, origin="acme:m")
    kept(here, tmp_path, "m", 2, label="fp32", origin="zoo:m")
    there.export(["m"], tmp_path / "m.zoo")
    found = here.import_file(tmp_path / "m.zoo")
    assert [(a.exported, a.ref) for a in found.variants] == [("m:int8@1", "m:int8@2")]


def test_what_is_pulled_later_joins_the_version_of_its_origin(
    there: Registry, here: Registry, tmp_path: Path
) -> None:
    kept(there, tmp_path, "m", 1, origin="zoo:m")
    there.export(["m"], tmp_path / "m.zoo")
    here.import_file(tmp_path / "m.zoo")
    kept(here, tmp_path, "m", 9, origin="acme:m", label="other")
    assert kept(here, tmp_path, "m", 3, label="int8", origin="zoo:m").ref == "m:int8@1"


def test_an_alias_that_points_elsewhere_stays(
    here: Registry, archive: Path, tmp_path: Path
) -> None:
    here.register(models.linear(tmp_path / "mine.onnx", value=7), "m")
    here.alias("m@1", "production")
    found = here.import_file(archive)
    assert found.kept == (("m@production", "m:fp32@1", "m:fp32@2"),)
    assert here.aliases("m")["production"] == 1
    moved = here.import_file(archive, move_aliases=True)
    assert (moved.set, moved.kept) == (("m@production",), ())
    assert here.aliases("m")["production"] == 2
    assert not here.import_file(archive, move_aliases=True).changed


def test_the_newer_measurement_of_a_context_stays(
    there: Registry, here: Registry, archive: Path, tmp_path: Path
) -> None:
    here.import_file(archive)
    newer = Measurement("latency_p50", 0.5, "s", CONTEXT, WHEN + timedelta(days=1))
    other = Measurement("latency_p50", 0.7, "s", {**CONTEXT, "threads": 1}, WHEN)
    here.measure("m:fp32@1", [newer])
    there.measure("m:fp32@1", [other])
    there.export(["m"], archive)
    assert here.import_file(archive).measurements == 1
    assert sorted(one.value for one in here.measurements("m:fp32@1")) == [0.5, 0.7]


def test_test_data_of_ones_own_stay(here: Registry, archive: Path, tmp_path: Path) -> None:
    own = spread(tmp_path / "own", one_set() | one_set(number=1))
    here.register(tmp_path / "a.onnx", "m", test_data=own)
    mine = here.test_data("m@1")
    found = here.import_file(archive)
    assert (found.data, found.other_data) == ((), ("m@1",))
    assert here.test_data("m@1") == mine


def test_what_was_not_known_of_held_bytes_is_added(
    here: Registry, archive: Path, tmp_path: Path
) -> None:
    here.register(tmp_path / "a.onnx", "m", license="Apache-2.0", tags=["mine"])
    found = here.import_file(archive)
    assert found.facts
    variant = here.resolve("m:fp32@1")
    assert (variant.license, variant.task) == ("Apache-2.0", "ranking")
    assert variant.tags == ("mine", "small")


def test_a_name_is_found_in_whatever_spelling(
    there: Registry, here: Registry, tmp_path: Path
) -> None:
    path = models.linear(tmp_path / "a.onnx")
    there.register(path, "my_net")
    there.export(["my-net"], tmp_path / "m.zoo")
    here.register(path, "my-net")
    (arrival,) = here.import_file(tmp_path / "m.zoo").variants
    assert (arrival.ref, arrival.new) == ("my-net:fp32@1", False)


def test_a_failing_import_leaves_nothing(here: Registry, archive: Path, tmp_path: Path) -> None:
    """The last byte of the last file is wrong: all that came before it was right."""
    whole = bytearray(archive.read_bytes())
    end = len(bytes(whole).rstrip(b"\0")) - 1
    whole[end] ^= 1
    archive.write_bytes(whole)
    with pytest.raises(IntegrityError):
        here.import_file(archive)
    assert here.list() == []
    assert list(here.store.digests()) == []


def test_test_data_of_another_shape_are_refused(
    there: Registry, here: Registry, archive: Path, tmp_path: Path
) -> None:
    with there.store.stage() as stage:
        stage.write([b"\x0a\x00"], "elsewhere/readme.txt")
        there.keep_test_data("m:fp32@1", stage, "x")
    there.export(["m"], archive)
    with pytest.raises(Refused, match="which is none"):
        here.import_file(archive)
    assert here.list() == []


def test_import_and_export_in_the_command_line(
    zoo: Run, here: Registry, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = zoo("import", archive)
    assert first.code == 0
    assert first.out.splitlines() == [
        "imported m:fp16@1",
        "imported m:fp32@1",
        "imported m:fp32@2",
        "set the alias m@production",
        "kept the test data of m@1",
        "kept 1 measurement",
    ]
    assert zoo("import", archive).out == f"nothing to do: all of {archive} is held already\n"
    assert zoo("import", archive, "-q").out.split() == ["m:fp16@1", "m:fp32@1", "m:fp32@2"]
    (said,) = json.loads(zoo("import", archive, "--json").out)
    assert said["changed"] is False
    assert said["variants"][0] == {"exported": "m:fp16@1", "ref": "m:fp16@1", "new": False}
    out = tmp_path / "out.zoo"
    ran = zoo("export", "m", "-o", out)
    assert ran.out.splitlines() == [
        f"wrote {out}: 3 variants, {out.stat().st_size / 1000:.1f} kB",
        f"pin it: zoo import {out}#sha256={sha256(out)}",
    ]
    assert zoo(*ran.out.split()[-2:]).out.startswith("nothing to do")
    assert out.read_bytes() == archive.read_bytes()
    said = json.loads(zoo("export", "m", "-o", out, "--json").out)
    assert said["sha256"] == sha256(out)
    assert said["variants"] == ["m:fp16@1", "m:fp32@1", "m:fp32@2"]
    assert said["members"][0]["name"].startswith("models/m@1/fp16/")


def test_everything_is_exported_where_nothing_is_named(
    zoo: Run, archive: Path, tmp_path: Path
) -> None:
    ran = zoo("export", "-o", tmp_path / "all.zoo")
    assert (ran.code, ran.err) == (
        3,
        "error: no model is held; expected one to export\nhint: zoo search\n",
    )
    assert not (tmp_path / "all.zoo").exists()
    zoo("import", archive)
    zoo("register", models.linear(tmp_path / "mine.onnx", value=7), "--name", "mine")
    ran = zoo("export", "-o", tmp_path / "all.zoo", "-q")
    assert ran.out.split() == ["m:fp16@1", "m:fp32@1", "m:fp32@2", "mine:fp32@1"]


def test_a_new_number_is_said(zoo: Run, archive: Path, tmp_path: Path) -> None:
    zoo("register", models.linear(tmp_path / "mine.onnx", value=7), "--name", "m")
    zoo("alias", "m@1", "production")
    ran = zoo("import", archive)
    assert "m:fp32@2 → m:fp32@3\n" in ran.out
    assert ran.err == "kept m@production: it is m:fp32@1 here; --move-aliases makes it m:fp32@2\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["export", "none", "-o", "x.zoo"], 3, "no model `none`"),
        (["export", "m", "-o", "."], 2, "is a folder"),
        (["export", "m", "-o", "none/x.zoo"], 7, "none"),
        (["export", "m", "-o", "-", "--json"], 2, "both write to stdout"),
        (["import", "none.zoo"], 3, "none.zoo"),
        (["import", "."], 3, "no `.zoo` file in"),
        (["import", "a.zoo#sha256=12"], 2, "is no pin"),
        (["import", "http://example.org/a.zoo"], 5, "not encrypted"),
    ],
)
def test_what_cannot_be_is_said(
    zoo: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
    said: str,
) -> None:
    (tmp_path / "empty").mkdir()
    zoo("register", models.linear(tmp_path / "m.onnx"), "--name", "m")
    monkeypatch.chdir(tmp_path / "empty")
    ran = zoo(*words)
    assert ran.code == code
    assert said in ran.err
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_file_goes_through_a_pipe(archive: Path, there: Registry, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "onnxzoo", "export", "m", "-o", "-"],
        env={**os.environ, "ZOO_HOME": str(tmp_path / "there")},
        check=True,
        capture_output=True,
    )
    assert done.stdout == archive.read_bytes()
    assert done.stderr == b""


def test_a_folder_of_files_is_imported_file_by_file(
    zoo: Run, there: Registry, archive: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "usb"
    folder.mkdir()
    there.export(["m@1"], folder / "1.zoo")
    there.export(["m@2"], folder / "2.zoo")
    (folder / "0.zoo").write_bytes(b"no archive")
    (folder / "readme.txt").write_text("hello")
    ran = zoo("import", folder)
    assert ran.code == 5
    assert "imported m:fp32@2\n" in ran.out
    assert "`0.zoo` is not what zoo export writes" in ran.err
    assert zoo("list", "-q").out.split() == ["m:fp32@2", "m:fp16@1", "m:fp32@1"]


def test_a_web_server_of_files_is_a_source(zoo: Run, archive: Path, tmp_path: Path) -> None:
    with Hub() as hub:
        url = hub.put("/m.zoo", archive)
        ran = zoo("import", f"{url}#sha256={'0' * 64}")
        assert ran.code == 4
        assert zoo("list", "-q").out == ""
        ran = zoo("import", f"{url}#sha256={sha256(archive)}")
        assert ran.code == 0
        assert "imported m:fp32@2\n" in ran.out
        ran = zoo("import", url)
        assert ran.out == f"nothing to do: all of {url} is held already\n"
    assert [p for p in (tmp_path / "home/cache/downloads").iterdir() if p.suffix != ".lock"] == []


def test_a_broken_transfer_goes_on_where_it_stopped(
    zoo: Run, there: Registry, tmp_path: Path
) -> None:
    there.register(models.sized(tmp_path / "big.onnx", 8), "big")
    there.export(["big"], tmp_path / "big.zoo")
    with Hub() as hub:
        url = hub.put("/big.zoo", tmp_path / "big.zoo")
        hub.fault("cut", after=4_000_000)
        assert zoo("import", url).code == 0
        assert len(hub.bodies()) == 2
        assert "range" in hub.bodies()[1].headers


def test_a_local_file_can_be_pinned(zoo: Run, archive: Path) -> None:
    assert zoo("import", f"{archive}#sha256={'0' * 64}").code == 4
    assert zoo("import", f"{archive}#sha256={sha256(archive)}").code == 0
    assert archive.exists()


def killed(words: list[str], home: Path, seen: Callable[[], bool], wait: float) -> bool:
    """Run a command and kill it soon after something is seen; return whether it had ended."""
    process = subprocess.Popen(
        [sys.executable, "-m", "onnxzoo", *words],
        env={**os.environ, "ZOO_HOME": str(home)},
        stdout=subprocess.DEVNULL,
    )
    while process.poll() is None and not seen():
        time.sleep(0.001)
    time.sleep(wait)
    ended = process.poll() is not None
    process.kill()
    process.wait()
    return ended


def test_a_kill_in_mid_import_leaves_a_sound_registry_with_all_or_nothing(
    settings: Settings, there: Registry, tmp_path: Path
) -> None:
    there.register(models.sized(tmp_path / "1.onnx", 20), "big")
    there.register(models.sized(tmp_path / "2.onnx", 20, value=2), "big")
    there.export(["big"], tmp_path / "big.zoo")
    words, staging = ["import", str(tmp_path / "big.zoo")], settings.home / "store/.staging"
    ended = []
    for number in range(6):
        ended.append(killed(words, settings.home, lambda: any(staging.glob("*/*")), number * 0.06))
        assert_sound(settings)
        with Registry(settings=settings) as registry:
            assert len(registry.list()) in ({2} if ended[-1] else {0, 2})
            for variant in registry.list():
                registry.remove(variant.ref)
            registry.gc()
            assert list(staging.glob("*")) == []
    assert False in ended
    subprocess.run(
        [sys.executable, "-m", "onnxzoo", *words],
        env={**os.environ, "ZOO_HOME": str(settings.home)},
        check=True,
    )
    assert_sound(settings)


def test_a_killed_export_leaves_no_file_that_looks_whole(
    settings: Settings, tmp_path: Path
) -> None:
    with Registry(settings=settings) as registry:
        registry.register(models.sized(tmp_path / "1.onnx", 40), "big")
    out = tmp_path / "out"
    out.mkdir()
    words, ended = ["export", "big", "-o", str(out / "big.zoo")], []
    for number in range(4):
        ended.append(killed(words, settings.home, lambda: any(out.iterdir()), number * 0.01))
        for path in out.iterdir():
            assert path.name == "big.zoo" or path.suffix == ".exporting"
        if (out / "big.zoo").exists():
            with Registry(tmp_path / "here") as here:
                here.import_file(out / "big.zoo")
        for path in out.iterdir():
            path.unlink()
    assert False in ended


@pytest.mark.parametrize(("kept", "code"), [(slice(-1024), 4), (slice(512, None), 5)])
def test_an_error_names_the_url_that_was_imported(
    zoo: Run, archive: Path, kept: slice, code: int
) -> None:
    with Hub() as hub:
        url = hub.put("/m.zoo", archive.read_bytes()[kept])
        ran = zoo("import", f"{url}?token=canary-query")
    assert ran.code == code
    assert f"error: `{url}` " in ran.err
    assert "canary" not in ran.err


def test_offline_mode_forbids_a_url_only(
    zoo: Run, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    assert zoo("import", "https://example.org/m.zoo").code == 6
    assert zoo("import", archive).code == 0


def test_what_was_imported_is_not_pulled_again(zoo: Run, tmp_path: Path) -> None:
    with Zoo(Registry(tmp_path / "there")) as there:
        there.pull("light-squeezenet")
        there.registry.export(["light-squeezenet"], tmp_path / "m.zoo")
    assert zoo("import", tmp_path / "m.zoo").code == 0
    assert zoo("pull", "light-squeezenet").out == "light-squeezenet:fp32@1 is held already\n"


def test_an_import_takes_the_domains_that_are_allowed(
    zoo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = models.linear(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.node[0].domain = "com.acme"
    model.opset_import.append(onnx.helper.make_opsetid("com.acme", 1))
    onnx.save(model, path)
    assert zoo("register", path, "--name", "m", "--allow-domain", "com.acme").code == 0
    assert zoo("export", "m", "-o", tmp_path / "m.zoo").code == 0
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "other"))
    ran = zoo("import", tmp_path / "m.zoo")
    assert (ran.code, "--allow-domain com.acme" in ran.err) == (5, True)
    assert zoo("import", tmp_path / "m.zoo", "--allow-domain", "com.acme").code == 0
