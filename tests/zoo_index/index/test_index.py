"""The shipped index, its names, private indexes, search and suggestions."""

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from onnxzoo.registry.core.errors import NotFound, Refused, RemoteError, ZooError
from onnxzoo.registry.core.names import fold, slug
from onnxzoo.registry.core.settings import Settings
from onnxzoo.zoo_index.index.build import build
from onnxzoo.zoo_index.index.entry import Entry, dump
from onnxzoo.zoo_index.index.index import Index
from onnxzoo.zoo_index.index.indexes import SHIPPED, ZOO, Indexes
from tests.support.hub import Hub

VALIDATED = Path(__file__).with_name("validated_names.txt")
LINE = {
    "name": "resnet50",
    "variant": "fp32",
    "precision": "fp32",
    "opset": 17,
    "source": "https://models.example.org",
    "files": [{"path": "m.onnx", "sha256": "0" * 64, "bytes": 10}],
}


@pytest.fixture(scope="module")
def shipped() -> Index:
    return Index(SHIPPED, ZOO, trusted=True)


@pytest.fixture(scope="module")
def by_id(shipped: Index) -> dict[str, Entry]:
    return {e.source.rpartition("/")[2]: e for e in shipped.entries if e.exporter != "onnx"}


def indexes(home: Path, *private: Path) -> Indexes:
    return Indexes.from_settings(Settings(home, home / "cache", indexes=tuple(map(str, private))))


def private(folder: Path, *lines: dict[str, object]) -> Path:
    path = folder / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return path


def test_every_model_of_the_zoo_is_in_the_shipped_index(shipped: Index) -> None:
    collections = [entry.collection for entry in shipped.entries]
    assert (len(collections), collections.count("validated"), collections.count("light")) == (
        2334,
        190,
        9,
    )


def test_every_validated_model_has_its_family_as_its_name(by_id: dict[str, Entry]) -> None:
    expected = dict(line.split() for line in VALIDATED.read_text().splitlines())
    names = {
        name: f"{entry.name}:{entry.variant}"
        for name, entry in by_id.items()
        if entry.collection == "validated"
    }
    assert names == expected


def test_every_other_model_has_its_architecture_as_its_name(by_id: dict[str, Entry]) -> None:
    named = {entry.name for entry in by_id.values() if entry.collection == "validated"}
    for name, entry in by_id.items():
        if entry.exporter is None:
            continue
        suffix = f"-{entry.exporter.replace('_', '-')}"
        bare = entry.name.removesuffix(suffix)
        assert fold(name).startswith(fold(bare))
        others = {e.exporter for e in by_id.values() if e.name.startswith(f"{bare}-")}
        if bare != entry.name:
            assert bare in named or fold(bare) in map(fold, named) or len(others) > 1, name


def test_no_name_means_two_things(shipped: Index) -> None:
    models: dict[str, set[str]] = defaultdict(set)
    for entry in shipped.entries:
        models[fold(entry.name)].add(entry.name)
        for alias in entry.aliases:
            models[fold(slug(alias))].add(entry.name)
    assert {key: names for key, names in models.items() if len(names) > 1} == {}


def test_no_two_variants_of_a_model_share_a_label(shipped: Index) -> None:
    labels = [(entry.name, entry.variant) for entry in shipped.entries]
    assert len(set(labels)) == len(labels)


def test_every_id_means_exactly_its_row(shipped: Index, by_id: dict[str, Entry]) -> None:
    rows: dict[str, list[Entry]] = defaultdict(list)
    names = {fold(entry.name) for entry in shipped.entries}
    for entry in shipped.entries:
        for alias in entry.aliases:
            rows[fold(slug(alias))].append(entry)
    for name, entry in by_id.items():
        key = fold(slug(name))
        assert rows[key] == [entry] or (key in names and fold(entry.name) == key), name


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("resnet50", ["fp32", "int8", "qdq", "fp32-opset7"]),
        ("ResNet50", ["fp32", "int8", "qdq", "fp32-opset7"]),
        ("ResNet50-fp32", ["fp32"]),
        ("resnet50-v1-7", ["fp32-opset7"]),
        ("MobileNet v2-1.0-int8", ["int8"]),
        ("SSD-MobilenetV1-12-qdq", ["qdq"]),
        ("vgg16", ["fp32", "int8", "qdq", "fp32-opset7"]),
        ("MNIST-12-int8", ["int8"]),
        ("light_squeezenet", ["fp32"]),
        ("densenet121_Opset18_timm", ["fp32"]),
        ("nothing-like-it", []),
    ],
)
def test_names_ids_and_old_zoo_names_find_their_variants(
    home: Path, name: str, found: list[str]
) -> None:
    assert [entry.variant for entry in indexes(home).find(name)] == found


def test_the_shipped_index_dumps_to_its_own_bytes(shipped: Index) -> None:
    assert "".join(f"{dump(e)}\n" for e in shipped.entries) == SHIPPED.read_text()


def test_building_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    facts = tmp_path / "facts.jsonl"
    rows = [
        {"zoo_name": "Net-fp32", "opset": 12, "collection": "validated", "id": "net-12"},
        {"zoo_name": "Net-int8", "opset": 12, "collection": "validated", "id": "net-12-int8"},
        {"zoo_name": "Net", "opset": 7, "collection": "validated", "id": "net-7"},
        {
            "opset": 18,
            "collection": "Computer_Vision",
            "id": "net_Opset18",
            "architecture": "net",
            "exported_from": "torch_hub",
        },
    ]
    common = {"sha256": "1" * 64, "bytes": 5}
    facts.write_text(
        "\n".join(
            json.dumps(r | common | {"repo": f"o/{r['id']}", "file": f"{r['id']}.onnx"})
            for r in rows
        )
    )
    build(facts, tmp_path / "one.jsonl")
    build(facts, tmp_path / "two.jsonl")
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    names = [(e.name, e.variant) for e in Index(tmp_path / "one.jsonl", "x", trusted=True).entries]
    assert [name for name in names if "light" not in name[0]] == [
        ("net", "fp32"),
        ("net", "int8"),
        ("net", "fp32-opset7"),
        ("net-torch-hub", "fp32"),
    ]


def test_a_private_index_comes_before_the_shipped_one(home: Path, tmp_path: Path) -> None:
    both = indexes(home, private(tmp_path, LINE))
    (entry,) = both.find("resnet50")
    assert (entry.source, both.origin(entry)) == ("https://models.example.org", "mine:resnet50")
    assert both.find("mnist")
    assert [status.name for status in both.status()] == ["mine", ZOO]
    assert [e.source for e in both.search(["resnet50"]) if e.name == "resnet50"] == [entry.source]


def test_a_malformed_private_index_is_refused_with_file_and_line(
    home: Path, tmp_path: Path
) -> None:
    path = private(tmp_path, LINE, LINE | {"variant": "int8", "opset": "x"})
    with pytest.raises(Refused, match=r"mine.jsonl, line 2: `opset` is malformed"):
        indexes(home, path).find("resnet50")


def test_the_same_variant_twice_in_an_index_is_refused(home: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="line 2: `resnet50:fp32` is there twice"):
        indexes(home, private(tmp_path, LINE, LINE)).find("mnist")


def test_a_missing_private_index_is_not_found(home: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no index"):
        indexes(home, tmp_path / "gone.jsonl").find("mnist")


def test_an_index_behind_a_url_is_fetched_once_and_serves_offline(
    home: Path, tmp_path: Path
) -> None:
    with Hub() as hub:
        url = hub.put("/models.jsonl", private(tmp_path, LINE))
        settings = Settings(home, home / "cache", indexes=(url,))
        assert Indexes.from_settings(settings).find("resnet50")[0].opset == 17
    offline = Indexes.from_settings(replace(settings, offline=True))
    assert offline.find("resnet50")[0].opset == 17
    assert offline.status()[0].where == url


def test_an_index_that_was_never_fetched_is_not_asked_for_offline(home: Path) -> None:
    settings = Settings(
        home, home / "cache", indexes=("https://models.example.org/i.jsonl",), offline=True
    )
    with pytest.raises(RemoteError, match="offline"):
        Indexes.from_settings(settings).find("resnet50")


@pytest.mark.parametrize("content", [b"<html>", b'{"name": "a"}'])
def test_a_fetched_index_that_is_malformed_is_not_kept(home: Path, content: bytes) -> None:
    with Hub() as hub:
        url = hub.put("/models.jsonl", content)
        with pytest.raises(Refused, match="line 1"):
            Indexes.from_settings(Settings(home, home / "cache", indexes=(url,))).find("a")
    assert list((home / "cache" / "indexes").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "conditions", "first"),
    [
        (["resnet50"], {}, "resnet50"),
        (["ResNet", "int8"], {}, "resnet101-duc-hdc"),
        (["LayerNormalization", "timm"], {}, None),
        ([], {"task": "super-resolution"}, "super-resolution"),
        (["resnet"], {"max_bytes": 2000}, "resnet-preproc"),
        (["mnist"], {"opset": SpecifierSet("<=1")}, "mnist"),
        (["candy"], {"license": "bsd-3-clause"}, "candy"),
    ],
)
def test_search_finds_by_words_and_conditions(
    home: Path, words: list[str], conditions: dict[str, object], first: str | None
) -> None:
    found = indexes(home).search(words, **conditions)  # type: ignore[arg-type]
    assert found
    if first is not None:
        assert found[0].name == first


def test_search_finds_nothing_where_one_word_is_nowhere(home: Path) -> None:
    assert indexes(home).search(["resnet50", "qwertz"]) == []


@pytest.mark.parametrize(
    ("typo", "meant"), [("resnt50", "resnet50"), ("densenet121", "densenet-121"), ("zzzzzz", None)]
)
def test_a_typo_gets_a_suggestion(home: Path, typo: str, meant: str | None) -> None:
    suggested = indexes(home).suggest(typo)
    assert suggested[:1] == ([meant] if meant else [])


def test_a_line_that_is_not_json_is_said_plainly(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(LINE) + "\n\n{'name': 1}\n")
    with pytest.raises(Refused, match=r"mine.jsonl, line 3 is not JSON: expecting property name"):
        indexes(home, path).find("resnet50")


@pytest.mark.parametrize("remote", [False, True])
def test_an_index_may_be_empty(home: Path, tmp_path: Path, *, remote: bool) -> None:
    path = tmp_path / "mine.jsonl"
    path.touch()
    with Hub() as hub:
        where = hub.put("/mine.jsonl", path) if remote else str(path)
        both = Indexes.from_settings(Settings(home, home / "cache", indexes=(where,)))
        assert (both.status()[0].variants, len(both.find("resnet50"))) == (0, 4)


@pytest.mark.parametrize("fault", ["redirect-to-scheme", "404", "401"])
def test_an_index_that_cannot_be_had_says_so_without_its_secrets(
    home: Path, tmp_path: Path, fault: str
) -> None:
    with Hub() as hub:
        plain = hub.put("/mine.jsonl", private(tmp_path, LINE))
        hub.fault(fault, times=-1)
        url = f"{plain.replace('//', '//me:canary@')}?token=canary"
        with pytest.raises(ZooError) as caught:
            Indexes.from_settings(Settings(home, home / "cache", indexes=(url,))).find("a")
    assert plain in caught.value.message
    assert caught.value.hint
    assert "canary" not in f"{caught.value.message} {caught.value.hint}"


def test_an_index_is_shown_without_its_secrets(home: Path, tmp_path: Path) -> None:
    with Hub() as hub:
        plain = hub.put("/mine.jsonl", private(tmp_path, LINE))
        url = f"{plain.replace('//', '//me:canary@')}?token=canary"
        settings = Settings(home, home / "cache", indexes=(url,))
        assert Indexes.from_settings(settings).status()[0].where == plain
        assert "authorization" in hub.requests[-1].headers
