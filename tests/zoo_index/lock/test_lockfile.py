"""The text of a lock: alike for alike entries, and refused with its line where it is not sound."""

import platform
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxzoo.registry.core.errors import (
    IntegrityError,
    NotFound,
    Refused,
    StorageError,
    UsageError,
    ZooError,
)
from onnxzoo.registry.core.manifest import File, Manifest
from onnxzoo.registry.core.names import Ref
from onnxzoo.registry.core.staging import staging_name
from onnxzoo.zoo_index.lock.lock import Lock, Locked
from onnxzoo.zoo_index.lock.lockfile import dump, parse, read, write

PATH = Path("zoo.lock")
FILES = (File("data/w.bin", "a" * 64, 16), File("m.onnx", "b" * 64, 7))


def locked(asked: str = "net:int8@production", **values: object) -> Locked:
    known = {
        "asked": Ref.parse(asked),
        "name": "net",
        "variant": "int8",
        "version": 3,
        "precision": "int8",
        "opset": 17,
        "source": "hf://acme/net",
        "revision": "0a1b2c3",
        "license": "MIT",
        "digest": Manifest(FILES).digest,
        "entry": "m.onnx",
        "files": FILES,
    }
    return Locked(**(known | values))  # type: ignore[arg-type]


TEXT = dump(Lock(PATH, (locked("net"), locked())))


def test_what_is_written_is_read_again_as_it_was() -> None:
    made = locked(made_from="net:fp32@3", made_by="quantize int8", opset=0)
    lock = Lock(PATH, (locked("net"), made))
    assert parse(dump(lock), PATH) == lock
    assert parse(dump(Lock(PATH)), PATH) == Lock(PATH)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.text(max_size=3).map(ascii))
def test_any_text_survives(source: str, license_: str) -> None:
    lock = Lock(PATH, (locked(source=source, license=license_),))
    text = dump(lock)
    assert parse(text, PATH) == lock
    assert tomllib.loads(text)["model"][0]["source"] == source
    assert not set(text) & {"\x7f", "\u202e", "\u200b", "\r"}


def test_what_is_not_seen_in_a_diff_is_written_out() -> None:
    source = "a\u034f\u115f\u2800\u3164\ufe0f\U000e0100b"
    text = dump(Lock(PATH, (locked(source=source),)))
    assert text.isascii() is False  # the ellipsis of its head
    assert "a\\u034f\\u115f\\u2800\\u3164\\ufe0f\\U000e0100b" in text
    assert parse(text, PATH).models[0].source == source
    with pytest.raises(UsageError, match="is not text that a lock can hold"):
        dump(Lock(PATH, (locked(source="/srv/\udcff.onnx"),)))


def test_what_a_killed_write_left_goes_with_the_next(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mine, other = staging_name(), f"{platform.node()}-{gone.pid}-ab12"
    for name in (mine, other):
        (tmp_path / f".zoo.lock.{name}").write_text("half")
    write(Lock(tmp_path / "zoo.lock", (locked(),)))
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [f".zoo.lock.{mine}", "zoo.lock"]


def test_the_order_in_which_references_were_asked_for_leaves_no_trace() -> None:
    one, two = locked("net"), locked()
    assert dump(Lock(PATH, (one, two))) == dump(Lock(PATH, (two, one)))


def test_an_entry_is_readable_line_by_line() -> None:
    assert dump(Lock(PATH, (locked(),))).partition("\n\n")[2] == (
        "[[model]]\n"
        'asked = "net:int8@production"\n'
        'name = "net"\n'
        'variant = "int8"\n'
        "version = 3\n"
        'precision = "int8"\n'
        "opset = 17\n"
        'source = "hf://acme/net"\n'
        'license = "MIT"\n'
        'revision = "0a1b2c3"\n'
        f'digest = "{Manifest(FILES).digest}"\n'
        'entry = "m.onnx"\n'
        "files = [\n"
        f'    {{ path = "data/w.bin", sha256 = "{"a" * 64}", bytes = 16 }},\n'
        f'    {{ path = "m.onnx", sha256 = "{"b" * 64}", bytes = 7 }},\n'
        "]\n"
    )


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        (
            "a" * 64,
            "c" * 64,
            IntegrityError,
            ", line 6: the files of `net` make the digest sha256:",
        ),
        ("bytes = 16", "bytes = 17", IntegrityError, "the files of `net` make the digest"),
        ("data/w.bin", "../w.bin", Refused, ", line 6: the path `../w.bin` is not a plain path"),
        ("data/w.bin", "/etc/passwd", Refused, "is not a plain path"),
        ("a" * 64, "a" * 63, UsageError, "is not a SHA-256"),
        ('entry = "m.onnx"', 'entry = "n.onnx"', UsageError, "the entry `n.onnx` of `net` is none"),
        ("version = 3", "version = 0", UsageError, ", line 6: the version of `net` is 0; expected"),
        ("opset = 17", "opset = -1", UsageError, "the opset of `net` is -1; expected 0 or more"),
        ("version = 3\n", "", UsageError, ", line 6: `version` is missing"),
        ("version = 3", f"version = {'9' * 5000}", UsageError, "exceeds the limit"),
        ("version = 3", "version = true", UsageError, "`version` is not a whole number"),
        ("version = 3", 'version = "3"', UsageError, "`version` is not a whole number"),
        ('license = "MIT"', "license = 3", UsageError, "`license` is not a string"),
        ("files = [", "files = [ 3,", UsageError, "`files` is not a list of"),
        ('"net:int8@production"', '"net"', UsageError, "has `net` twice"),
        ('"net:int8@production"', '"net@latest"', UsageError, "twice"),
        ('"net:int8@production"', '"net:fp16"', UsageError, ", line 23: what is locked for"),
        ('"net:int8@production"', '"net@2"', UsageError, "what is locked for `net@2` is version 3"),
        ('"net:int8@production"', '"net@sha256:abcd"', UsageError, "what is locked for"),
        ('"net:int8@production"', '"net:"', UsageError, "is not a reference"),
        ("lock-version = 1", "lock-version = 2", UsageError, "has lock-version 2; this onnxzoo"),
        ("lock-version = 1", "lock-version = '1'", UsageError, "has lock-version `1`; expected 1"),
        ("lock-version = 1", "", UsageError, "`zoo.lock` is not a lock: it has no `lock-version`"),
        ("version = 3", "version 3", UsageError, ", line 10, column 9: expected '='"),
        ("version = 3", "version = 3\nversion = 4", UsageError, ", line 11, column 12: cannot"),
        ("[[model]]", "<<<<<<< HEAD\n[[model]]", UsageError, ", line 6: a merge that conflicts"),
        ("version = 3", "=======\nversion = 3", UsageError, ", line 10: a merge that conflicts"),
    ],
)
def test_what_is_unsound_is_refused_with_its_place(
    old: str, new: str, error: type[ZooError], message: str
) -> None:
    assert old in TEXT
    last = old.startswith('"net:int8')
    text = TEXT.replace(old, new) if last else TEXT.replace(old, new, 1)
    with pytest.raises(error) as caught:
        parse(text, PATH)
    assert message in caught.value.message
    assert caught.value.message.startswith("`zoo.lock`")
    assert caught.value.hint


@pytest.mark.parametrize("model", ["3", "[3]", "{ asked = 'net' }"])
def test_what_is_no_list_of_entries_is_refused(model: str) -> None:
    with pytest.raises(UsageError, match="`model` is not a list of tables"):
        parse(f"lock-version = 1\nmodel = {model}\n", PATH)


def test_keys_of_a_later_onnxzoo_are_no_obstacle() -> None:
    text = TEXT.replace("version = 3", 'version = 3\ncolour = "blue"') + "\n[later]\nx = 1\n"
    assert parse(text, PATH) == parse(TEXT, PATH)


def test_an_editors_line_ends_and_mark_are_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "zoo.lock"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert read(path).models == parse(TEXT, PATH).models


def test_what_is_not_there_or_not_text_is_said(tmp_path: Path) -> None:
    path = tmp_path / "zoo.lock"
    with pytest.raises(NotFound, match="no lock") as caught:
        read(path)
    assert caught.value.hint == f"zoo lock NAME --lock {path} writes it"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        read(path)
    with pytest.raises(StorageError, match="cannot read"):
        read(tmp_path)
    with pytest.raises(StorageError, match="cannot write"):
        write(Lock(tmp_path / "gone" / "zoo.lock"))


def test_a_lock_behind_a_link_stays_behind_it(tmp_path: Path) -> None:
    (tmp_path / "zoo.lock").symlink_to(tmp_path / "shared.lock")
    write(Lock(tmp_path / "zoo.lock", (locked(),)))
    assert (tmp_path / "zoo.lock").is_symlink()
    assert read(tmp_path / "shared.lock").models == (locked(),)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shared.lock", "zoo.lock"]


@pytest.mark.parametrize("ref", ["net:int8@production", "NET:int8@Production"])
def test_an_entry_is_found_by_what_was_asked(ref: str) -> None:
    lock = parse(TEXT, PATH)
    assert lock.find(ref) == locked()
    assert lock.find("net", {"variant": None, "opset": None, "device": "cpu"}) == locked("net")
    assert lock.find("net@latest") == locked("net")
    assert lock.find("net").ref == f"net@{Manifest(FILES).digest}"


@pytest.mark.parametrize("ref", ["net:fp32", "net@3", "net@staging", "net:int8", "other"])
def test_nothing_but_what_was_asked_is_found(ref: str) -> None:
    with pytest.raises(NotFound) as caught:
        parse(TEXT, PATH).find(ref)
    assert f"`{ref}` is not in `zoo.lock`; it has `net`, `net:int8@production`" in str(caught.value)
    assert caught.value.hint == f"zoo lock {ref}"


def test_a_bound_beside_a_lock_is_refused() -> None:
    lock = parse(TEXT, PATH)
    for wish in ({"opset": 12}, {"prefer": "size"}, {"max_bytes": 5}, {"runtime": "1.17"}):
        with pytest.raises(UsageError, match="a lock has chosen"):
            lock.find("net", wish)  # type: ignore[arg-type]
    assert replace(locked(), asked=Ref("net")) == lock.find("net")
