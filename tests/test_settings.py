"""What the environment says."""

import sys
from pathlib import Path

import pytest

from onnxzoo.registry.errors import StorageError, UsageError
from onnxzoo.registry.settings import Settings, at
from tests.commands import Run


@pytest.mark.parametrize(
    ("env", "field", "value"),
    [
        ({}, "offline", False),
        ({"ZOO_OFFLINE": "1"}, "offline", True),
        ({"HF_HUB_OFFLINE": "true"}, "offline", True),
        ({"ZOO_OFFLINE": "no"}, "offline", False),
        ({"HF_ENDPOINT": "http://h/"}, "endpoint", "http://h"),
        ({"ZOO_INDEX": "a.jsonl, https://b/c.jsonl"}, "indexes", ("a.jsonl", "https://b/c.jsonl")),
        ({"ZOO_DATABASE_URL": ""}, "database_url", None),
        ({"CI": "true"}, "ci", True),
        ({"CI": "false"}, "ci", False),
        ({"ZOO_DEBUG": "1"}, "debug", True),
    ],
)
def test_what_each_variable_means(env: dict[str, str], field: str, value: object) -> None:
    assert getattr(Settings.from_env({"ZOO_HOME": "/z", **env}), field) == value


def test_zoo_home_stands_over_everything() -> None:
    settings = Settings.from_env({"ZOO_HOME": "/z"})
    assert (settings.home, settings.downloads) == (Path("/z"), Path("/z/cache/downloads"))


def test_without_zoo_home_the_platform_decides() -> None:
    settings = Settings.from_env({})
    assert settings.home.name == settings.cache.name == "onnxzoo"
    assert settings.home != settings.cache


def test_a_switch_that_is_neither_is_refused() -> None:
    with pytest.raises(UsageError, match="`ZOO_OFFLINE=maybe`"):
        Settings.from_env({"ZOO_OFFLINE": "maybe"})


def test_another_home_has_a_database_of_its_own() -> None:
    settings = Settings.from_env({"ZOO_HOME": "/z", "ZOO_DATABASE_URL": "postgresql://h/d"})
    assert at(Path("/y"), settings).database_url is None


@pytest.mark.skipif(sys.platform == "win32", reason="users have folders there by other means")
@pytest.mark.parametrize("given", [{}, {"ZOO_HOME": "~/zoo"}])
def test_a_user_without_a_home_is_told_to_name_one(
    given: dict[str, str], zoo: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pwd

    for name in ("HOME", "ZOO_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(pwd, "getpwuid", lambda number: {}[number])  # as a number without a name
    with pytest.raises(StorageError, match="no home folder"):
        Settings.from_env()
    for command in ("list", "doctor"):
        ran = zoo(command)
        assert (ran.code, ran.out) == (7, "")
        assert ran.err.splitlines()[1:] == ["hint: export ZOO_HOME=/a/folder"]
