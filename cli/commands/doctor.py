"""Check the installation: versions, folders, problems and fixes."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from onnxzoo.cli import options
from onnxzoo.cli.format import count
from onnxzoo.cli.output import info, print_fields, print_json, print_line, unknown_models
from onnxzoo.registry.core.errors import (
    DatabaseError,
    IntegrityError,
    NotFound,
    Refused,
    StorageError,
    UsageError,
    ZooError,
)
from onnxzoo.registry.core.files import unreadable
from onnxzoo.registry.core.text import show_size

if TYPE_CHECKING:
    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.core.settings import Settings

_PACKAGES = (
    "onnxzoo", "onnx", "numpy", "sqlmodel", "alembic",
    "huggingface-hub", "requests", "pooch", "typer",
)  # fmt: skip
_NAMED = 3  # variants that are not here
_LITTLE = 1 << 30  # bytes free; less is worth a word, since a model is often that large


class Problem(NamedTuple):
    """Something that is wrong, the way out, and the exit code that it stands for."""

    what: str
    way_out: str | None
    exit_code: int


def doctor(
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="From what is in the store, make a damaged or lost database again, or add to it.",
        ),
    ] = False,
    migrate: Annotated[
        bool, typer.Option("--migrate", help="Bring a shared database's schema up to date.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --rebuild: although it is not damaged.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Check the installation and suggest fixes.

    With --rebuild, make the registry's database again, the one of before is set aside; or, where
    it is whole and does not know all models in the store, add them.
    """
    from onnxzoo.registry.core.settings import Settings

    if rebuild and migrate:
        raise UsageError("`--migrate` and `--rebuild` do not go together", hint="zoo doctor --help")
    if rebuild:
        _rebuild(force=force, json=json)
        return
    if force:
        raise UsageError("`--force` is for `--rebuild`", hint="zoo doctor --rebuild --force")
    settings = Settings.from_env()
    if migrate:
        from onnxzoo.registry.api import Registry

        with Registry(settings=settings) as registry:
            registry.migrate()
    facts = {**_versions(), **_runtime(), **_converters(settings), **_places(settings)}
    problems = list(_problems(settings))
    if json:
        found = [{"what": p.what, "way_out": p.way_out} for p in problems]
        print_json(
            {key.replace("-", "_"): value for key, value in facts.items()} | {"problems": found}
        )
    else:
        print_fields((key.replace("_", " "), _text(key, value)) for key, value in facts.items())
        for problem in problems:
            print_line(f"problem: {problem.what}")
            if problem.way_out:
                print_line(f"  way out: {problem.way_out}")
        info(f"{count(len(problems), 'problem')} found" if problems else "all is well")
    if problems:
        raise typer.Exit(max(problem.exit_code for problem in problems))


def _rebuild(*, force: bool, json: bool) -> None:
    from onnxzoo.registry.api import Registry

    with Registry() as registry:
        done = registry.rebuild(force=force)
        nameless = [str(registry.store.path(digest)) for digest in done.nameless]
    if json:
        damaged = [{"what": what, "why": why} for what, why in done.damaged]
        lost = [{"what": what, "why": why} for what, why in done.lost]
        print_json(
            {
                "restored": done.refs,
                "damaged": damaged,
                "lost": lost,
                "nameless": nameless,
                "moved_to": done.moved_to,
            }
        )
    else:
        for ref in done.refs:
            print_line(f"restored {ref}")
        for what, why in done.damaged:
            print_line(f"restored, but damaged: {what}: {why}")
        for what, why in done.lost:
            print_line(f"not restored: {what}: {why}")
        for folder in nameless:
            print_line(f"of no known name: {folder}")
    if done.moved_to:
        info(f"the database of before is kept: {done.moved_to}")
    restored = len(done.refs) + len(done.damaged)
    info(f"{restored} restored, {len(done.lost)} not; measurements are to be made again")
    if done.damaged:
        info("hint: zoo verify --repair")
    if nameless:
        info("hint: zoo register FOLDER/MODEL.onnx --name NAME gives a name; zoo gc frees the rest")
    if done.lost or done.damaged:
        raise typer.Exit(IntegrityError.exit_code)


def _text(key: str, value: object) -> object:
    """Return a fact for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    if value is None:
        return "none"
    return show_size(value) if isinstance(value, int) and key.endswith("_bytes") else value


def _versions() -> dict[str, object]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    there: dict[str, object] = {"python": platform.python_version(), "system": platform.platform()}
    for package in _PACKAGES:
        try:
            there[package] = version(package)
        except PackageNotFoundError:
            continue
    return there


def _runtime() -> dict[str, object]:
    """Return the running onnxruntime, all installed builds, and its providers."""
    from onnxzoo.registry.runtime.builds import installed, running
    from onnxzoo.registry.runtime.capabilities import highest_opset
    from onnxzoo.registry.runtime.providers import available_providers

    facts: dict[str, object] = {"onnxruntime": None, "onnxruntime_builds": [*map(str, installed())]}
    with suppress(NotFound):  # a problem, and told as one
        facts["onnxruntime"] = str(running())
        facts |= {"providers": available_providers(), "highest_opset": highest_opset()}
    return facts


def _converters(settings: "Settings") -> dict[str, object]:
    """Return which converters run here, which in environments that are made, which not yet."""
    from onnxzoo.registry.convert.discovery import converters, missing
    from onnxzoo.registry.convert.environments import environment_of

    every = converters()
    ready = [name for name, one in every.items() if not missing(one)]
    apart = [
        name
        for name, one in every.items()
        if one.requirements and os.path.isdir(environment_of(one, settings))  # noqa: PTH112
    ]
    return {
        "converters": sorted(ready),
        "converters_isolated": sorted(apart),
        "converters_not_installed": sorted(set(every) - {*ready, *apart}),
    }


def _places(settings: "Settings") -> dict[str, object]:
    from huggingface_hub import get_token

    from onnxzoo.registry.core.text import without_password
    from onnxzoo.registry.sessions.session_cache import PreparedSessions

    count = taken = None
    with suppress(StorageError):  # a problem, and told as one
        count, taken = PreparedSessions(settings.sessions, settings.cache_size).usage()
    return {
        "home": settings.home,
        "database": without_password(settings.database_url or str(settings.home / "registry.db")),
        "cache": settings.cache,
        "prepared_sessions": count,
        "prepared_bytes": taken,
        "most_prepared_bytes": settings.cache_size,
        "free_bytes": _free(settings.home),
        "private_indexes": [*map(_shown, settings.indexes)],
        "hub": _shown(settings.endpoint or "https://huggingface.co"),
        "hub_token": bool(get_token()),
        "offline": settings.offline,
        "onnxruntime_telemetry": settings.telemetry,
    }


def _shown(where: str) -> str:
    """Return a private index's path or URL as it may be shown."""
    from onnxzoo.registry.core.text import redact_url

    return redact_url(where) if "://" in where else where


def _runtime_problems() -> Iterator[Problem]:
    from onnxzoo.registry.runtime.builds import faults
    from onnxzoo.registry.runtime.providers import check_libraries

    if found := faults():
        for fault in found:
            yield Problem(fault.what, fault.way_out, NotFound.exit_code)
        return
    try:
        check_libraries()
    except Refused as error:
        yield Problem(error.message, error.hint, error.exit_code)


def _problems(settings: "Settings") -> Iterator[Problem]:
    from onnxzoo.registry.api import Registry
    from onnxzoo.registry.database.connection import foreign_files
    from onnxzoo.zoo_index.index.indexes import Indexes

    yield from _runtime_problems()
    if _free(settings.home) < _LITTLE:
        yield Problem(
            f"{show_size(_free(settings.home))} free at `{settings.home}`",
            "zoo gc, or set ZOO_HOME to a folder on a larger disk",
            StorageError.exit_code,
        )
    above = _there(settings.home)
    needed = {
        above: os.X_OK,
        settings.home / "store": os.R_OK | os.X_OK,
        settings.home / "registry.db": os.R_OK,
    }
    there = [place for place in needed if os.path.exists(place)]  # noqa: PTH110  (see `_there`)
    closed = [place for place in there if not os.access(place, needed[place])]
    if closed:
        error = unreadable(closed[0])
        yield Problem(error.message, error.hint, error.exit_code)
        return
    fixed = [place for place in there if not os.access(place, os.W_OK)]
    if fixed:
        yield Problem(
            f"`{fixed[0]}` is read-only: models can be listed and loaded, but not added"
            if above == settings.home
            else f"`{settings.home}` cannot be made: no right to write `{above}`",
            "set ZOO_HOME to a folder that you may write",
            StorageError.exit_code,
        )
    foreign = foreign_files(settings.home / "registry.db")
    if foreign:
        yield Problem(
            f"`{foreign[0]}` belongs to another user: nothing can be added",
            f"when no process uses the registry: rm {' '.join(map(str, foreign))}",
            StorageError.exit_code,
        )
    try:
        Indexes.from_settings(settings).status()
    except ZooError as error:
        yield Problem(error.message, error.hint, error.exit_code)
    try:
        with Registry(settings=settings) as registry:
            registry.check()
            yield from _file_problems(registry)
            garbage = registry.gc(dry_run=True)
            if refs := registry.unknown():
                what = unknown_models(refs)
                yield Problem(what, "zoo doctor --rebuild adds them", DatabaseError.exit_code)
            yield from _sidecar_problems(registry)
            if garbage.bytes:
                info(f"{show_size(garbage.bytes)} can be freed with: zoo gc")
    except ZooError as error:
        yield Problem(error.message, error.hint, error.exit_code)


def _file_problems(registry: "Registry") -> Iterator[Problem]:
    """Yield each damaged variant, and one problem for all absent ones."""
    absent, held = list[str](), registry.list()
    for variant in held:
        try:
            registry.check_there(variant)
        except NotFound:
            absent.append(variant.ref)
        except (IntegrityError, StorageError) as error:
            yield Problem(error.message, error.hint, error.exit_code)
    if absent:
        shown = ", ".join(f"`{ref}`" for ref in absent[:_NAMED])
        more = f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
        yield Problem(
            f"{len(absent)} of {count(len(held), 'variant')} are registered, but not here: "
            f"{shown}{more}; none of their files is in `{registry.store.root}`",
            "zoo verify --repair fetches them again from where they came from; for one database on "
            "several machines, share the folder ZOO_HOME too",
            NotFound.exit_code,
        )


def _sidecar_problems(registry: "Registry") -> Iterator[Problem]:
    """Write missing sidecars, and yield those that are newer than the database."""
    try:
        written, ahead = registry.write_sidecars()
    except StorageError as error:  # a registry that is only read from here is no worse for it
        info(f"a lost database could not be made again from the store: {error.message}")
        return
    if written:
        info(f"wrote beside {count(written, 'bundle')} what they are, for a rebuild")
    if ahead:
        names = ", ".join(f"`{name}`" for name in ahead[:_NAMED])
        more = f" and {len(ahead) - _NAMED} more" if len(ahead) > _NAMED else ""
        yield Problem(
            f"what the store says of {names}{more} was written after the database's last change "
            "and is not what it says; it may be an older copy",
            "zoo doctor --rebuild --force makes it again from the store; the next change of a "
            "model writes what the database says",
            DatabaseError.exit_code,
        )


def _free(folder: Path) -> int:
    return shutil.disk_usage(_there(folder)).free


def _there(folder: Path) -> Path:
    """Return a folder, or the nearest above it that is there as far as this user may see."""
    return next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110
