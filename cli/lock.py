"""Commands on lock files: lock, sync."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnxzoo.cli import options
from onnxzoo.cli.output import document, failure, line, say_added, table, talk
from onnxzoo.cli.progress import progress
from onnxzoo.registry.errors import IntegrityError, NotFound, ZooError
from onnxzoo.registry.settings import show_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnxzoo.registry.locked import Lock, Locked
    from onnxzoo.zoo_index.locks import Change
    from onnxzoo.zoo_index.sync import State
    from onnxzoo.zoo_index.zoo import Zoo

_SHOWN = 12  # hexadecimal digits of a digest in a table; `--json` has them all
_LOCK = Path("zoo.lock")

File = Annotated[Path, typer.Option("--lock", metavar="FILE", help="The lock.")]


def lock(
    refs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME[:VARIANT][@VERSION]]...",
            autocompletion=options.held_names,
            help="Add these, or lock them anew; none: look up again all that are in it.",
        ),
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option("--remove", metavar="REFERENCE", help="Take one out. Repeatable."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--lock", metavar="FILE", help="Another lock than zoo.lock.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file.")
    ] = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Write down which bytes references mean: version, files, SHA-256, source, licence.

    Models that are held are locked, nothing is fetched. References that are in the lock already
    and are not named stay as they are.
    """
    from dataclasses import replace

    from onnxzoo.registry.locked import Lock
    from onnxzoo.registry.lockfile import read, write
    from onnxzoo.zoo_index.locks import changes, locked
    from onnxzoo.zoo_index.zoo import Zoo

    path = file or output or _LOCK
    before = read(path) if file or path.exists() else Lock(path)
    with Zoo() as zoo:
        after = locked(zoo, replace(before, path=output or path), refs or (), remove=remove or ())
    found = list(changes(before, after))
    writes = not dry_run and (bool(found) or not after.path.exists())
    if writes:
        write(after)
    if json:
        document(_lock_document(after, found, written=writes))
    elif quiet:
        for one in after.models:
            line(f"{one.name}:{one.variant}@{one.version}")
    else:
        _show_changes(found)
        _say_lock(after, found, written=writes, dry_run=dry_run)


def sync(
    refs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[REFERENCE]...", help="Only these of the lock's references."),
    ] = None,
    file: File = _LOCK,
    frozen: Annotated[
        bool,
        typer.Option("--frozen", help="Fail if a reference means something else here by now."),
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Change nothing; say what is missing or different."),
    ] = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Fetch what a lock has and the registry has not, verified by the lock's SHA-256.

    With --check it ends with 3 if something is missing, with 4 if something is different.
    """
    from onnxzoo.registry.lockfile import read
    from onnxzoo.zoo_index.zoo import Zoo

    found = read(file)
    chosen = [found.find(ref) for ref in refs] if refs else list(found.models)
    with Zoo() as zoo:
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
    from onnxzoo.zoo_index.sync import check_in_step, state

    if frozen:
        check_in_step(found, [state(zoo, one, hashed=False) for one in chosen])
    done: list[dict[str, Any]] = []
    failed: list[ZooError] = []
    for one in chosen:
        try:
            done.append(_bring(zoo, found, one, quiet=quiet, json=json))
        except ZooError as error:
            failure(error)
            failed.append(error)
            done.append(_locked_document(one) | {"state": "failed", "error": error.message})
    states = [state(zoo, one, hashed=False) for one in chosen]
    if json:
        document({"lock": found.path, "models": done})
    elif not quiet:
        _say_sync(found, [entry["state"] for entry in done])
    if failed:
        raise typer.Exit(failed[0].exit_code)
    if frozen:
        check_in_step(found, states)
    _warn(found, states)


def _bring(zoo: "Zoo", found: "Lock", one: "Locked", *, quiet: bool, json: bool) -> dict[str, Any]:
    from onnxzoo.zoo_index.sync import obtain

    with progress(zoo.settings, quiet=quiet or json, verb="fetched") as report:
        added = obtain(zoo, found, one, report)
    if not json and (added.new or quiet):
        say_added(added, "synced", quiet=quiet)
    state = {"state": "fetched" if added.new else "held", "held": added.variant.ref}
    return _locked_document(one) | state | {"path": added.variant.path}


def _check(
    zoo: "Zoo", found: "Lock", chosen: "Sequence[Locked]", *, quiet: bool, json: bool
) -> None:
    from onnxzoo.zoo_index.sync import state

    with progress(zoo.settings, quiet=quiet or json) as report:
        states = [state(zoo, one, report, hashed=True) for one in chosen]
    unlike = [state for state in states if state.kind != "held"]
    if json:
        document({"lock": found.path, "models": [_state_document(state) for state in states]})
    elif quiet:
        for state_ in unlike:
            line(str(state_.locked.asked))
    else:
        _show_unlike(unlike)
        _say_check(found, states)
    if any(state.kind != "missing" for state in unlike):
        raise typer.Exit(IntegrityError.exit_code)
    if unlike:
        raise typer.Exit(NotFound.exit_code)


def _show_changes(found: "Sequence[Change]") -> None:
    if found:
        table(
            ("CHANGE", "REFERENCE", "MEANS", "DIGEST", "SIZE", "LICENSE"),
            (_change_row(change) for change in found),
        )


def _change_row(change: "Change") -> tuple[object, ...]:
    old, new = change.old, change.new
    there = [one for one in (old, new) if one is not None]
    last = there[-1]
    return (
        change.kind,
        change.asked,
        _arrow([f"{one.name}:{one.variant}@{one.version}" for one in there]),
        _arrow([_short(one.digest) for one in there]),
        _arrow([show_size(one.bytes) for one in there]),
        last.license or "unknown",
    )


def _arrow(words: "Sequence[str]") -> str:
    return " → ".join(dict.fromkeys(words))


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:_SHOWN]


def _say_lock(after: "Lock", found: "Sequence[Change]", *, written: bool, dry_run: bool) -> None:
    count = _count(len(after.models), "reference")
    if written:
        talk(f"wrote {after.path}: {count}")
    elif found and dry_run:
        talk("dry run: nothing was written")
    else:
        talk(f"{after.path} is up to date: {count}")


def _say_sync(found: "Lock", states: "Sequence[str]") -> None:
    words = {"fetched": "fetched", "held": "held already", "failed": "failed"}
    counts = [f"{states.count(state)} {word}" for state, word in words.items() if state in states]
    talk(f"{found.path}: {', '.join([_count(len(states), 'reference'), *counts])}")


def _warn(found: "Lock", states: "Sequence[State]") -> None:
    from onnxzoo.zoo_index.sync import in_words

    moved = [state for state in states if state.other]
    for state in moved:
        talk(f"warning: {in_words(state)}")
    if moved:
        talk(f"hint: zoo lock{found.option} locks what they mean now")


def _show_unlike(unlike: "Sequence[State]") -> None:
    if unlike:
        table(
            ("STATE", "REFERENCE", "LOCKED", "DIGEST", "HERE"),
            (
                (
                    state.kind,
                    state.locked.asked,
                    f"{state.locked.name}:{state.locked.variant}@{state.locked.version}",
                    _short(state.locked.digest),
                    _here(state),
                )
                for state in unlike
            ),
        )


def _here(state: "State") -> str:
    if state.problems:
        return "; ".join(state.problems)
    return f"{state.other.ref} {_short(state.other.digest)}" if state.other else ""


def _say_check(found: "Lock", states: "Sequence[State]") -> None:
    kinds = [state.kind for state in states]
    count = _count(len(states), "reference")
    if set(kinds) <= {"held"}:
        talk(f"{found.path}: {count}, held to the byte")
        return
    talk(f"{found.path}: {kinds.count('held')} of {count} held as locked")
    if "missing" in kinds:
        talk(f"hint: zoo sync{found.option}")
    if "damaged" in kinds:
        talk("hint: zoo verify --repair")
    if "other" in kinds:
        talk(f"hint: zoo lock{found.option} locks what they mean now")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _lock_document(after: "Lock", found: "Sequence[Change]", *, written: bool) -> dict[str, Any]:
    return {
        "lock": after.path,
        "written": written,
        "models": [_locked_document(one) for one in after.models],
        "changes": [
            {
                "asked": str(change.asked),
                "change": change.kind,
                "old": _locked_document(change.old) if change.old else None,
                "new": _locked_document(change.new) if change.new else None,
            }
            for change in found
        ],
    }


def _locked_document(one: "Locked") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(one) | {"asked": str(one.asked), "ref": one.ref, "bytes": one.bytes}


def _state_document(state: "State") -> dict[str, Any]:
    return _locked_document(state.locked) | {
        "state": state.kind,
        "held": state.held.ref if state.held else None,
        "problems": state.problems,
        "other": state.other.ref if state.other else None,
    }
