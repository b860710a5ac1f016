"""What the environment says."""

from pathlib import Path

import pytest

from onnxzoo.registry.errors import UsageError
from onnxzoo.registry.settings import Settings, at


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
