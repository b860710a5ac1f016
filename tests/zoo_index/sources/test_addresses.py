"""Addresses as users paste them: pages of the Hub, URLs with a pin, with a query, without .onnx."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.core.settings import Settings
from onnxzoo.zoo_index.sources.addresses import parse_address
from tests.support import models
from tests.support.commands import Run
from tests.support.hub import Hub, sha256

HEX = "ab" * 32


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return models.linear(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("https://huggingface.co/acme/small", "hf://acme/small"),
        ("https://huggingface.co/acme/small/", "hf://acme/small"),
        ("http://hf.co/acme/small", "hf://acme/small"),
        ("hf.co/acme/small", "hf://acme/small"),
        ("huggingface.co/acme/small/tree/main", "hf://acme/small"),
        ("https://huggingface.co/acme/small/tree/v2/onnx", "hf://acme/small@v2/onnx"),
        ("https://huggingface.co/acme/small/blob/main/m.onnx", "hf://acme/small/m.onnx"),
        (
            "https://huggingface.co/acme/small/resolve/main/onnx/m.onnx?download=true",
            "hf://acme/small/onnx/m.onnx",
        ),
        ("https://huggingface.co/acme/small/resolve/v2/m%201.onnx", "hf://acme/small@v2/m 1.onnx"),
        (
            "https://huggingface.co/acme/small/blob/refs%2Fpr%2F1/m.onnx",
            "hf://acme/small@refs%2Fpr%2F1/m.onnx",
        ),
        (
            "https://huggingface.co/acme/small/tree/refs/pr/1/onnx",
            "hf://acme/small@refs%2Fpr%2F1/onnx",
        ),
        ("https://huggingface.co/acme/small/commit/0a1b2c3", "hf://acme/small@0a1b2c3"),
        ("https://hub.acme.org/hf/acme/small", "hf://acme/small"),
        ("https://hub.acme.org/hf/acme/small/resolve/main/m.onnx", "hf://acme/small/m.onnx"),
        ("https://hub.acme.org/hf/files/m.onnx", "https://hub.acme.org/hf/files/m.onnx"),
        ("https://hub.acme.org/other/m.onnx", "https://hub.acme.org/other/m.onnx"),
        ("https://models.acme.org/a/b/blob/main/m.onnx?x=1", None),
        ("resnet50:int8@1", None),
        ("hf.co/small", None),
        ("./hf.co/acme/small", None),
        ("hf://acme/small/a#b.onnx", None),
    ],
)
def test_a_page_of_the_hub_means_its_repository(
    settings: Settings, text: str, source: str | None
) -> None:
    there = replace(settings, endpoint="https://hub.acme.org/hf")
    assert parse_address(text, there) == (source or text, None)


@pytest.mark.parametrize(
    "text",
    [
        "https://models.acme.org/m.onnx",
        "https://models.acme.org/m.onnx?v=1",
        "hf://acme/small/m.onnx",
        "./m.onnx",
    ],
)
def test_a_pin_at_the_end_is_taken_apart(settings: Settings, text: str) -> None:
    assert parse_address(f"{text}#sha256={HEX.upper()}", settings) == (text, HEX)


def test_a_bundle_of_an_archive_keeps_its_digest(settings: Settings) -> None:
    text = f"https://models.acme.org/m.zoo#sha256:{HEX}"
    assert parse_address(text, settings) == (text, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://models.acme.org/m.onnx#sha256=12", "`#sha256=12` is no pin"),
        (f"https://models.acme.org/m.onnx#md5={HEX}", "is no pin"),
        ("https://models.acme.org/m.onnx?key=secret#x", "`https://models.acme.org/m.onnx` is no"),
        ("https://huggingface.co/datasets/acme/small", "is no page of a model"),
        ("https://huggingface.co/acme", "is no page of a model"),
        ("https://huggingface.co/acme/small/discussions/1", "is no page of a model"),
        ("https://huggingface.co/acme/small/blob/main", "is no page of a model"),
    ],
)
def test_an_address_that_means_nothing_is_named(
    settings: Settings, text: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_address(text, settings)
    assert "secret" not in caught.value.message


def test_a_pasted_page_is_pulled_from_the_hub(zoo: Run, hub: Hub, model: Path) -> None:
    hub.add("acme/small", {"onnx/m.onnx": model, "other.onnx": models.linear(model, value=3)})
    ran = zoo("pull", f"{hub.url}/acme/small/blob/main/onnx/m.onnx", "-q")
    assert (ran.code, ran.err) == (0, "")
    source = [row for row in zoo("show", ran.out.strip()).out.splitlines() if "source" in row]
    assert "hf://acme/small" in source[0]
    ran = zoo("pull", f"{hub.url}/acme/small/tree/main/onnx", "-q")  # its only file: held already
    assert (ran.code, ran.err) == (0, "")
    assert zoo("list", "-q").out.count("\n") == 1


def test_a_bare_repository_is_pointed_to_the_hub(zoo: Run, hub: Hub) -> None:
    ran = zoo("pull", "Acme/Small")
    assert ran.code == 3
    assert "hint: if it is a repository on the Hub: zoo pull hf://Acme/Small" in ran.err
    ran = zoo("run", "acme/small")
    assert "zoo pull hf://acme/small" in ran.err
    assert hub.requests == []


def test_a_pin_in_the_address_is_held_against_the_bytes(zoo: Run, hub: Hub, model: Path) -> None:
    url = hub.put("/files/m.onnx", model)
    ran = zoo("pull", f"{url}#sha256={'0' * 64}", "--name", "mine")
    assert ran.code == 4
    assert zoo("list", "-q").out == ""
    ran = zoo("pull", f"{url}#sha256={sha256(model)}", "--name", "mine")
    assert ran.code == 0
    assert "pin it with" not in ran.err
    ran = zoo("pull", f"{url}#sha256={sha256(model)}", "--sha256", "0" * 64)
    assert (ran.code, "differs from" in ran.err) == (2, True)


@pytest.mark.parametrize("query", ["", "?id=5"])
def test_an_address_without_onnx_wants_a_name(zoo: Run, hub: Hub, model: Path, query: str) -> None:
    url = hub.put("/files/v1/download", model) + query
    ran = zoo("pull", url)
    assert ran.code == 2
    assert "--name NAME" in ran.err
    assert [r for r in hub.requests if "download" in r.path] == []
    assert zoo("pull", url, "--name", "mine", "-q").out == "mine:fp32@1\n"
    path = Path(zoo("path", "mine").out.strip())
    assert path.name == "download.onnx"
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    assert zoo("verify", "mine", "--repair").code == 0
    assert path.read_bytes() == model.read_bytes()


def test_an_address_with_a_query_is_pulled(zoo: Run, hub: Hub, model: Path) -> None:
    url = hub.put("/files/m.onnx", model) + "?version=3"
    assert zoo("pull", url, "-q").out == "m:fp32@1\n"


def test_a_dry_run_of_an_upgrade_says_what_it_would_do(
    zoo: Run, hub: Hub, model: Path, tmp_path: Path
) -> None:
    hub.add("acme/up", {"m.onnx": model})
    assert zoo("pull", "hf://acme/up", "-q").out == "acme/up:fp32@1\n"
    assert "nothing would be fetched" in zoo("pull", "-U", "hf://acme/up", "--dry-run").out
    hub.add("acme/up", {"m.onnx": models.linear(tmp_path / "new.onnx", value=2)})
    assert "nothing would be fetched" in zoo("pull", "hf://acme/up", "--dry-run").out
    assert "nothing would be fetched" not in zoo("pull", "-U", "hf://acme/up", "--dry-run").out
    assert zoo("pull", "-U", "hf://acme/up", "-q").out == "acme/up:fp32@2\n"
