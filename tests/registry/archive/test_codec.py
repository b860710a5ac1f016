"""A `.zoo` file: what is written, and that nothing else is ever read."""

import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from onnxzoo.registry.api import Registry
from onnxzoo.registry.archive.tar import HEADER, MANIFEST, _check_header, _header, opened
from onnxzoo.registry.core.errors import IntegrityError, NotFound, Refused, StorageError, ZooError
from onnxzoo.registry.core.manifest import File, Manifest
from onnxzoo.zoo_index.index.zoo_entries import entries_below
from tests.support import hostile, models
from tests.support.archives import header, tar, twins, zoo
from tests.support.hub import sha256

Values = dict[str, Any]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An export of two models, one of them with external data."""
    with Registry(tmp_path / "there") as there:
        there.register(models.linear(tmp_path / "a.onnx"), "a", license="MIT")
        there.register(models.external(tmp_path / "b.onnx"), "b")
        there.export(["b", "a"], tmp_path / "models.zoo")
    return tmp_path / "models.zoo"


def members_of(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]


def written(path: Path, members: list[tuple[str, bytes] | tarfile.TarInfo]) -> Path:
    """Write a tar archive of these members that ends as ours do."""
    tar(path, members, mode="w:")
    data = path.read_bytes()
    end = len(data.rstrip(b"\0"))
    path.write_bytes(data[: end + -end % 512] + bytes(1024))
    return path


def changed(path: Path, change: Callable[[Values], object]) -> Path:
    """Write an archive again whose manifest was changed."""
    members = members_of(path)
    values = json.loads(members[MANIFEST])
    change(values)
    members[MANIFEST] = json.dumps(values).encode()
    return written(path, list(members.items()))


def assert_refused(path: Path, home: Path, kind: type[ZooError], match: str) -> None:
    """Assert that an archive is refused, and that nothing of it is left."""
    with Registry(home / "here") as here:
        with pytest.raises(kind, match=match) as caught:
            here.import_file(path)
        assert type(caught.value) is kind
        assert here.list() == []
        assert list(here.store.digests()) == []
        assert list((home / "here" / "store" / ".staging").glob("*")) == []


def test_the_manifest_comes_first_and_the_files_have_names_that_tell(archive: Path) -> None:
    listed = subprocess.run(["tar", "tf", archive], check=True, capture_output=True, text=True)
    assert listed.stderr == ""
    assert listed.stdout.splitlines() == [
        "zoo.json",
        "models/a@1/fp32/a.onnx",
        "models/b@1/fp32/b.onnx",
        "models/b@1/fp32/weights.bin",
    ]


def test_the_members_carry_no_time_and_no_owner(archive: Path) -> None:
    with tarfile.open(archive) as members:
        for info in members:
            assert (info.mtime, info.uid, info.gid, info.mode) == (0, 0, 0, 0o644)
            assert (info.uname, info.gname) == ("", "")


def test_exporting_twice_gives_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    with Registry(tmp_path / "there") as there:
        there.export(["a", "b", "a@1"], tmp_path / "again.zoo")
    assert (tmp_path / "again.zoo").read_bytes() == archive.read_bytes()


def test_our_own_rewriting_is_read(archive: Path, tmp_path: Path) -> None:
    """What the other tests change is refused for the change alone."""
    written(archive, list(members_of(archive).items()))
    with Registry(tmp_path / "here") as here:
        assert here.import_file(archive).changed


def test_every_byte_counts(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    with opened(archive) as packed:
        places = [packed.offsets[m.sha256] + m.bytes // 2 for m in packed.contents.members]
        ends = [packed.offsets[m.sha256] + m.bytes for m in packed.contents.members]
    for at in [*places, *(end for end in ends if end % 512)]:
        archive.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert_refused(archive, tmp_path, IntegrityError, "SHA-256|between its members")


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_what_is_cut_off_is_refused(archive: Path, tmp_path: Path, keep: float) -> None:
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * keep)])
    assert_refused(archive, tmp_path, IntegrityError, "cut off")


@pytest.mark.parametrize("tail", [b"x", bytes(512), b"x" * 10_000])
def test_what_lies_behind_the_end_is_refused(archive: Path, tmp_path: Path, tail: bytes) -> None:
    archive.write_bytes(archive.read_bytes() + tail)
    assert_refused(archive, tmp_path, IntegrityError, "behind its end")


@pytest.mark.parametrize(
    ("member", "match"),
    [
        (header("models/a@1/fp32/a.onnx", tarfile.SYMTYPE, "/etc/passwd"), "a symbolic link"),
        (header("models/a@1/fp32/a.onnx", tarfile.LNKTYPE, MANIFEST), "a hard link"),
        (header("models/a@1/fp32/a.onnx", tarfile.CHRTYPE), "a device"),
        (header("models/a@1/fp32/a.onnx", tarfile.FIFOTYPE), "a pipe"),
        (header("models", tarfile.DIRTYPE), "a folder"),
        (("/etc/passwd", b"x"), "holds `/etc/passwd`"),
        (("../../climbs", b"x"), "holds `../../climbs`"),
        (("models/a@1/fp32/a.onnx", b"another size"), "of 12 bytes; its manifest says"),
    ],
)
def test_a_member_in_another_ones_place_is_refused(
    archive: Path, tmp_path: Path, member: Any, match: str
) -> None:
    first, _, *rest = members_of(archive).items()
    odd = written(tmp_path / "odd.zoo", [first, member, *rest])
    filled = odd.read_bytes()
    missing = archive.stat().st_size - len(filled)
    assert missing >= 0
    # As long as it should be, so that the member itself is what is seen to be wrong.
    odd.write_bytes(filled[:-1024] + bytes(missing) + bytes(1024))
    assert_refused(odd, tmp_path, Refused, match)


@pytest.mark.parametrize("twice", [0, 1, 2, 3])
def test_a_member_too_many_is_refused(archive: Path, tmp_path: Path, twice: int) -> None:
    members = list(members_of(archive).items())
    odd = written(tmp_path / "odd.zoo", [*members, members[twice]])
    assert_refused(odd, tmp_path, IntegrityError, "behind its end")


def test_members_in_another_order_are_refused(archive: Path, tmp_path: Path) -> None:
    first, second, third, fourth = members_of(archive).items()
    odd = written(tmp_path / "odd.zoo", [first, third, second, fourth])
    assert_refused(odd, tmp_path, Refused, "its manifest says `models/a@1/fp32/a.onnx`")


def test_what_tar_makes_of_the_files_is_refused(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    subprocess.run(["tar", "xf", archive, "-C", folder], check=True)
    subprocess.run(["tar", "cf", tmp_path / "odd.zoo", "-C", folder, "."], check=True)
    assert_refused(tmp_path / "odd.zoo", tmp_path, Refused, "not what zoo export writes")
    subprocess.run(
        ["tar", "cf", tmp_path / "odd.zoo", "-C", folder, MANIFEST, "models"], check=True
    )
    assert_refused(tmp_path / "odd.zoo", tmp_path, IntegrityError, "behind its end|cut off")
    subprocess.run(["tar", "czf", tmp_path / "odd.zoo", "-C", folder, MANIFEST], check=True)
    assert_refused(tmp_path / "odd.zoo", tmp_path, Refused, "not what zoo export writes")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x" * 2000, bytes(2048)])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.zoo").write_bytes(content)
    assert_refused(tmp_path / "odd.zoo", tmp_path, Refused, "not what zoo export writes")


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with Registry(tmp_path / "here") as here, pytest.raises(NotFound, match="no file"):
        here.import_file(tmp_path / "none.zoo")


def test_a_newer_format_is_refused_by_its_number(archive: Path, tmp_path: Path) -> None:
    changed(archive, lambda values: values.update(version=2))
    assert_refused(archive, tmp_path, Refused, "format 2; this release reads 1")


@pytest.mark.parametrize("size", [20 << 30, 9 << 20])
def test_a_manifest_that_claims_too_much_is_not_read(tmp_path: Path, size: int) -> None:
    info = tarfile.TarInfo(MANIFEST)
    info.size = size
    (tmp_path / "odd.zoo").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    assert_refused(tmp_path / "odd.zoo", tmp_path, Refused, f"a manifest of {size} bytes")


def first_model(values: Values) -> Values:
    model: Values = values["models"][0]
    return model


def first_version(values: Values) -> Values:
    version: Values = first_model(values)["versions"][0]
    return version


def first_variant(values: Values) -> Values:
    variant: Values = first_version(values)["variants"][0]
    return variant


def recipe(**words: object) -> Values:
    return {"parent": None, "called": "x", "recipe": words}


def measured(values: Values, **changes: object) -> Values:
    sound = {"metric": "m", "value": 1, "unit": "", "context": {}}
    sound |= {"digest": first_variant(values)["digest"], "at": "2026-01-01T00:00:00+00:00"}
    return sound | changes


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(format="other"),
        lambda v: v.update(version="1"),
        lambda v: v.pop("bundles"),
        lambda v: v.update(models=None),
        lambda v: v["models"].append(first_model(v)),
        lambda v: first_model(v).update(name="../a"),
        lambda v: first_model(v).update(tags=["A B"]),
        lambda v: first_model(v).update(tags=["a", "a"]),
        lambda v: first_model(v).update(aliases={"production": 9}),
        lambda v: first_model(v).update(aliases={"latest": 1}),
        lambda v: first_model(v).update(aliases={"7": 1}),
        lambda v: first_model(v).update(versions=[]),
        lambda v: first_model(v).update(created_at="2026-01-01"),
        lambda v: first_version(v).update(number=0),
        lambda v: first_version(v).update(number=1 << 40),
        lambda v: first_version(v).update(number=True),
        lambda v: first_version(v).update(license=7),
        lambda v: first_version(v).update(license="a\0b"),
        lambda v: first_version(v).update(license="\ud800"),
        lambda v: first_version(v).update(variants=[]),
        lambda v: first_version(v).update(test_data="sha256:00"),
        lambda v: first_version(v).update(test_data=""),
        lambda v: first_version(v)["variants"].append(first_variant(v)),
        lambda v: first_variant(v).update(digest="sha256:00"),
        lambda v: first_variant(v).update(entry="../../a.onnx"),
        lambda v: first_variant(v).update(label="a/b"),
        lambda v: first_variant(v).update(lineage={"parent": None, "called": "x", "recipe": 1}),
        lambda v: v["bundles"][0]["files"][0].update(sha256="0" * 64),
        lambda v: v["bundles"][0]["files"][0].update(bytes=-1),
        lambda v: v["bundles"].append(v["bundles"][0]),
        lambda v: v["members"].append({"name": "x", "sha256": "0" * 64, "bytes": 0}),
        lambda v: v["members"].pop(),
        lambda v: v["measurements"].append({"digest": "sha256:00"}),
        lambda v: v.update(version=0),
        lambda v: first_model(v).update(created_at="0001-01-01T00:00:00+23:59"),
        lambda v: first_variant(v).update(created_at="9999-12-31T23:59:59-23:59"),
        lambda v: first_version(v).update(created_at="0001-01-02T00:00:00+00:00"),
        lambda v: first_variant(v).update(lineage=recipe()),
        lambda v: first_variant(v).update(lineage=recipe(kind=["quantize"])),
        lambda v: first_variant(v).update(lineage=recipe(kind="quantize", ops=[{"\ud800": 1}])),
        lambda v: first_variant(v).update(lineage=recipe(kind="quantize", ops=[["a\0"]])),
        lambda v: first_variant(v).update(lineage=recipe(kind="quantize", block=10**30)),
        lambda v: v["measurements"].append(measured(v, value=10**400)),
        lambda v: v["measurements"].append(measured(v, context={"cpu": "a\0"})),
        lambda v: v["measurements"].append(measured(v, context={"\ud800": 1})),
        lambda v: v["measurements"].append(measured(v, at="0001-01-01T00:00:00+23:59")),
        lambda v: v["measurements"].append(
            {"digest": first_variant(v)["digest"], "metric": "m", "value": float("nan"),
             "unit": "", "context": {}, "at": "2026-01-01T00:00:00+00:00"}
        ),
    ],
)  # fmt: skip
def test_a_manifest_that_makes_no_sense_is_refused(
    archive: Path, tmp_path: Path, change: Callable[[Values], object]
) -> None:
    changed(archive, change)
    assert_refused(archive, tmp_path, IntegrityError, "the manifest of `models.zoo` is malformed")


def test_a_manifest_of_ten_thousand_brackets_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "odd.zoo", [(MANIFEST, b"[" * 100_000)])
    assert_refused(tmp_path / "odd.zoo", tmp_path, IntegrityError, "malformed")


def test_a_path_that_leaves_its_bundle_is_refused(archive: Path, tmp_path: Path) -> None:
    changed(archive, lambda v: v["bundles"][0]["files"][0].update(path="../../x"))
    assert_refused(archive, tmp_path, Refused, "not a plain path inside a bundle")


@pytest.mark.parametrize("name", ["../../../../tmp/x", "/tmp/x", "x", "models/b@1/fp32/b.onnx"])
def test_a_member_has_the_one_name_that_an_export_gives_it(
    archive: Path, tmp_path: Path, name: str
) -> None:
    values = json.loads(members_of(archive)[MANIFEST])
    first, *others = list(members_of(archive).items())[1:]
    values["members"][0]["name"] = name
    written(archive, [(MANIFEST, json.dumps(values).encode()), (name, first[1]), *others])
    assert_refused(archive, tmp_path, Refused, f"names a member `{name}`; expected `models/a@1/")
    with pytest.raises(Refused, match="names a member"):
        entries_below(archive)


def test_a_long_path_is_kept_under_a_short_name(tmp_path: Path) -> None:
    location = "weights/" + "of-a-network-with-a-long-name/" * 4 + "weights.bin"
    with Registry(tmp_path / "there") as there:
        there.register(models.external(tmp_path / "b.onnx", location), "b")
        there.export(["b"], tmp_path / "models.zoo")
    with Registry(tmp_path / "here") as here:
        here.import_file(tmp_path / "models.zoo")
        assert [file.path for file in here.resolve("b").files] == ["b.onnx", location]


def test_a_content_that_two_bundles_share_is_written_once(tmp_path: Path) -> None:
    first = models.external(tmp_path / "1" / "a.onnx")
    other = models.external(tmp_path / "2" / "b.onnx")
    with Registry(tmp_path / "there") as there:
        there.register(first, "a")
        there.register(other, "b")
        there.export(["a", "b"], tmp_path / "models.zoo")
    assert len(members_of(tmp_path / "models.zoo")) == 1 + len(
        {path.read_bytes() for path in (first, other, tmp_path / "1/weights.bin")}
    )
    with Registry(tmp_path / "here") as here:
        here.import_file(tmp_path / "models.zoo")
        assert all(not checked.problems for checked in here.verify())
        assert len(here.list()) == 2


def test_a_damaged_bundle_is_not_exported(tmp_path: Path) -> None:
    with Registry(tmp_path / "there") as there:
        variant = there.register(models.linear(tmp_path / "a.onnx"), "a").variant
        variant.path.chmod(0o644)
        variant.path.write_bytes(variant.path.read_bytes()[:-1] + b"\x00")
        with pytest.raises(IntegrityError, match="has SHA-256"):
            there.export(["a"], tmp_path / "models.zoo")
        variant.path.unlink()
        with pytest.raises(IntegrityError, match="is missing"):
            there.export(["a"], tmp_path / "models.zoo")
    assert list(tmp_path.glob("models.zoo*")) == []


def test_a_failed_export_leaves_the_file_that_was_there(archive: Path, tmp_path: Path) -> None:
    before = archive.read_bytes()
    with Registry(tmp_path / "there") as there:
        there.resolve("b").path.unlink()
        with pytest.raises(IntegrityError, match="is missing"):
            there.export(["a", "b"], archive)
    assert archive.read_bytes() == before
    assert list(tmp_path.glob("models.zoo*")) == [archive]


def test_a_file_that_cannot_be_written_is_named(archive: Path, tmp_path: Path) -> None:
    del archive
    with (
        Registry(tmp_path / "there") as there,
        pytest.raises(StorageError, match=r"cannot write `.*/none/a\.zoo`: no such file") as caught,
    ):
        there.export(["a"], tmp_path / "none" / "a.zoo")
    assert caught.value.hint is None


def test_a_member_of_more_than_8_gib_has_a_header_that_tar_reads() -> None:
    block = _header("x", 20 << 30)
    _check_header(block, "x", 20 << 30, "models.zoo")
    assert len(block) == HEADER
    with tarfile.open(fileobj=io.BytesIO(block)) as archive:
        assert archive.next().size == 20 << 30  # type: ignore[union-attr]


def test_an_archive_can_be_written_to_a_stream(archive: Path, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with Registry(tmp_path / "there") as there:
        there.export(["a", "b"], stream)
    assert stream.getvalue() == archive.read_bytes()


@pytest.mark.parametrize("order", [1, -1])
def test_every_model_of_a_bundle_is_looked_at(tmp_path: Path, order: int) -> None:
    graph = hostile.graph([hostile.node("Foo", domain="com.acme")])
    evil = hostile.written(hostile.model(graph))(tmp_path)
    members = members_of(twins(tmp_path, evil))
    values = json.loads(members.pop(MANIFEST))
    first_version(values)["variants"] = first_version(values)["variants"][::order]
    label = first_variant(values)["label"]
    for member in values["members"]:
        member["name"] = member["name"].replace("fp32", label)
    members = {name.replace("fp32", label): content for name, content in members.items()}
    odd = zoo(tmp_path / "odd.zoo", values, members)
    assert_refused(odd, tmp_path, Refused, r"the domain `com\.acme`")


def test_another_model_of_a_held_bundle_is_looked_at_too(tmp_path: Path) -> None:
    graph = hostile.graph([hostile.node("Foo", domain="com.acme")])
    evil = hostile.written(hostile.model(graph))(tmp_path)
    both = twins(tmp_path, evil)
    members = members_of(both)
    values = json.loads(members.pop(MANIFEST))
    other = first_version(values)["variants"].pop()
    zoo(tmp_path / "first.zoo", values, members)
    with Registry(tmp_path / "here") as here:
        here.import_file(tmp_path / "first.zoo")
        with pytest.raises(Refused, match=r"the domain `com\.acme`"):
            here.import_file(both)
        assert [held.ref for held in here.list()] == ["twins:fp32@1"]
        assert not here.import_file(tmp_path / "first.zoo").changed
    assert other["entry"] == "b.onnx"


def test_each_model_of_a_bundle_is_described_by_itself(tmp_path: Path) -> None:
    other = models.linear(tmp_path / "b.onnx", dtype="float16")
    with Registry(tmp_path / "here") as here:
        here.import_file(twins(tmp_path, other))
        assert {held.variant: held.precision for held in here.list()} == {
            "fp32": "fp32",
            "other": "fp16",
        }


def test_a_content_under_thousands_of_paths_does_not_fill_the_disk(tmp_path: Path) -> None:
    content = b"x" * 1_000_000
    many = [File(f"{number}.bin", sha256(content), len(content)) for number in range(2000)]
    path = models.linear(tmp_path / "a.onnx")
    many.append(File("a.onnx", sha256(path), path.stat().st_size))
    bundle = Manifest.of(many)
    members = members_of(twins(tmp_path, path))
    values = json.loads(members[MANIFEST])
    del first_version(values)["variants"][1]
    first_variant(values)["digest"] = bundle.digest
    values["bundles"] = [
        {"digest": bundle.digest, "files": [asdict(file) for file in bundle.files]}
    ]
    under = "models/twins@1/fp32/"
    files = {f"{under}0.bin": content, f"{under}a.onnx": path.read_bytes()}
    values["members"] = [
        {"name": name, "sha256": sha256(data), "bytes": len(data)} for name, data in files.items()
    ]
    odd = zoo(tmp_path / "odd.zoo", values, files)
    assert_refused(odd, tmp_path, Refused, "would become 2.0 GB")


def test_a_model_that_is_none_is_refused_like_one_that_is_pulled(
    archive: Path, tmp_path: Path
) -> None:
    """The bytes agree with the manifest, and still are no model."""
    page = b"<!doctype html><title>404</title>"
    file = File("a.onnx", sha256(page), len(page))
    members = members_of(archive)
    values = json.loads(members[MANIFEST])
    values["models"] = values["models"][:1]
    digest = first_variant(values)["digest"] = Manifest((file,)).digest
    values["bundles"] = [
        {
            "digest": digest,
            "files": [{"path": "a.onnx", "sha256": file.sha256, "bytes": file.bytes}],
        }
    ]
    name = "models/a@1/fp32/a.onnx"
    values["members"] = [{"name": name, "sha256": file.sha256, "bytes": file.bytes}]
    odd = zoo(tmp_path / "odd.zoo", values, {name: page})
    assert_refused(odd, tmp_path, IntegrityError, "HTML page")
