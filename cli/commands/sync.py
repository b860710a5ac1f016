"""Sync a registry with a lock file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnxzoo.cli import options
from onnxzoo.cli.commands.lock import LOCK, locked_document, short
from onnxzoo.cli.format import count
from onnxzoo.cli.output import info, print_added, print_error, print_json, print_line, table
from onnxzoo.cli.progress import progress
from onnxzoo.registry.core.errors import IntegrityError, NotFound, ZooError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnxzoo.zoo_index.lock.lock import Lock, Locked
    from onnxzoo.zoo_index.lock.sync import State
    from onnxzoo.zoo_index.zoo import Zoo


def sync(
    refs: Annotated[
        list[str] | None,
        typer.Argument(metavar="REFERENCE", help="Only these of the lock's references."),
    ] = None,
    file: Annotated[
        Path, typer.Option("--lock", metavar="FILE", help="Another lock than zoo.lock.")
    ] = LOCK,
    frozen: Annotated[
        bool,
        typer.Option("--frozen", help="Fail if a reference means something else here by now."),
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Change nothing; say what is missing or different."),
    ] = False,
    allow_license: options.AllowLicense = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Download every model pinned in zoo.lock.

    Each file is verified by the lock's SHA-256; what is here already is not fetched again.

    With --check it ends with 3 if something is missing, with 4 if something is different.
    """
    from onnxzoo.zoo_index.lock.lockfile import read
    from onnxzoo.zoo_index.zoo import Zoo

    found = read(file)
    chosen = [found.find(ref) for ref in refs] if refs else list(found.models)
    with Zoo(allow_licenses=options.licenses(allow_license)) as zoo:
        if check:
            _check(zoo, found, chosen, quiet=quiet, json=json)
        else:
            _sync(zoo, found, chosen, frozen=frozen, quiet=quiet, json=json)


def _sync(
    zoo: "Zoo",
    found: "Lock",
    chosen: "Sequence[Locked]",
    *,
    frozen: bool,
    quiet: bool,
    json: bool,
) -> None:
    from onnxzoo.zoo_index.lock.sync import check_in_step, state

    if frozen:
        check_in_step(found, [state(zoo, one, hashed=False) for one in chosen])
    done: list[dict[str, Any]] = []
    failed: list[ZooError] = []
    for one in chosen:
        try:
            done.append(_bring(zoo, found, one, quiet=quiet, json=json))
        except ZooError as error:
            print_error(error)
            failed.append(error)
            done.append(locked_document(one) | {"state": "failed", "error": error.message})
    states = [state(zoo, one, hashed=False) for one in chosen]
    if json:
        print_json({"lock": found.path, "models": done})
    elif not quiet:
        _say_sync(found, [entry["state"] for entry in done])
    if failed:
        raise typer.Exit(failed[0].exit_code)
    if frozen:
        check_in_step(found, states)
    _warn(found, states)


def _bring(zoo: "Zoo", found: "Lock", one: "Locked", *, quiet: bool, json: bool) -> dict[str, Any]:
    from onnxzoo.zoo_index.lock.sync import obtain

    with progress(zoo.settings, quiet=quiet or json, verb="fetched") as report:
        added = obtain(zoo, found, one, report)
    if not json and (added.new or quiet):
        print_added(added, "synced", quiet=quiet)
    state = {"state": "fetched" if added.new else "held", "held": added.variant.ref}
    return locked_document(one) | state | {"path": added.variant.path}


def _check(
    zoo: "Zoo", lock: "Lock", chosen: "Sequence[Locked]", *, quiet: bool, json: bool
) -> None:
    from onnxzoo.zoo_index.lock.sync import state

    with progress(zoo.settings, quiet=quiet or json) as report:
        states = [state(zoo, one, report, hashed=True) for one in chosen]
    unlike = [found for found in states if found.kind != "held"]
    if json:
        print_json({"lock": lock.path, "models": [_state_document(found) for found in states]})
    elif quiet:
        for one in unlike:
            print_line(str(one.locked.asked))
    else:
        _show_unlike(unlike)
        _say_check(lock, states)
    if any(found.kind != "missing" for found in unlike):
        raise typer.Exit(IntegrityError.exit_code)
    if unlike:
        raise typer.Exit(NotFound.exit_code)


def _say_sync(found: "Lock", states: "Sequence[str]") -> None:
    words = {"fetched": "fetched", "held": "held already", "failed": "failed"}
    counts = [f"{states.count(state)} {word}" for state, word in words.items() if state in states]
    info(f"{found.path}: {', '.join([count(len(states), 'reference'), *counts])}")


def _warn(found: "Lock", states: "Sequence[State]") -> None:
    from onnxzoo.zoo_index.lock.sync import in_words, way_out

    moved = [state for state in states if state.other]
    for state in moved:
        info(f"warning: {in_words(state)}")
    if moved:
        info(f"hint: {way_out(found, moved)}")


def _show_unlike(unlike: "Sequence[State]") -> None:
    if unlike:
        table(
            ("STATE", "REFERENCE", "LOCKED", "DIGEST", "HERE"),
            (
                (
                    state.kind,
                    state.locked.asked,
                    f"{state.locked.name}:{state.locked.variant}@{state.locked.version}",
                    short(state.locked.digest),
                    _here(state),
                )
                for state in unlike
            ),
        )


def _here(state: "State") -> str:
    if state.problems:
        return "; ".join(state.problems)
    return f"{state.other.ref} {short(state.other.digest)}" if state.other else ""


def _say_check(found: "Lock", states: "Sequence[State]") -> None:
    from onnxzoo.zoo_index.lock.sync import way_out

    kinds = [state.kind for state in states]
    there = count(len(states), "reference")
    if set(kinds) <= {"held"}:
        info(f"{found.path}: {there}, held to the byte")
        return
    info(f"{found.path}: {kinds.count('held')} of {there} held as locked")
    if "missing" in kinds:
        info(f"hint: zoo sync{found.option}")
    if "damaged" in kinds:
        info("hint: zoo verify --repair")
    if "other" in kinds:
        info(f"hint: {way_out(found, [state for state in states if state.kind == 'other'])}")


def _state_document(state: "State") -> dict[str, Any]:
    return locked_document(state.locked) | {
        "state": state.kind,
        "held": state.held.ref if state.held else None,
        "problems": state.problems,
        "other": state.other.ref if state.other else None,
    }
