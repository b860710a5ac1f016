"""Text from models, indexes and servers: in the terminal, in JSON and in logs."""

import json
import logging
import unicodedata
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import Refused
from onnxzoo.registry.core.logs import logger
from onnxzoo.registry.core.text import visible
from tests.support import hostile
from tests.support.commands import Ran, Run

# Colour, a cleared screen, a window's title, a new line that forges, the line's start, a reversed
# order, an isolate, nothing's width, a byte order mark, C1's control sequence, delete, a filler.
EVIL = {
    "colour": "\x1b[31m",
    "clear": "\x1b[2J\x1b[H",
    "title": "\x1b]0;owned\x07",
    "line": "\nerror: forged",
    "return": "\rforged",
    "reverse": "\u202etxt.exe",
    "isolate": "\u2066a\u2069",
    "nothing": "a\u200bb\u200d\ufeff",
    "C1": "\x9b31m",
    "delete": "\x7f\x08",
    "filler": "\u3164\u115f",
    "tag": "\U000e0041",
    "separator": "\u2028forged",
}
# A line's end; and marks of writing that Unicode calls formats, though they are seen.
HARMLESS = {"\n", "\u06dd", "\u070f", "\u08e2", "\U000110bd", "\U000110cd"}
HARMLESS |= set(map(chr, [*range(0x600, 0x606), *range(0x890, 0x892), *range(0x13430, 0x13460)]))


def evil(word: str) -> str:
    return f"{word}{EVIL['title']}{''.join(EVIL.values())}end"


def is_safe(text: str) -> bool:
    """Tell whether a terminal shows all of a text as it stands, line by line."""
    return all(
        char in HARMLESS or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        for char in text
    )


def check(ran: Ran) -> None:
    assert is_safe(ran.out)
    assert is_safe(ran.err)
    lines = [*ran.out.splitlines(), *ran.err.splitlines()]
    assert not any(line.startswith(("error: forged", "forged")) for line in lines)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A sound model, all of whose words are hostile."""
    inputs = [helper.make_tensor_value_info(evil("x"), TensorProto.FLOAT, [evil("n"), 4])]
    outputs = [helper.make_tensor_value_info(evil("y"), TensorProto.FLOAT, [evil("n"), 4])]
    node = helper.make_node("Neg", [evil("x")], [evil("y")], name=evil("node"))
    graph = helper.make_graph([node], evil("graph"), inputs, outputs)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(evil("own"), 1)],
        ir_version=10,
        producer_name=evil("producer"),
        doc_string=evil("doc"),
    )
    model.metadata_props.add(key=evil("key"), value=evil("value"))
    return hostile.written(model)(tmp_path)


@pytest.mark.parametrize("text", EVIL.values(), ids=list(EVIL))
def test_what_could_forge_becomes_visible(text: str) -> None:
    shown = visible(f"a{text}b")
    assert is_safe(shown)
    assert "\n" not in shown
    assert "\\" in shown
    assert visible(shown) == shown


@given(st.text(st.characters(codec=None)))
def test_no_text_stays_unsafe(text: str) -> None:
    shown = visible(text)
    assert is_safe(shown)
    assert "\n" not in shown


def test_plain_text_of_any_language_stays_as_it_is() -> None:
    for text in ("résumé", "模型", "модель", "نموذج", "नमूना", "a\\x1b", "naïve — «ok» 🙂"):
        assert visible(text) == text


def test_a_models_words_are_harmless_wherever_they_are_shown(zoo: Run, path: Path) -> None:
    check(zoo("show", path))
    check(zoo("register", path, "--name", "net", "--task", evil("task")))
    for words in (("show", "net"), ("list",), ("versions", "net"), ("opsets", "net")):
        ran = zoo(*words)
        assert ran.code == 0, words
        check(ran)
    ran = zoo("run", "net")
    check(ran)
    assert r"producer\x1b]0;owned\x07" in zoo("show", "net").out


def test_a_models_words_come_whole_in_json(zoo: Run, path: Path) -> None:
    zoo("register", path, "--name", "net", "--task", evil("task"))
    for words in (("show", path), ("show", "net"), ("list",), ("versions", "net")):
        ran = zoo(*words, "--json")
        assert ran.out.isascii()
        assert is_safe(ran.out)
        json.loads(ran.out)
    shown = json.loads(zoo("show", "net", "--json").out)
    assert shown["producer"] == evil("producer")
    assert shown["inputs"][0]["name"] == evil("x")
    assert shown["metadata"] == {evil("key"): evil("value")}
    assert shown["task"] == evil("task")


def test_an_errors_words_are_harmless(zoo: Run, tmp_path: Path) -> None:
    named = hostile.weight(5, raw_data=bytes(16))
    named.name = evil("w")
    ran = zoo("register", hostile.held(named)(tmp_path), "--name", "net")
    assert ran.code == 5
    check(ran)
    foreign = hostile.model(hostile.graph([hostile.node(evil("F"), domain=evil("com.acme"))]))
    ran = zoo("register", hostile.written(foreign)(tmp_path), "--name", "net")
    assert ran.code == 5
    check(ran)
    for location in (f"../{evil('w')}", evil("w")):
        outside = hostile.outside(("location", location))
        ran = zoo("register", hostile.held(outside)(tmp_path), "--name", "net")
        assert ran.code in {3, 5}
        check(ran)


def test_a_hint_cannot_smuggle_a_command(zoo: Run, tmp_path: Path) -> None:
    foreign = hostile.model(hostile.graph([hostile.node("F", domain="a; touch /tmp/x")]))
    ran = zoo("register", hostile.written(foreign)(tmp_path), "--name", "net")
    assert "--allow-domain 'a; touch /tmp/x'" in ran.err


def test_an_error_in_code_is_harmless_too() -> None:
    error = Refused(evil("tensor"), hint=evil("hint"))
    for text in (str(error), error.message, error.hint or "", repr(error)):
        assert is_safe(text)
        assert "\n" not in text


def test_a_log_cannot_be_forged(caplog: pytest.LogCaptureFixture) -> None:
    logger().warning("`%s` is kept, 100%%", evil("net"))
    (record,) = caplog.records
    assert is_safe(record.getMessage())
    assert "\n" not in record.getMessage()
    assert record.getMessage().endswith("end` is kept, 100%")
    assert logger() is logging.getLogger("onnxzoo")


def test_the_warning_of_what_does_not_open_is_harmless(
    zoo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ZOO_FIRST_LOOK", "1")
    model = hostile.model(hostile.graph([hostile.node(evil("Nope"), name=evil("n"))]))
    path = hostile.written(model)(tmp_path)
    ran = zoo("register", path, "--name", "net")
    assert ran.code == 0
    assert "warning: `net` is kept, but does not open here" in ran.err
    check(ran)
    assert onnx.load(path).graph.node[0].op_type == evil("Nope")
    with Registry() as registry:
        registry.register(path, "other")
    assert all("\n" not in text and is_safe(text) for text in caplog.messages)


def test_an_indexs_words_are_harmless(
    zoo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index.jsonl"
    entry = {
        "name": "net",
        "variant": "fp32",
        "precision": "fp32",
        "source": "https://models.example.org/net.onnx",
        "files": [{"path": "net.onnx", "sha256": "0" * 64, "bytes": 1}],
        "license": evil("MIT"),
        "task": evil("task"),
        "tags": [evil("tag")],
        "inputs": [{"name": evil("x"), "dtype": "float32", "shape": [evil("n")]}],
        "ops": {evil("Op"): 1},
    }
    index.write_text(json.dumps(entry))
    monkeypatch.setenv("ZOO_INDEX", str(index))
    for words in (("search", "net"), ("show", "net"), ("pull", "net", "--dry-run")):
        ran = zoo(*words)
        check(ran)
        assert ran.out or ran.code
        out = zoo(*words, "--json").out
        assert out.isascii()
        assert is_safe(out)
