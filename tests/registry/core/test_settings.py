"""What the environment says."""

import re
import sys
import traceback
from pathlib import Path

import pytest

from onnxzoo.registry.core.errors import DatabaseError, StorageError, UsageError
from onnxzoo.registry.core.settings import Settings, at
from onnxzoo.registry.core.text import hide_password, without_password
from onnxzoo.registry.database.connection import make_engine, translating
from tests.support.commands import Run


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


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://zoo:zoo@host/zoo", "postgresql://zoo:***@host/zoo"),
        ("postgresql://:canary@host/zoo", "postgresql://:***@host/zoo"),
        ("postgresql://me:can%40ary@host/zoo", "postgresql://me:***@host/zoo"),
        ("postgresql://me:can/a@r?y@host/zoo", "postgresql://me:***@host/zoo"),
        ("postgresql://host:5432/zoo?user=me&password=canary", None),
        ("postgresql://host/zoo?%70assword=can%41ry&sslmode=require", None),
        ("postgresql://host/zoo?sslpassword=canary", None),
        ("host=a password='canary' dbname=b", "host=a password=*** dbname=b"),
        (
            "postgresql://host:5432/zoo?sslmode=require",
            "postgresql://host:5432/zoo?sslmode=require",
        ),
        ("sqlite:////home/a:b@c/registry.db", "sqlite:////home/a:b@c/registry.db"),
    ],
)
def test_a_database_is_shown_without_its_passwords(url: str, shown: str | None) -> None:
    found = without_password(url)
    assert found == (shown or found)
    assert not re.search("can", found)


def test_a_drivers_error_is_shown_without_passwords() -> None:
    url = "postgresql://me:can%40ary@host/zoo?sslpassword=hidden"
    said = f"cannot use {url}: wrong password can@ary (can%40ary), key hidden"
    shown = "postgresql://me:***@host/zoo?sslpassword=***"
    assert hide_password(said, url) == f"cannot use {shown}: wrong password *** (***), key ***"


@pytest.mark.parametrize("name", ["ZOO_TIMEOUT", "ZOO_ATTEMPTS", "ZOO_MAX_SECONDS"])
@pytest.mark.parametrize("value", ["abc", "0", "-1", "1.5", "5GB", "9" * 30])
def test_a_setting_that_is_no_whole_number_is_named(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"`{name}={value}` is not a whole number") as caught:
        Settings.from_env({"ZOO_HOME": "/srv/zoo", name: value})
    assert f"export {name}=" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "url", ["postgresql://me:canary@h:pp/z", "foo://me:canary@h/z", "password=canary"]
)
def test_a_database_url_that_is_none_is_said_without_its_password(url: str) -> None:
    with pytest.raises(DatabaseError) as caught, translating(url):
        make_engine(url)
    assert "canary" not in "".join(traceback.format_exception(caught.value))
    assert "***" in caught.value.message
