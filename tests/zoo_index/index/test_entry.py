"""Lines of an index."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxzoo.registry.core.errors import Refused
from onnxzoo.registry.core.manifest import File
from onnxzoo.registry.core.records import Tensor
from onnxzoo.zoo_index.index.entry import Entry, dump, parse

FILE = {"path": "m.onnx", "sha256": "0" * 64, "bytes": 10}
LINE = {
    "name": "m",
    "variant": "fp32",
    "precision": "fp32",
    "source": "hf://o/m",
    "files": [FILE],
}

words = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
# What a database takes: no zero byte, no half of a surrogate pair.
letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
axes = st.one_of(st.integers(0, 1 << 40), st.text(letters, max_size=5), st.none())
tensors = st.builds(
    Tensor,
    st.text(letters, max_size=8),
    st.sampled_from(["float32", "unknown", "seq(tensor(int64))"]),
    st.one_of(st.none(), st.lists(axes, max_size=4).map(tuple)),
)
files = st.builds(
    File,
    words.map(lambda word: f"x{word}x.onnx"),
    st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    st.integers(0, 1 << 50),
)
entries = st.builds(
    Entry,
    name=words,
    variant=words,
    precision=words,
    source=words.map("hf://org/{}".format),
    files=st.lists(files, min_size=1, max_size=3, unique_by=lambda f: f.path).map(tuple),
    opset=st.one_of(st.none(), st.integers(1, 30)),
    task=st.one_of(st.none(), words),
    license=st.one_of(st.none(), st.just("MIT")),
    tags=st.lists(words, max_size=2).map(tuple),
    aliases=st.lists(st.text(letters, min_size=1, max_size=9), max_size=2).map(tuple),
    inputs=st.lists(tensors, max_size=2).map(tuple),
    parameters=st.one_of(st.none(), st.integers(1, 10**12)),
    ops=st.dictionaries(words, st.integers(1, 999), max_size=3),
    test_data=st.one_of(st.none(), files),
)


@given(entries)
def test_a_dumped_entry_parses_to_itself(entry: Entry) -> None:
    assert parse(dump(entry), "here") == entry


def test_what_is_not_known_is_left_out_of_the_line() -> None:
    assert json.loads(dump(parse(json.dumps(LINE), "here"))) == LINE


def test_a_key_that_is_not_known_is_ignored() -> None:
    assert parse(json.dumps(LINE | {"colour": "red"}), "here").name == "m"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": None}, "`name` is missing"),
        ({"name": "No Spaces"}, "`No Spaces` is not a model's name"),
        ({"name": 7}, "`name` is malformed: expected text, found 7"),
        ({"variant": "../x"}, "`../x` is not a valid variant"),
        ({"source": "m.onnx"}, "the source `m.onnx` is not a URL"),
        ({"files": []}, "a manifest needs at least one file"),
        ({"files": [FILE | {"path": "../m.onnx"}]}, "`../m.onnx` is not a plain path"),
        ({"files": [FILE | {"path": "m.bin"}]}, "none of the files is an `.onnx` file"),
        ({"files": [FILE | {"sha256": "abc"}]}, "`abc` is not a SHA-256"),
        (
            {"files": [FILE | {"bytes": -1}]},
            "`files` is malformed: `bytes` is malformed: expected a whole number",
        ),
        ({"files": [{"path": "m.onnx"}]}, "`files` is malformed: `sha256` is missing"),
        ({"files": "m.onnx"}, "`files` is malformed: expected a list"),
        ({"opset": "12"}, "`opset` is malformed: expected a whole number"),
        ({"opset": True}, "`opset` is malformed: expected a whole number"),
        ({"inputs": [{"name": "x", "shape": [1.5]}]}, "an axis is a number, a name or null"),
        ({"ops": {"Conv": "many"}}, "`ops` is malformed"),
        ({"license": "MIT\0x"}, "a text holds a zero byte"),
        ({"task": "\ud800"}, "surrogates not allowed"),
    ],
)
def test_a_malformed_line_is_refused_with_place_and_reason(
    change: dict[str, object], reason: str
) -> None:
    values = {key: value for key, value in (LINE | change).items() if value is not None}
    with pytest.raises(Refused) as caught:
        parse(json.dumps(values), "models.jsonl, line 3")
    assert caught.value.message.startswith("models.jsonl, line 3: ")
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "is not JSON: expecting property name"),
        ("[]", "expected a JSON object, found list"),
        ('{"name": "a", "name": "b"}', "`name` is given twice"),
    ],
)
def test_a_line_that_is_no_json_object_is_refused(line: str, reason: str) -> None:
    with pytest.raises(Refused, match=r"here(:| is) ") as caught:
        parse(line, "here")
    assert reason in caught.value.message


def test_a_line_that_nests_without_end_is_refused() -> None:
    with pytest.raises(Refused, match="here: "):
        parse("[" * 5000 + "]" * 5000, "here")
