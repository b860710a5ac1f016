"""Licences: what may come in, what is held under which, and the documents that they ask for."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import onnxzoo
from onnxzoo.registry.api import Registry
from onnxzoo.registry.core.errors import Refused
from onnxzoo.registry.core.records import Variant
from onnxzoo.registry.licenses.attribution import attribution
from onnxzoo.registry.licenses.policy import permits
from onnxzoo.registry.licenses.sbom import bom, purl_of
from tests.registry.derive.test_lineage import child
from tests.support import models
from tests.support.commands import Run
from tests.support.hub import Hub


@pytest.mark.parametrize(
    ("allowed", "license_", "verdict"),
    [
        ([], None, True),
        (["MIT"], "mit", True),
        (["apache-2.0", "mit"], "Apache-2.0", True),
        (["mit"], "MIT-0", False),
        (["mit"], None, False),
        (["mit"], "", False),
        (["mit", "Unknown"], None, True),
        (["mit"], "GPL-3.0-only or MIT", True),
        (["mit"], "GPL-3.0-only AND MIT", False),
        (["mit", "bsd-3-clause"], "BSD-3-Clause AND MIT", True),
        (["mit"], "(MIT)", False),
        (["mit"], "GPL-2.0-only OR (MIT AND GPL-3.0-only)", False),
        (["mit"], "ORMIT", False),
    ],
)
def test_what_is_allowed(allowed: list[str], license_: str | None, *, verdict: bool) -> None:
    assert permits(allowed, license_) is verdict


def test_a_model_under_another_licence_is_refused_before_it_is_fetched(
    zoo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        path = models.linear(tmp_path / "m.onnx")
        hub.add("acme/open", {"m.onnx": path}, license="mit")
        hub.add("acme/shut", {"m.onnx": path}, license="cc-by-nc-4.0")
        hub.add("acme/none", {"m.onnx": path})
        for name, said in (("shut", "is under the licence `CC-BY-NC-4.0`"), ("none", "has no")):
            ran = zoo("pull", f"hf://acme/{name}", "--allow-license", "apache-2.0,MIT")
            assert ran.code == 5
            assert f"`acme/{name}` {said}" in ran.err
            assert "hint: --allow-license apache-2.0,MIT," in ran.err
            assert hub.bodies() == []
        assert zoo("pull", "hf://acme/open", "--allow-license", "apache-2.0,MIT").code == 0
        assert zoo("pull", "hf://acme/none", "--allow-license", "unknown").code == 0
    assert onnxzoo.resolve("acme/open").license == "MIT"


def test_the_environment_decides_for_every_way_in(
    zoo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Registry(tmp_path / "there") as there:
        there.register(models.linear(tmp_path / "m.onnx"), "m", license="MIT")
        there.export(["m"], tmp_path / "m.zoo")
    monkeypatch.setenv("ZOO_ALLOW_LICENSES", " bsd-3-clause , zlib")
    assert zoo("pull", "light-squeezenet").code == 5
    assert zoo("pull", "light-squeezenet", "--dry-run").code == 5
    assert zoo("run", "light-squeezenet").code == 5
    with pytest.raises(Refused, match="Apache"):
        onnxzoo.load("light-squeezenet")
    assert zoo("import", tmp_path / "m.zoo").code == 5
    assert zoo("list", "-q").out == ""
    assert zoo("import", tmp_path / "m.zoo", "--allow-license", "mit").code == 0
    assert onnxzoo.pull("light-squeezenet", allow_licenses=["Apache-2.0"]).license == "Apache-2.0"
    # What is held is judged alike, so that a script does the same on every machine.
    assert zoo("pull", "light-squeezenet").code == 5
    assert zoo("pull", "m").code == 5
    onnxzoo.load("light-squeezenet")


def test_an_empty_licence_is_a_usage_error(zoo: Run) -> None:
    assert zoo("pull", "light-squeezenet", "--allow-license", "mit,").code == 2


@pytest.fixture
def held(tmp_path: Path, home: Path) -> list[Variant]:
    """A model of the user's own, one derived from it, and one from the Hub."""
    with Registry() as registry:
        path = models.external(tmp_path / "m.onnx")
        first = registry.register(path, "acme/m", license="MIT", task="ranking").variant
        child(registry, tmp_path / "2.onnx", first, label="two", opset=18)
        registry.register(models.linear(tmp_path / "n.onnx", value=3), "n")
        variants = [*registry.selected([])]
    return [
        *variants[:2],
        replace(variants[2], name="h", source="hf://Acme/Net", revision="AB12", license="other"),
    ]


def test_licences_are_listed(zoo: Run, held: list[Variant]) -> None:
    lines = zoo("licenses").out.splitlines()
    assert lines[0].split() == ["NAME", "VERSION", "LICENSE", "SOURCE"]
    assert lines[1].split()[:3] == ["acme/m", "1", "MIT"]
    assert lines[2].split()[:3] == ["n", "1", "unknown"]
    assert zoo("licenses", "-q").out.split() == ["acme/m@1", "n@1"]
    said = json.loads(zoo("licenses", "acme/m", "--json").out)
    assert [(row["ref"], row["license"], row["variants"]) for row in said] == [
        ("acme/m@1", "MIT", ["fp32", "two"])
    ]
    assert said[0]["source"] == str(held[0].source)


def test_a_licence_that_is_not_allowed_is_told_by_the_exit_code(
    zoo: Run, held: list[Variant]
) -> None:
    ran = zoo("licenses", "--allow-license", "mit")
    assert ran.code == 5
    assert "not allowed, or is not known: `n@1`" in ran.err
    assert zoo("licenses", "acme/m", "--allow-license", "mit").code == 0


def test_an_attribution_names_licence_source_change_and_files(held: list[Variant]) -> None:
    text = attribution(held)
    assert text.splitlines()[2:9] == [
        "acme/m, version 1",
        "-----------------",
        "licence: MIT (https://spdx.org/licenses/MIT.html)",
        "source: a local file",
        "changed: two was made from acme/m:fp32@1 (opset)",
        f"file: fp32/m.onnx sha256:{held[0].files[0].sha256}",
        f"file: fp32/weights.bin sha256:{held[0].files[1].sha256}",
    ]
    assert "source: https://huggingface.co/Acme/Net/tree/AB12\n" in text
    assert str(held[0].source) not in text  # a path of this machine is nobody's business


def test_text_of_others_begins_no_line(held: list[Variant]) -> None:
    forged = replace(held[0], license="MIT\nsource: https://evil.example")
    assert "\nsource: https://evil" not in attribution([forged])


@pytest.mark.parametrize(
    ("said", "link"),
    [
        ("apache-2.0", " (https://spdx.org/licenses/Apache-2.0.html)"),
        ("Proprietary", ""),
        ("other", ""),
        ("llama2", ""),
        ("MIT OR Apache-2.0", ""),
    ],
)
def test_only_what_spdx_lists_is_linked(held: list[Variant], said: str, link: str) -> None:
    assert f"\nlicence: {said}{link}\n" in attribution([replace(held[0], license=said)])


def test_an_author_cannot_hide_anything_in_an_attribution(held: list[Variant]) -> None:
    graph = replace(held[0].graph, metadata={"author": "me\x1b[8m\u202eyou"})
    text = attribution([replace(held[0], graph=graph)])
    assert "author: me\\x1b[8m\\u202eyou\n" in text


def test_a_document_is_written_to_a_file_or_to_stdout(
    zoo: Run, held: list[Variant], tmp_path: Path
) -> None:
    for kind in ("--attribution", "--sbom"):
        out = tmp_path / f"out{kind}"
        ran = zoo("licenses", kind, "-o", out, "acme/m")
        assert (ran.code, ran.out, ran.err) == (0, "", f"wrote {out}\n")
        assert "acme" in out.read_text()
    assert (
        zoo("licenses", "--attribution", "acme/m").out
        == (tmp_path / "out--attribution").read_text()
    )
    assert zoo("licenses", "--attribution", "--sbom").code == 2
    assert zoo("licenses", "-o", tmp_path / "x").code == 2


def test_a_bill_of_materials_is_valid_cyclonedx(held: list[Variant]) -> None:
    validation = pytest.importorskip("cyclonedx.validation.json")
    schema = pytest.importorskip("cyclonedx.schema")
    pytest.importorskip("jsonschema")
    odd = replace(
        held[0],
        name="odd",
        source="https://acme.example/a b|c.onnx?x=1",
        license="Nobody's \x1b[31m licence, of <our> own",
        task="\u202e",
    )
    text = bom([*held, odd])
    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_6)
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"CycloneDX"', '"Other"')) is not None


def test_a_bill_of_materials_says_what_is_known(held: list[Variant]) -> None:
    pytest.importorskip("cyclonedx")
    values = json.loads(bom(held))
    parts = {part["bom-ref"]: part for part in values["components"]}
    first, second, third = (parts[variant.ref] for variant in held)
    assert {part["type"] for part in parts.values()} == {"machine-learning-model"}
    assert (first["group"], first["name"], first["version"]) == ("acme", "m", "1")
    assert first["licenses"] == [{"license": {"id": "MIT"}}]
    assert third["licenses"] == [{"license": {"name": "other"}}]
    assert [file["name"] for file in first["components"]] == ["m.onnx", "weights.bin"]
    assert first["components"][1]["hashes"] == [
        {"alg": "SHA-256", "content": held[0].files[1].sha256}
    ]
    (ancestor,) = second["pedigree"]["ancestors"]
    assert ancestor["purl"] == first["purl"]
    assert third["purl"] == "pkg:huggingface/Acme/Net@ab12"
    assert third["externalReferences"] == [
        {"type": "distribution", "url": "https://huggingface.co/Acme/Net/tree/AB12"}
    ]


def test_a_purl_of_what_is_nobody_elses_holds_its_hashes(held: list[Variant]) -> None:
    pytest.importorskip("packageurl")
    purl = purl_of(held[0])
    assert (purl.type, purl.namespace, purl.name, purl.version) == ("generic", "acme", "m", "1")
    assert str(purl).count("sha256:") == 2


def test_the_same_models_give_the_same_document(
    zoo: Run, held: list[Variant], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cyclonedx")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first, second = zoo("licenses", "--sbom").out, zoo("licenses", "--sbom").out
    assert first == second
    assert json.loads(first)["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    other = json.loads(zoo("licenses", "--sbom", "acme/m").out)
    assert other["serialNumber"] != json.loads(first)["serialNumber"]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert zoo("licenses", "--sbom").code == 2


def test_one_licence_has_one_spelling(zoo: Run, tmp_path: Path) -> None:
    for name, license_ in (("one", "apache-2.0"), ("two", "Apache-2.0"), ("three", "Acme OWN")):
        path = models.linear(tmp_path / f"{name}.onnx", value=len(name))
        assert zoo("register", path, "--name", name, "--license", license_).code == 0
    listed = json.loads(zoo("list", "--json").out)
    assert {item["name"]: item["license"] for item in listed} == {
        "one": "Apache-2.0", "two": "Apache-2.0", "three": "Acme OWN",
    }  # fmt: skip
    assert zoo("list", "--license", "APACHE-2.0", "-q").out.split() == ["one:fp32@1", "two:fp32@1"]


def test_a_licence_written_before_is_shown_in_the_same_spelling(
    zoo: Run, home: Path, tmp_path: Path
) -> None:
    zoo("register", models.linear(tmp_path / "m.onnx"), "--name", "net", "--license", "MIT")
    with closing(sqlite3.connect(home / "registry.db")) as connection, connection:
        connection.execute("UPDATE version SET license = 'mit'")
    assert json.loads(zoo("show", "net", "--json").out)["license"] == "MIT"
