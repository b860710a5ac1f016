"""The command line as a user meets it: what it prints where, and with which exit code."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxzoo.cli.app import app
from onnxzoo.cli.output import safe
from onnxzoo.zoo_index.index.indexes import SHIPPED
from tests.support import models
from tests.support.archives import npz, one_set, spread, tar
from tests.support.commands import Ran, Run
from tests.support.hub import Hub, sha256


@pytest.fixture
def mine(zoo: Run, tmp_path: Path) -> Path:
    """A registered model, ``mine``, with two versions."""
    path = models.linear(tmp_path / "mine.onnx")
    assert zoo("register", path, "--name", "mine", "--tag", "small", "--license", "MIT").code == 0
    other = models.linear(tmp_path / "other.onnx", value=2)
    assert zoo("register", other, "--name", "mine").code == 0
    return path


def test_help_names_every_command_in_one_group(zoo: Run) -> None:
    registered: list[Any] = [*app.registered_commands, *app.registered_groups]
    commands = {one.name or one.callback.__name__ for one in registered if not one.hidden}
    shown = zoo("--help")
    assert len(commands) > 25
    for name in commands:
        found = re.findall(rf"^  {name} ", shown.out, re.MULTILINE)
        assert len(found) == 1, name
    assert "zoo pull [OPTIONS]" in zoo("help", "pull").out
    assert zoo("-V").out == zoo("version").out == zoo("--version").out
    code, _, err = zoo("help", "nothing")
    assert (code, "no command `nothing`" in err) == (2, True)


def test_what_libraries_log_reaches_no_user(home: Path) -> None:
    code = """
import logging, sys
sys.argv = ["zoo", "list", "-q"]
from onnxzoo.cli import main
try:
    main()
finally:
    logging.getLogger("sqlalchemy.pool").error("Exception closing connection")
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("", "")


@pytest.mark.parametrize("words", [[], ["index"]])
def test_a_command_without_its_command_shows_its_help(zoo: Run, words: list[str]) -> None:
    ran = zoo(*words)
    assert (ran.code, ran.out.lower().startswith("usage: "), ran.err) == (2, True, "")


def test_the_version_is_printed(zoo: Run) -> None:
    assert zoo("--version").out.startswith("onnxzoo ")


@pytest.mark.parametrize(
    ("words", "code", "error", "hint"),
    [
        (["nonsense"], 2, "no such command 'nonsense'", "zoo --help"),
        (["pull"], 2, "missing argument", "zoo pull --help"),
        (["list", "--frob"], 2, "no such option: --frob", "zoo list --help"),
        (["pull", "resnt50"], 3, "did you mean `resnet50`", "zoo search resnet50"),
        (["pull", "UPPER CASE!"], 2, "`upper case!` is not a model's name", "for example"),
        (["show", "gone"], 3, "no model `gone`", "zoo search"),
        (["path", "resnet50:int8"], 3, "no model `resnet50` is held", "zoo pull resnet50:int8"),
        (["path", "resnet50-v1-7"], 3, "is held", "zoo pull resnet50-v1-7"),
        (["path", "gone"], 3, "no model `gone` is held", "zoo search gone"),
        (["run", "gone"], 3, "no model `gone`", "zoo search"),
        (["versions", "resnet50"], 3, "no model `resnet50` is held", "zoo pull resnet50"),
        (["rm", "gone"], 3, "no model `gone` is held", "zoo search gone"),
        (["register", "gone.onnx", "--name", "x"], 3, "no file `gone.onnx`", None),
        (["pull", "resnet50", "--opset", "abc"], 2, "`abc` is not an opset", "--opset 12"),
        (["search", "x", "--max-size", "huge"], 2, "`huge` is not a size", "50MB, 2GB"),
        (["search", "qwertz"], 3, "no model matches `qwertz`", "zoo pull hf://OWNER/REPOSITORY"),
        (["search", "whisper"], 3, "no model matches", "models?library=onnx&search=whisper"),
        (["search", "resnt50"], 3, "did you mean `resnet50`", "zoo search resnet50"),
        (["search", "resnt", "50"], 3, "did you mean `resnet50`", "zoo search resnet50"),
        (["search", "acme/small"], 3, "no model matches", "zoo pull hf://acme/small --dry-run"),
        (["search", "resnet50", "--max-size", "1kB"], 3, "matches `resnet50`", "fewer options"),
        (["show", "acme/small"], 3, "no model", "zoo pull hf://acme/small --dry-run"),
        (["show", "hf://acme/small"], 2, "is a source", "zoo pull hf://acme/small --dry-run"),
        (["run", "hf://acme/small:q4"], 2, "is a source", "zoo pull hf://acme/small:q4 --dry-run"),
        (["show", "https://a:b@c/m?sig=1"], 2, "`https://…` is a source", "zoo pull URL --dry-run"),
        (["alias", "gone", "production"], 3, "no model `gone`", None),
        (["pull", "a", "b", "--name", "c"], 2, "--name and --sha256 go with one", None),
    ],
)
def test_a_mistake_gets_its_code_what_happened_and_what_to_type(
    zoo: Run, words: list[str], code: int, error: str, hint: str | None
) -> None:
    ran = zoo(*words)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("error: ")
    assert error in ran.err
    assert hint is None or hint in ran.err.partition("hint: ")[2]


def test_an_empty_registry_says_what_to_do(zoo: Run) -> None:
    assert zoo("list") == Ran(0, "", "nothing is held yet; try: zoo pull light-squeezenet\n")
    assert zoo("list", "--json").out == "[]\n"
    assert zoo("list", "-q") == Ran(0, "", "")
    assert zoo("verify").code == 0
    assert zoo("gc").code == 0


def test_the_main_job_runs_with_no_network(zoo: Run) -> None:
    assert "pulled light-squeezenet:fp32@1" in zoo("pull", "light-squeezenet").out
    assert zoo("pull", "light-squeezenet").out == "light-squeezenet:fp32@1 is held already\n"
    ran = zoo("run", "light-squeezenet")
    assert ran.code == 0
    assert "[1, 1000, 1, 1]" in ran.out
    assert "load" in ran.out


def test_run_pulls_what_only_an_index_has(zoo: Run) -> None:
    assert zoo("run", "light-zfnet512").code == 0
    assert zoo("list", "-q").out == "light-zfnet512:fp32@1\n"


def test_quiet_prints_references_only(zoo: Run, mine: Path) -> None:
    assert zoo("list", "-q").out == "mine:fp32@2\nmine:fp32@1\n"
    assert zoo("versions", "mine", "-q").out == "mine@2\nmine@1\n"
    assert zoo("opsets", "mine", "-q").out == "mine:fp32@2\nmine:fp32@1\n"
    assert zoo("pull", "light-squeezenet", "-q") == Ran(0, "light-squeezenet:fp32@1\n", "")
    assert zoo("search", "mine", "-q").out == "mine\n"


@pytest.mark.parametrize(
    "words",
    [
        ["list"],
        ["show", "mine"],
        ["show", "resnet50"],
        ["versions", "mine"],
        ["opsets", "resnet50"],
        ["search", "resnet50"],
        ["pull", "light-squeezenet"],
        ["pull", "resnet50", "--dry-run"],
        ["alias", "mine"],
        ["tag", "mine"],
        ["path", "mine"],
        ["run", "mine"],
        ["verify"],
        ["gc", "--dry-run"],
        ["index", "list"],
        ["doctor"],
    ],
)
def test_json_is_one_document_on_stdout(zoo: Run, mine: Path, words: list[str]) -> None:
    ran = zoo(*words, "--json")
    assert ran.code == 0
    assert json.loads(ran.out) or ran.out.strip() == "[]"


def test_json_has_the_keys_that_were_promised(zoo: Run, mine: Path) -> None:
    shown = json.loads(zoo("show", "mine@1", "--json").out)
    keys = (
        "name version variant precision opset ir_version bytes digest source revision license "
        "task created_at aliases inputs outputs files path"
    )
    assert set(keys.split()) <= set(shown)
    assert shown["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["batch", 4]}]
    assert Path(shown["path"]).is_file()
    assert set(shown["files"][0]) == {"path", "sha256", "bytes"}


def test_an_alias_is_set_moved_listed_and_removed(zoo: Run, mine: Path) -> None:
    assert "mine@production is version 1" in zoo("alias", "mine@1", "production").err
    assert "version 2, moved from 1" in zoo("alias", "mine@2", "production").err
    assert json.loads(zoo("alias", "mine", "--json").out) == {"latest": 2, "production": 2}
    assert zoo("path", "mine@production").out == zoo("path", "mine@2").out
    assert zoo("alias", "mine", "production", "--remove").code == 0
    assert json.loads(zoo("alias", "mine", "--json").out) == {"latest": 2}
    assert zoo("alias", "mine", "latest").code == 2


def test_asking_what_an_alias_means_moves_nothing(zoo: Run, mine: Path) -> None:
    zoo("alias", "mine@1", "production")
    ran = zoo("alias", "mine", "Production")
    assert (ran.code, ran.out) == (0, "mine:fp32@1\n")
    assert "zoo alias mine@2 production moves it" in ran.err
    assert zoo("path", "mine@production").out == zoo("path", "mine@1").out
    ran = zoo("alias", "mine", "stable")
    assert (ran.code, "zoo alias mine@2 stable sets it" in ran.err) == (3, True)
    assert zoo("alias", "mine:fp32", "production").code == 2


def test_a_version_has_no_tags_of_its_own(zoo: Run, mine: Path) -> None:
    for extra in ((), ("--remove",)):
        ran = zoo("tag", "mine@2", "small", *extra)
        assert (ran.code, "tags belong to a model" in ran.err) == (2, True)


def test_an_alias_does_not_move_to_other_inputs_unforced(
    zoo: Run, mine: Path, tmp_path: Path
) -> None:
    zoo("alias", "mine@1", "production")
    other = models.linear(tmp_path / "other.onnx", value=5)
    model = onnx.load(other)
    model.graph.input[0].name = model.graph.node[0].input[0] = "z"
    onnx.save(model, other)
    zoo("register", other, "--name", "mine", "--new-version")
    ran = zoo("alias", "mine@3", "production")
    assert ran.code == 5, ran
    assert "input `x` is gone; input `z` is new" in ran.err
    assert zoo("path", "mine@production").out == zoo("path", "mine@1").out
    assert zoo("alias", "mine@3", "production", "--force").code == 0


def test_tags_are_set_listed_and_removed(zoo: Run, mine: Path) -> None:
    assert zoo("tag", "mine", "edge").out == "edge\nsmall\n"
    assert zoo("list", "edge", "-q").out.splitlines() == ["mine:fp32@2", "mine:fp32@1"]
    assert zoo("tag", "mine", "edge", "--remove").out == "small\n"
    assert zoo("tag", "mine", "edge", "--remove").code == 3


def test_what_an_alias_points_to_is_not_removed_unless_told(zoo: Run, mine: Path) -> None:
    zoo("alias", "mine@1", "production")
    refused = zoo("rm", "mine@1")
    assert (refused.code, "`production` points to" in refused.err) == (5, True)
    assert zoo("rm", "mine@1", "--force").out == "removed mine:fp32@1\n"
    assert json.loads(zoo("gc", "--dry-run", "--json").out)["bytes"] > 0
    assert zoo("gc").code == 0
    assert json.loads(zoo("gc", "--dry-run", "--json").out)["items"] == []


def test_damage_is_named_moved_aside_and_repaired(zoo: Run, mine: Path) -> None:
    path = Path(zoo("path", "mine@1").out.strip())
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    found = zoo("verify")
    assert (found.code, "mine:fp32@1" in found.err, "moved aside" in found.err) == (4, True, True)
    assert zoo("path", "mine@1").code == 4
    assert zoo("doctor").code == 4
    assert zoo("verify", "--repair").code == 0
    assert zoo("verify").code == 0


def test_outputs_are_saved_under_any_name_and_whole_or_not_at_all(
    zoo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = models.linear(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.node[0].output[0] = model.graph.output[0].name = "file"
    path.write_bytes(model.SerializeToString())
    zoo("register", path, "--name", "net")
    out = tmp_path / "out.npz"
    assert zoo("run", "net", "--save", out).code == 0
    with np.load(out) as saved:
        assert saved.files == ["file"]
    assert [entry.name for entry in tmp_path.iterdir() if "out.npz" in entry.name] == ["out.npz"]


def test_run_takes_inputs_and_saves_outputs(zoo: Run, mine: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((2, 4), 3, np.float32))
    out = tmp_path / "out.npz"
    assert zoo("run", "mine", "-i", f"x={tmp_path / 'x.npy'}", "--save", out).code == 0
    with np.load(out) as saved:
        np.testing.assert_array_equal(saved["y"], np.full((2, 4), 6, np.float32))
    assert "[5, 4]" in zoo("run", "mine", "--axis", "batch=5").out
    np.savez(tmp_path / "in.npz", x=np.full((3, 4), 3, np.float32), y=np.zeros(1))
    assert "[3, 4]" in zoo("run", "mine", "-i", f"x={tmp_path / 'in.npz'}").out


@pytest.mark.parametrize(
    ("option", "code", "message"),
    [
        ("y=x.npy", 3, "no file `x.npy`"),
        ("x", 2, "`x` is not `NAME=VALUE`"),
        ("z=ok.npy", 2, "no input `z`; the model has `x` [batch, 4]"),
        ("x=bad.npy", 2, "`bad.npy` is not a .npy file"),
        ("x=other.npz", 2, "`other.npz` holds no `x`; it holds `y`"),
        ("x=ok.npy", 2, "the model does not take these inputs"),
        ("x=double.npy", 2, "the input `x` is float64; the model takes float32"),
    ],
)
def test_a_wrong_input_is_refused_by_name(
    zoo: Run, mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str,
    code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    np.save("ok.npy", np.zeros((1, 5), np.float32))
    np.save("double.npy", np.zeros((1, 4)))
    np.savez("other.npz", y=np.zeros((1, 4)))
    Path("bad.npy").write_bytes(b"\x80\x04.")
    ran = zoo("run", "mine", "-i", option)
    assert (ran.code, message in ran.err) == (code, True), ran.err


def test_a_provider_that_is_not_there_is_refused(zoo: Run, mine: Path) -> None:
    ran = zoo("run", "mine", "--device", "tensorrt")
    assert (ran.code, "onnxzoo[gpu]" in ran.err) == (5, True)


def test_several_references_are_pulled_although_one_fails(zoo: Run) -> None:
    ran = zoo("pull", "light-squeezenet", "gone", "light-zfnet512")
    assert (ran.code, ran.out.count("pulled")) == (3, 2)


def test_offline_says_so(zoo: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    ran = zoo("pull", "resnet50")
    assert (ran.code, "offline" in ran.err) == (6, True)
    assert zoo("pull", "resnet50", "--dry-run").code == 0


def test_a_damaged_database_is_named_and_kept(zoo: Run, home: Path) -> None:
    home.mkdir()
    (home / "registry.db").write_bytes(b"not a database" * 100)
    ran = zoo("list")
    assert (ran.code, "registry.db" in ran.err) == (9, True)
    assert (home / "registry.db").read_bytes() == b"not a database" * 100
    assert zoo("doctor").code == 9


def test_text_from_a_model_cannot_forge_output(zoo: Run, tmp_path: Path) -> None:
    import onnx

    path = models.linear(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.producer_name = "evil\x1b[2J\u202e\nerror: forged"
    path.write_bytes(model.SerializeToString())
    zoo("register", path, "--name", "mine")
    out = zoo("show", "mine").out
    assert r"evil\x1b[2J\u202e\nerror: forged" in out
    assert "\x1b" not in zoo("show", "mine", "--json").out


def test_what_could_move_the_cursor_becomes_visible() -> None:
    assert safe("a\r\x07\x9b\u200b\ufeff") == r"a\r\x07\x9b\u200b\ufeff"


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m onnxzoo search --limit 0 | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (done.stdout.split()[0], done.stderr) == ("NAME", "")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interruption_says_what_was_kept(tmp_path: Path, number: int, code: int) -> None:
    path = tmp_path / "slow.onnx"
    models.sized(path, 300)
    process = subprocess.Popen(
        [sys.executable, "-m", "onnxzoo", "register", path, "--name", "big"],
        stderr=subprocess.PIPE,
        text=True,
    )
    staging = Path(os.environ["ZOO_HOME"]) / "store" / ".staging"
    while not any(staging.glob("*/slow.onnx")):
        time.sleep(0.005)
    process.send_signal(number)
    _, said = process.communicate()
    assert (process.returncode, said.startswith("interrupted: ")) == (code, True)
    assert list(staging.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_an_error_that_cannot_be_said_keeps_its_exit_code() -> None:
    command = f"{sys.executable} -m onnxzoo path nothing 2>/dev/full"
    assert subprocess.run(command, shell=True, check=False).returncode == 3


SLOW = """
import time
from onnxzoo.cli.progress import progress
from onnxzoo.registry.core.settings import Settings
with progress(Settings.from_env(), quiet=False, verb="fetched") as report:
    for done in (0, 50, 100):
        report("big.onnx", done, 100)
        time.sleep(0.4)
"""


@pytest.mark.parametrize(("ci", "seen"), [("", "100/100 bytes"), ("true", "fetched big.onnx: 100")])
def test_a_terminal_sees_a_bar_and_a_log_one_line(ci: str, seen: str) -> None:
    reader, writer = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "CI": ci}
    subprocess.run([sys.executable, "-c", SLOW], stderr=writer, check=True, env=environment)
    assert seen in os.read(reader, 1 << 16).decode()


def test_the_hint_to_pin_names_the_model_and_no_secret(zoo: Run, tmp_path: Path) -> None:
    path = models.external(tmp_path / "net.onnx", "a.bin")
    with Hub() as hub:
        url = hub.put("/net.onnx", path)
        hub.put("/a.bin", tmp_path / "a.bin")
        ran = zoo("pull", f"{url.replace('//', '//me:canary@')}?token=canary")
    assert ran.code == 0
    assert f"zoo pull {url} --sha256 {sha256(path)}\n" in ran.err
    assert "canary" not in ran.err


def test_what_is_held_is_shown_so_whatever_the_words_match(zoo: Run, mine: Path) -> None:
    zoo("pull", "light-squeezenet")
    found = zoo("search", "light-squeezenet", "GlobalAveragePool").out.splitlines()
    assert found[1].split()[:2] == ["light-squeezenet", "fp32"]
    assert zoo("search", "mine", "mul").out.splitlines()[1].split()[:3] == ["mine", "fp32", "fp32"]


def test_a_range_of_one_size_is_one_size(zoo: Run, tmp_path: Path) -> None:
    for number in (1, 2):
        path = models.linear(tmp_path / f"{number}.onnx", value=number)
        zoo("register", path, "--name", f"mine:v{number}")
    assert "…" not in zoo("search", "mine").out


@pytest.mark.parametrize(
    ("line", "offered"),
    [("zoo path mi", ["mine"]), ("zoo show light-resn", ["light-resnet50"]), ("zoo rm x", [])],
)
def test_a_shell_completes_names(mine: Path, line: str, offered: list[str]) -> None:
    words = {"COMP_WORDS": line, "COMP_CWORD": "2", "_ZOO_COMPLETE": "complete_bash"}
    code = "import sys; sys.argv = ['zoo']; from onnxzoo.cli import main; main()"
    process = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        check=False,
        text=True,
        env={**os.environ, **words},
    )
    assert process.stdout.split() == offered


def test_on_a_narrow_terminal_text_is_cut_and_no_number(zoo: Run, tmp_path: Path) -> None:
    for number in range(6):
        path = models.linear(tmp_path / f"{number}.onnx", value=number)
        zoo("register", path, "--name", f"mine:label-{number}", "--task", "image-classification")
    reader, writer = pty.openpty()
    for width, headers, left_out in (
        ("86", ["NAME", "HELD", "VARIANTS", "OPSETS", "SIZE", "TASK"], ""),
        ("60", ["NAME", "HELD", "VARIANTS", "OPSETS", "SIZE"], "too narrow here for: TASK\n"),
    ):
        process = subprocess.run(
            [sys.executable, "-m", "onnxzoo", "search", "mine"],
            stdout=writer,
            stderr=subprocess.PIPE,
            check=True,
            text=True,
            env={**os.environ, "COLUMNS": width},
        )
        lines = os.read(reader, 1 << 16).decode().splitlines()
        assert all(len(line) <= int(width) for line in lines)
        assert lines[0].split() == headers
        assert "+3" in lines[1] or "…" in lines[1]
        assert "118 B" in lines[1]
        assert left_out == process.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "-1"], "--seed"),
        (["--axis", "batch=100000000000"], "no memory for inputs with batch=100000000000"),
        (["--axis", "q=3"], "no axis `q`; the model has `batch`"),
        (["--axis", "batch=1", "--axis", "batch=2"], "`batch` is given twice"),
        (["-i", "x=x.npy", "-i", "x=x.npy"], "`x` is given twice"),
    ],
)
def test_a_mistake_in_what_to_run_is_no_bug(
    zoo: Run, mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    words: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros((1, 4), np.float32))
    ran = zoo("run", "mine", *words)
    assert (ran.code, message in ran.err) == (2, True), ran.err


@pytest.mark.parametrize(
    ("command", "codes", "said"),
    [
        ("list --json >/dev/full", (7,), '{"error": "cannot write the output: no space left'),
        ("doctor >/dev/full", (7,), "error: cannot write the output: no space left"),
        ("list --json >&-", (0,), ""),
        ("search --limit 0 --json | head -2", (0, 141), ""),
        ("search --limit 0 | head -2", (0, 141), ""),
    ],
)
def test_an_output_that_takes_nothing_is_no_bug(
    command: str, codes: tuple[int, ...], said: str
) -> None:
    line = f"set -o pipefail; {sys.executable} -m onnxzoo {command}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode in codes
    assert done.stderr.startswith(said)
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == bool(said)


def test_every_listing_is_quiet_and_json(zoo: Run, mine: Path) -> None:
    assert zoo("index", "list", "-q").out == "onnxmodelzoo\n"
    assert zoo("alias", "mine", "-q").out == "mine@latest\n"
    assert zoo("tag", "mine", "-q").out == "small\n"
    done = zoo("alias", "mine@1", "production", "--json")
    assert json.loads(done.out) == {"name": "mine", "alias": "production", "version": 1}
    gone = zoo("alias", "mine", "production", "--remove", "--json")
    assert json.loads(gone.out)["version"] is None
    assert json.loads(zoo("versions", "mine", "--json").out)[0]["opset_versions"] == [17]


def test_the_doctors_document_has_types(zoo: Run, home: Path) -> None:
    facts = json.loads(zoo("doctor", "--json").out)
    assert all(key.replace("_", "").isalnum() for key in facts)
    kinds = {"offline": bool, "hub_token": bool, "free_bytes": int, "private_indexes": list,
             "providers": list, "highest_opset": int, "onnxruntime": str,
             "onnxruntime_builds": list}  # fmt: skip
    assert {key: type(facts[key]) for key in kinds} == kinds


@pytest.mark.parametrize("command", ["alias", "tag"])
def test_removing_nothing_is_a_mistake(zoo: Run, mine: Path, command: str) -> None:
    ran = zoo(command, "mine", "--remove")
    assert (ran.code, f"no {command} to remove" in ran.err) == (2, True)


@pytest.mark.parametrize("other", ["gone", "mine:int4", "mine@1"])
def test_several_are_removed_all_or_none(zoo: Run, mine: Path, other: str) -> None:
    zoo("alias", "mine@1", "production")
    assert zoo("rm", "mine@2", other).code in {3, 5}
    assert zoo("list", "-q").out == "mine:fp32@2\nmine:fp32@1\n"


def test_a_dry_run_says_so_and_what_is_held(zoo: Run, mine: Path) -> None:
    ran = zoo("pull", "mine@1", "--dry-run")
    assert (ran.code, ran.err) == (0, "dry run: nothing was fetched\n")
    assert "mine:fp32@1, nothing would be fetched" in ran.out


def test_verify_says_what_to_do_and_what_it_did(zoo: Run, mine: Path) -> None:
    path = Path(zoo("path", "mine@1").out.strip())
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert zoo("verify").err.endswith("hint: zoo verify --repair\n")
    assert zoo("verify", "--repair").out == "2 of 2 bundles are whole, 1 repaired\n"


def test_a_miss_names_what_is_near(zoo: Run, mine: Path) -> None:
    zoo("alias", "mine@1", "production")
    assert "no model `mien` is held; did you mean `mine`?" in zoo("rm", "mien").err
    assert "it has `1`, `2`, `production`" in zoo("path", "mine@stable").err


def test_a_models_weights_are_shown_by_dtype(zoo: Run, mine: Path) -> None:
    shown = json.loads(zoo("show", "mine", "--json").out)
    assert (shown["parameters"], shown["external"], shown["functions"]) == (4, [], [])
    assert shown["weights"] == {"float32": {"parameters": 4, "bytes": 16}}
    assert "parameters  4: float32 4 (16 B)" in zoo("show", "mine").out
    assert "parameters  4: float32 4 (16 B)" in zoo("show", mine).out


def test_what_an_index_knows_of_a_graph_is_shown(zoo: Run) -> None:
    shown = json.loads(zoo("show", "light-squeezenet", "--json").out)
    assert (shown["inputs"][0]["name"], shown["ops"]["Conv"]) == ("data_0", 26)
    assert shown["parameters"] > 0
    out = zoo("show", "light-squeezenet").out
    assert "data_0  float32  [1, 3, 224, 224]" in out
    assert "Conv 26" in out


def test_a_name_that_an_index_has_is_registered_with_a_warning(zoo: Run, tmp_path: Path) -> None:
    path = models.linear(tmp_path / "m.onnx")
    ran = zoo("register", path, "--name", "resnet50")
    assert (ran.code, "warning: an index has a model `resnet50` too" in ran.err) == (0, True)
    assert zoo("register", path, "--name", "mine").err == ""


@pytest.mark.parametrize(("words", "told"), [([], 1), (["-q"], 0)])
def test_a_network_that_is_not_there_is_told_before_asking_again(
    zoo: Run, monkeypatch: pytest.MonkeyPatch, words: list[str], told: int
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    ran = zoo("pull", "mnist", *words)
    assert ran.code == 6
    assert ran.err.count("cannot be reached; asking again") == told
    assert "cannot be reached (it refused the connection), after 5 attempts" in ran.err


@pytest.fixture
def old(zoo: Run, tmp_path: Path) -> None:
    """A registered model, ``old``, at an opset before onnxruntime's kernels, and one that runs."""
    node = onnx.helper.make_node("Add", ["x", "x"], ["y"])
    path = models.save(tmp_path / "old.onnx", [node], [], opset=6)
    assert zoo("register", path, "--name", "old:six").code == 0
    assert zoo("register", models.linear(tmp_path / "n.onnx", opset=19), "--name", "old").code == 0


NO_ADD = "no kernel for `Add` of opset 6 of ai.onnx on the CPU"


def test_show_says_whether_it_runs_here_and_why_not(zoo: Run, old: None) -> None:
    assert re.search("^runs here +yes$", zoo("show", "old").out, re.MULTILINE)
    assert re.search(f"^runs here +no: {NO_ADD}$", zoo("show", "old:six").out, re.MULTILINE)
    shown = json.loads(zoo("show", "old:six", "--json").out)
    assert (shown["runs_here"], shown["misfits"]) == (False, [NO_ADD])
    assert re.search("^runs here +yes$", zoo("show", "resnet50").out, re.MULTILINE)


def test_show_answers_for_another_release(zoo: Run, old: None) -> None:
    ran = zoo("show", "old:fp32", "--for", "onnxruntime==1.12").out
    why = "opset 19 of ai.onnx is above 17, the highest that onnxruntime 1.12 runs"
    assert re.search(f"^runs on onnxruntime 1.12 +no: {why}$", ran, re.MULTILINE)
    assert json.loads(zoo("show", "resnet50", "--for", "1.12", "--json").out)["runs_here"] is True


def test_opsets_says_which_run_here_and_why_not(zoo: Run, old: None) -> None:
    ran = zoo("opsets", "old")
    assert "  RUNS HERE  " in ran.out.splitlines()[0]
    rows = json.loads(zoo("opsets", "old", "--json").out)
    assert [(row["opset"], row["runs_here"], row["misfits"]) for row in rows] == [
        (19, True, []),
        (6, False, [NO_ADD]),
    ]
    assert re.search(r"^onnxruntime here runs opsets up to [0-9]+$", ran.err, re.MULTILINE)


def test_opsets_answers_for_another_release(zoo: Run, old: None) -> None:
    ran = zoo("opsets", "old", "--for", "onnxruntime==1.17")
    header, first, second = ran.out.splitlines()
    column = header.index("RUNS ON onnxruntime 1.17")
    assert [row[column:].split()[0] for row in (first, second)] == ["yes", "?"]
    assert ran.err.endswith("\nonnxruntime 1.17 runs opsets up to 20\n")


def test_opsets_says_what_a_model_converts_to(zoo: Run, old: None) -> None:
    ran = zoo("opsets", "old", "--for", "onnxruntime==1.17")
    column = ran.out.splitlines()[0].index("CONVERTS TO")
    cells = [re.split("  +", row[column:])[0] for row in ran.out.splitlines()[1:]]
    assert cells == ["14-18, 20; try 7-13", "try 7-20"]
    rows = json.loads(zoo("opsets", "old", "--for", "onnxruntime==1.17", "--json").out)
    assert rows[0]["converts_to"] == [14, 15, 16, 17, 18, 20]
    assert [row["may_convert_to"] for row in rows] == [[*range(7, 14)], [*range(7, 21)]]


def test_a_phrase_is_its_words(zoo: Run, tmp_path: Path) -> None:
    path = models.linear(tmp_path / "m.onnx")
    assert zoo("register", path, "--name", "mine", "--task", "image-classification").code == 0
    phrases = ("image-classification", "image classification", "Image  classification ")
    found = [zoo("search", phrase, "-q", "--limit", "0").out for phrase in phrases]
    assert found[0].count("\n") > 20
    assert set(found) == {found[0]}
    assert [zoo("list", phrase, "-q").out for phrase in phrases] == ["mine:fp32@1\n"] * 3


def test_search_finds_what_runs(zoo: Run, old: None) -> None:
    def variants(*words: str) -> list[str]:
        return [item["variant"] for item in json.loads(zoo("search", "old", *words, "--json").out)]

    assert "six" in variants()
    assert "six" not in variants("--runs-here")
    assert "fp32" in variants("--runs-here")
    held = [*variants("--for", "1.12"), *variants("--for", "1.12", "--runs-here")]
    assert "six" not in held


def test_a_pull_that_does_not_run_is_refused_unless_forced(
    zoo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("pull", "light-squeezenet", "--for", "onnxruntime==1.99")
    assert zoo(*asked).code == 2
    line = next(line for line in SHIPPED.read_text().splitlines() if '"light-squeezenet"' in line)
    new = json.loads(line) | {"name": "new-net", "aliases": [], "opset": 99}
    index = tmp_path / "index.jsonl"
    index.write_text(json.dumps(new) + "\n")
    monkeypatch.setenv("ZOO_INDEX", str(index))
    ran = zoo("pull", "new-net")
    assert (ran.code, ran.out) == (5, "")
    assert "error: `new-net:fp32` does not run on onnxruntime" in ran.err
    assert "hint: zoo pull new-net --force keeps it all the same" in ran.err
    assert re.search("^runs here +no: opset 99", zoo("pull", "new-net", "--dry-run").out, re.M)
    assert "pulled new-net:fp32@1" in zoo("pull", "new-net", "--force").out


def test_a_model_is_registered_with_test_data_and_tested(zoo: Run, tmp_path: Path) -> None:
    data = spread(tmp_path / "data", one_set(2.0) | one_set(2.0, number=1))
    model = models.linear(tmp_path / "m.onnx", value=2)
    assert zoo("register", model, "--name", "mine", "--test-data", data).code == 0
    ran = zoo("test", "mine")
    assert ran.code == 0
    assert ran.out.splitlines()[0] == "mine:fp32@1 on CPUExecutionProvider, data of `fp32`"
    assert [line.split()[:3] for line in ran.out.splitlines()[2:]] == [
        ["test_data_set_0", "passed", "0"],
        ["test_data_set_1", "passed", "0"],
    ]
    out = zoo("show", "mine").out
    assert re.search(r"test data +2 of fp32, \d+ B\n", out)
    assert "test data, rtol 0.001, atol 1e-07, CPU" in out
    shown = json.loads(zoo("show", "mine", "--json").out)["test_data"]
    assert (shown["sets"], shown["source"]) == ({"fp32": 2}, str(data))
    assert zoo("test", "mine", "-q") == Ran(0, "mine:fp32@1\n", "")


def test_a_test_that_fails_says_where_and_ends_with_5(zoo: Run, mine: Path, tmp_path: Path) -> None:
    data = tar(tmp_path / "data.tar.gz", list(one_set(2.5).items()))
    ran = zoo("test", "mine", "--data", data, "--keep")
    assert (ran.code, "failed" in ran.out) == (5, True)
    assert "the data are not kept" in ran.err
    assert json.loads(zoo("show", "mine", "--json").out)["test_data"] is None
    assert zoo("test", "mine", "--data", data, "--keep", "--force").code == 5
    assert "failed: test_data_set_0: `y` differs by up to 3.5 in 7 of 8 elements" in ran.err
    assert zoo("test", "mine", "--atol", "4").code == 0
    found = json.loads(zoo("test", "mine", "--json").out)
    assert (found["ref"], found["passed"], found["max_difference"]) == ("mine:fp32@2", False, 3.5)
    assert (found["rtol"], found["atol"], found["data_of"]) == (1e-3, 1e-7, "fp32")
    assert found["sets"][0]["name"] == "test_data_set_0"


def test_show_has_the_tests_of_this_versions_data_alone(zoo: Run, tmp_path: Path) -> None:
    model = models.linear(tmp_path / "m.onnx")
    for name, number in (("one", 0), ("two", 1), ("two", 2)):  # the bytes of all are the same
        data = spread(tmp_path / f"{name}{number}", one_set(number=number))
        zoo("register", model, "--name", name, "--test-data", data)
        assert zoo("test", name).code == 0
    for name in ("one", "two"):
        assert zoo("show", name).out.count("test data, rtol") == 1


def test_tolerance_is_spoken_of_only_where_it_would_help(zoo: Run, tmp_path: Path) -> None:
    model = models.linear(tmp_path / "m.onnx")
    x = np.ones((2, 4), np.float32)
    for y, helps in ((x + 1, True), (x[0], False), (x * np.nan, False)):
        data = npz(tmp_path / "d.npz", {"input:x": x, "output:y": y})
        said = zoo("register", model, "--name", "mine", "--test-data", data).out
        ran = zoo("test", "mine")
        assert (ran.code, "--rtol" in ran.err) == (5, helps)
    assert said == "mine:fp32@1 is held already; set now: test data\n"


def test_a_version_without_test_data_cannot_be_tested(zoo: Run, mine: Path) -> None:
    ran = zoo("test", "mine@1")
    assert (ran.code, ran.out) == (3, "")
    assert "no test data of `mine@1` are held" in ran.err
    assert "hint: zoo test mine:fp32@1 --data FOLDER" in ran.err
    assert re.search(r"test data +no\n", zoo("show", "mine@1").out)


def test_hostile_test_data_are_refused(zoo: Run, mine: Path, tmp_path: Path) -> None:
    data = tar(tmp_path / "data.tar.gz", [("../../evil", b"x")])
    ran = zoo("register", mine, "--name", "other", "--test-data", data)
    assert (ran.code, "leads out of its folder" in ran.err) == (5, True)
    assert zoo("test", "mine", "--data", data).code == 5
    assert zoo("list", "other", "-q").out == ""


def test_a_light_model_is_pulled_with_its_test_data(zoo: Run) -> None:
    assert zoo("pull", "light-squeezenet", "--test-data").code == 0
    assert re.search(r"test data +1 of fp32", zoo("show", "light-squeezenet").out)
    assert zoo("test", "light-squeezenet").code == 0
    assert zoo("test", "light-zfnet512").code == 0  # pulled, and its data fetched
    assert "no index knows of test data" in zoo("pull", *_own(zoo), "--test-data").err


def _own(zoo: Run) -> list[str]:
    """Return a path that can be pulled and that no index knows."""
    path = models.linear(Path(os.environ["ZOO_HOME"]) / "own.onnx")
    return [str(path), "--name", "own"]


def test_run_takes_an_input_that_has_a_default(zoo: Run, tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info
    floats = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Mul", ["x", "scale"], ["y"])],
        "g",
        [value("x", floats, ["n"]), value("scale", floats, [])],
        [value("y", floats, ["n"])],
        [onnx.numpy_helper.from_array(np.array(2, np.float32), "scale")],
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx"
    )
    assert zoo("register", tmp_path / "m.onnx", "--name", "m").code == 0
    np.savez(tmp_path / "in.npz", x=np.ones(3, np.float32), scale=np.float32(5))
    given = ["-i", f"x={tmp_path / 'in.npz'}"]
    assert "2, 2, 2" in zoo("run", "m", *given).out
    ran = zoo("run", "m", *given, "-i", f"scale={tmp_path / 'in.npz'}")
    assert "5, 5, 5" in ran.out
    ran = zoo("run", "m", "-i", f"other={tmp_path / 'in.npz'}")
    assert ran.code == 2
    np.save(tmp_path / "d.npy", np.float64(5))
    ran = zoo("run", "m", "-i", f"scale={tmp_path / 'd.npy'}")
    assert (ran.code, "`scale` is float64; the model takes float32" in ran.err) == (2, True)
    np.save(tmp_path / "d.npy", np.float32(5))
    ran = zoo("run", "m", "-i", f"other={tmp_path / 'd.npy'}")
    assert (ran.code, "no input `other`; the model has `x`" in ran.err) == (2, True)


def test_what_is_shown_of_a_model_is_cut_to_a_line(zoo: Run, tmp_path: Path) -> None:
    path = models.linear(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.metadata_props.add(key="character", value="\n".join("abcdefgh" * 3000))
    onnx.save(model, path)
    assert zoo("register", path, "--name", "wordy").code == 0
    for what in ("wordy", str(path)):
        shown = zoo("show", what)
        assert shown.code == 0
        cut = next(line for line in shown.out.splitlines() if "character = " in line)
        assert cut.startswith("  character = a\\nb\\nc")
        assert len(cut) == 102
        assert cut.endswith("…")
        whole = zoo("show", what, "--full").out
        assert "…" not in next(line for line in whole.splitlines() if "character = " in line)
        assert json.loads(zoo("show", what, "--json").out)["metadata"]["character"].endswith("g\nh")


def test_an_error_beside_json_is_an_object(zoo: Run) -> None:
    code, out, err = zoo("show", "nothere", "--json")
    found = json.loads(err)
    assert (code, out, found["type"], found["exit_code"]) == (3, "", "NotFound", 3)
    assert "`nothere`" in found["error"]
    assert found["hint"].startswith("zoo search")
    code, _, err = zoo("list", "--json", "--limit", "many")
    assert (code, json.loads(err)["type"]) == (2, "UsageError")
    assert zoo("show", "nothere").err.startswith("error: ")


def test_a_list_takes_references_patterns_and_bounds(zoo: Run, tmp_path: Path) -> None:
    for name, opset in (("cat", 13), ("dog", 17)):
        path = models.linear(tmp_path / f"{name}.onnx", opset=opset)
        license_ = "MIT" if name == "dog" else "Apache-2.0"
        zoo("register", path, "--name", f"acme/{name}", "--license", license_, "--task", name)
    zoo("alias", "acme/dog@1", "production")

    def listed(*words: str) -> list[str]:
        return zoo("list", *words, "-q").out.split()

    cat, dog = "acme/cat:fp32@1", "acme/dog:fp32@1"
    assert listed("acme/cat:fp32") == [cat]
    assert listed("dog@production") == listed("production") == listed("acme/dog@1") == [dog]
    assert listed("a*/d*g") == [dog]
    assert listed("cat:int8") == listed("dog@2") == []
    assert (
        listed("--opset", ">13") == listed("--license", "mit") == listed("--task", "dog") == [dog]
    )
    assert listed("--max-size", "10") == []
    assert listed("--opset", "13", "--limit", "1") == [cat]
    assert listed("--max-size", "10MB", "--limit", "1") == [cat]


def test_a_search_finds_what_made_a_model(zoo: Run, tmp_path: Path) -> None:
    path = models.linear(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.producer_name = "skl2onnx"
    path.write_bytes(model.SerializeToString())
    zoo("register", path, "--name", "mine")
    assert zoo("search", "skl2onnx", "-q").out.split() == ["mine"]


def test_what_happened_to_a_model_is_in_the_document(zoo: Run, tmp_path: Path) -> None:
    zoo("register", models.linear(tmp_path / "m.onnx"), "--name", "mine")
    for number in range(6):
        zoo("tag", "mine", f"t{number}")
    history = json.loads(zoo("show", "mine", "--json").out)["history"]
    assert [event["action"] for event in history] == ["tag"] * 6 + ["register"]
    assert zoo("show", "mine").out.count("  tag mine") == 5
    assert zoo("show", "mine", "--full").out.count("  tag mine") == 6


def test_what_is_removed_takes_its_aliases_and_says_so(zoo: Run, tmp_path: Path) -> None:
    zoo("register", models.linear(tmp_path / "a.onnx"), "--name", "net")
    zoo("register", models.linear(tmp_path / "b.onnx", value=2), "--name", "net")
    zoo("alias", "net@1", "production")
    assert zoo("rm", "net@1").code == 5
    ran = zoo("rm", "net@1", "--force")
    assert (ran.code, "the alias `production` of version 1 went with it" in ran.err) == (0, True)
