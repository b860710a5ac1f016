"""Builds of onnxruntime: none, a half-removed one, two in one folder, one that lacks a library."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import onnxruntime
import pytest

import onnxzoo
from onnxzoo.registry.core.errors import UsageError
from onnxzoo.registry.runtime.builds import installed, running
from onnxzoo.registry.runtime.providers import (
    CPU,
    absent_dependency,
    available_providers,
    missing_library,
    providers_of,
    wanted_providers,
)
from tests.support import models

SITE = Path(sysconfig.get_path("purelib"))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with all that is installed here, except onnxruntime."""
    site = tmp_path / "site"
    site.mkdir()
    for there in SITE.iterdir():
        if not there.name.startswith(("onnxruntime", "onnxzoo", "__")):
            (site / there.name).symlink_to(there)
    (site / "onnxzoo").symlink_to(Path(onnxzoo.__file__).parent)
    return site


def zoo(site: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-S", "-m", "onnxzoo", *words],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def install(site: Path, package: str, version: str) -> None:
    """Write what an installer writes of a package that brings onnxruntime."""
    info = site / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (info / "RECORD").write_text("onnxruntime/__init__.py,,\n")


@pytest.mark.parametrize("words", ["run light-squeezenet", "pull light-squeezenet", "doctor"])
def test_without_onnxruntime_the_command_to_type_is_named(site: Path, words: str) -> None:
    ran = zoo(site, *words.split())
    assert ran.returncode == 3, ran
    assert "onnxruntime is not installed" in ran.stdout + ran.stderr
    assert "pip install 'onnxzoo[cpu]'" in ran.stdout + ran.stderr


READ = [
    "show {name}",
    "show {file}",
    "show resnet50",
    "opsets {name}",
    "pull resnet50 --dry-run",
    "pull {name} --dry-run",
]


@pytest.mark.parametrize("words", READ)
def test_without_onnxruntime_reading_works_and_says_that_running_is_unknown(
    site: Path, tmp_path: Path, words: str
) -> None:
    file = models.linear(tmp_path / "m.onnx")
    onnxzoo.register(file, name="mine")
    ran = zoo(site, *words.format(name="mine", file=file).split())
    assert ran.returncode == 0, ran
    assert "onnxruntime is not installed: nothing can be said of running here" in ran.stderr
    assert "pip install 'onnxzoo[cpu]'" in ran.stderr
    assert "runs here  yes" not in ran.stdout


def test_without_onnxruntime_another_release_is_judged(site: Path, tmp_path: Path) -> None:
    onnxzoo.register(models.linear(tmp_path / "m.onnx"), name="mine")
    ran = zoo(site, *["opsets", "mine", "--for", "onnxruntime==1.17", "--json"])
    assert ran.returncode == 0, ran
    assert '"runs_here": true' in ran.stdout
    assert "not installed" not in ran.stderr
    assert '"runtime": null' in zoo(site, "show", "mine", "--json").stdout


@pytest.mark.parametrize("words", ["list", "versions mine", "search resnet50 --for 1.17"])
def test_without_onnxruntime_what_is_held_is_listed(site: Path, tmp_path: Path, words: str) -> None:
    onnxzoo.register(models.linear(tmp_path / "m.onnx"), name="mine")
    assert zoo(site, *words.split()).returncode == 0


@pytest.mark.parametrize("words", ["run light-squeezenet", "doctor"])
def test_what_an_uninstall_left_is_no_bug(site: Path, words: str) -> None:
    capi = site / "onnxruntime" / "capi"
    capi.mkdir(parents=True)
    (capi / "libonnxruntime.so.1").write_bytes(b"")  # a folder without __init__.py
    install(site, "onnxruntime", "1.32.0")
    ran = zoo(site, *words.split())
    assert ran.returncode == 3, ran
    assert "the installed onnxruntime is incomplete" in ran.stdout + ran.stderr
    assert "pip uninstall -y onnxruntime && pip install 'onnxzoo[cpu]'" in ran.stdout + ran.stderr


def test_the_doctor_sees_two_builds_in_one_folder(site: Path) -> None:
    (site / "onnxruntime").symlink_to(Path(onnxruntime.__file__).parent)
    here = str(running())
    install(site, *here.split("=="))
    install(site, "onnxruntime-gpu", "9.9")
    ran = zoo(site, "doctor")
    assert ran.returncode == 3, ran
    assert f"`onnxruntime-gpu==9.9` are installed in one folder; `{here}` is the one" in ran.stdout
    way_out = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'onnxzoo[gpu]'"
    assert way_out in ran.stdout


def test_the_build_that_runs_is_installed() -> None:
    assert running() in installed()
    assert running().version == onnxruntime.__version__


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's loader names the library")
def test_a_library_that_is_missing_is_named(tmp_path: Path) -> None:
    whole = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime_providers_shared.so"))
    other = tmp_path / "other.so"
    other.write_bytes(whole.read_bytes().replace(b"libc.so.6\0", b"libq.so.6\0"))
    assert absent_dependency(whole) is None
    assert absent_dependency(other) == "libq.so.6"


def test_a_provider_that_was_not_built_in_lacks_no_library() -> None:
    assert missing_library("NoSuchExecutionProvider") is None
    assert missing_library(CPU) is None


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("CPU", [CPU]),
        ("CUDA", ["CUDAExecutionProvider", CPU]),
        ("cuda:0", ["CUDAExecutionProvider", CPU]),
        ("cuda:1", [("CUDAExecutionProvider", {"device_id": "1"}), CPU]),
        ("directml", ["DmlExecutionProvider", CPU]),
        ("DML:2", [("DmlExecutionProvider", {"device_id": "2"}), CPU]),
        ("trt", ["TensorrtExecutionProvider", CPU]),
    ],
)
def test_a_device_is_a_provider(device: str, expected: list[object]) -> None:
    assert providers_of(device) == expected


@pytest.mark.skipif(
    not {*available_providers()} <= {CPU, "AzureExecutionProvider"}, reason="has more providers"
)
def test_gpu_is_cuda_where_there_is_none() -> None:
    assert providers_of("gpu") == ["CUDAExecutionProvider", CPU]
    assert wanted_providers("auto") == [CPU]


@pytest.mark.parametrize("device", ["tpu", "", "cuda:", "cuda:x", "cpu:0", "auto:1", "openvino:1"])
def test_what_is_no_device_is_a_usage_error(device: str) -> None:
    with pytest.raises(UsageError, match=f"`{device}` is not a device"):
        providers_of(device)
