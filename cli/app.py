"""Run the ``zoo`` command: dispatch its commands, print their errors."""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, NoReturn

import typer
import typer.core

from onnxzoo.cli.commands import (
    alias,
    bench,
    compare,
    convert,
    doctor,
    export,
    gc,
    import_,
    index,
    licenses,
    lock,
    opsets,
    path,
    pull,
    quantize,
    rederive,
    register,
    rm,
    run,
    search,
    show,
    sync,
    tag,
    test,
    verify,
    versions,
    view,
)
from onnxzoo.cli.commands import list as list_
from onnxzoo.cli.completion import completing, is_completing
from onnxzoo.cli.help import Command, Group
from onnxzoo.cli.output import info, print_error, print_line
from onnxzoo.registry.core.errors import StorageError, UsageError, ZooError

_SIGNALS = 128  # and the signal's number: how shells report what ended a command
_INTERRUPTED = _SIGNALS + signal.SIGINT
_KEPT = "interrupted: what was done is kept, nothing is half-done; run it again to go on"
_BROKEN_PIPE = 141  # 128 + SIGPIPE
# What a write to stdout can end in.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
_SHORT = _FULL | {errno.EMFILE, errno.ENFILE}  # what any file can end in

app = typer.Typer(
    name="zoo",
    cls=Group,
    help="The model registry and model-zoo manager for ONNX.",
    epilog="Try: zoo pull light-squeezenet ; zoo run light-squeezenet",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command(cls=Command)(search.search)
app.command(cls=Command)(pull.pull)
app.command("list", cls=Command)(list_.list_held)
app.command("ls", hidden=True, cls=Command)(list_.list_held)
app.command(cls=Command)(show.show)
app.command("info", hidden=True, cls=Command)(show.show)
app.command(cls=Command)(view.view)
app.command(cls=Command)(versions.versions)
app.command(cls=Command)(opsets.opsets)
app.command(cls=Command)(register.register)
app.command(cls=Command)(convert.convert)
app.command(cls=Command)(rederive.rederive)
app.command(cls=Command)(alias.alias)
app.command(cls=Command)(tag.tag)
app.command(cls=Command)(quantize.quantize)
app.command(cls=Command)(run.run)
app.command("test", cls=Command)(test.replay_data)
app.command(cls=Command)(bench.bench)
app.command(cls=Command)(compare.compare)
app.command(cls=Command)(path.path)
app.command(cls=Command)(lock.lock)
app.command(cls=Command)(sync.sync)
app.command(cls=Command)(verify.verify)
app.command("rm", cls=Command)(rm.remove)
app.command(cls=Command)(gc.gc)
app.command(cls=Command)(export.export)
app.command("import", cls=Command)(import_.import_)
app.command(cls=Command)(licenses.licenses)
app.add_typer(index.app, name="index")
app.command(cls=Command)(doctor.doctor)


@app.command("help", hidden=True)
def _help(
    context: typer.Context,
    command: Annotated[str | None, typer.Argument(metavar="COMMAND", help="Of zoo.")] = None,
) -> None:
    """Show the help of zoo, or of one of its commands."""
    root = context.parent
    group = root.command if root else None
    if root is None or not isinstance(group, typer.core.TyperGroup):
        return
    if command is None:
        print_line(root.get_help())
        return
    found = group.get_command(root, command)
    if found is None:
        raise UsageError(f"no command `{command}`", hint="zoo --help")
    print(found.get_help(found.make_context(command, [], parent=root, resilient_parsing=True)))


@app.command("version", hidden=True)
def _print_version() -> None:
    """Print the version."""
    _version()


@app.callback()
def _root(
    version: Annotated[  # noqa: ARG001  (its callback does the work)
        bool,
        typer.Option(
            "--version",
            "-V",
            callback=lambda on: _version() if on else None,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    import logging

    class Talk(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            info(f"{record.levelname.lower()}: {record.getMessage()}")

    logging.getLogger("onnxzoo").handlers = [Talk()]
    logging.lastResort = logging.NullHandler()  # of what libraries log, as they are interrupted


def main() -> None:
    """Run the command line and exit with the code that the outcome stands for."""
    if sys.stdout is None:  # closed by the caller, as `>&-` does
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    try:
        with _heeding_signals(), completing():
            code = _outcome()
    except _Stopped as stopped:  # while an outcome was told
        code = stopped.code
        _say_kept()
    sys.exit(code)


class _Stopped(BaseException):
    """A signal asked this process to end; raised where it was, so that everything is tidied up."""

    def __init__(self, number: int, _: object = None) -> None:
        super().__init__(number)
        self.code = _SIGNALS + number


def _stop(number: int, _: object) -> NoReturn:
    raise _Stopped(number)


@contextmanager
def _heeding_signals() -> Iterator[None]:
    """Let a command tidy up on a signal; ignored signals (nohup) stay ignored."""
    before = {}
    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            with suppress(ValueError):  # not in the main thread
                before[number] = signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _outcome() -> int:
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except ZooError as error:
        print_error(error)
        return error.exit_code
    except _Stopped as stopped:
        for note in getattr(stopped, "__notes__", ()):
            info(note)
        code = stopped.code
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except OSError as error:
        return _unwritten(error)
    except SystemExit as ended:
        if not isinstance(ended.__context__, BrokenPipeError):  # click makes it exit code 1
            raise
        return _unwritten(ended.__context__)
    except Exception as error:  # noqa: BLE001  (no traceback reaches a user)
        return _unexpected(error)
    if isinstance(code, int) and code > _SIGNALS:  # typer reports Ctrl-C so too
        _say_kept()
    return code if isinstance(code, int) else 0


def _say_kept() -> None:
    if not is_completing():
        info(_KEPT)


def _unwritten(error: OSError) -> int:
    """Report why stdout fails, and discard the rest of the output."""
    if isinstance(error, BrokenPipeError):  # the reader of a pipe went away, as `head` does
        code = _BROKEN_PIPE
    elif error.errno in _SHORT and error.filename is not None:
        reason = os.strerror(error.errno or 0).lower()
        print_error(StorageError(f"`{error.filename}`: {reason}"))
        return StorageError.exit_code
    elif error.errno in _FULL:
        reason = os.strerror(error.errno or 0).lower()
        print_error(StorageError(f"cannot write the output: {reason}"))
        code = StorageError.exit_code
    else:
        return _unexpected(error)
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return code


def _unexpected(error: Exception) -> int:
    """Print a misuse that the parser found (it raises its own kinds), or a bug of ours."""
    message = getattr(error, "format_message", None)
    if message is None:
        info(f"error: a bug in onnxzoo: {type(error).__name__}: {error}")
        info("hint: zoo doctor prints what a report needs; ZOO_DEBUG=1 shows where it happened")
        from onnxzoo.registry.core.settings import wants_debugging

        if wants_debugging():
            raise error
        return 1
    text = message()
    if type(error).__name__ == "NoArgsIsHelpError":
        print(text)
    elif text:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "zoo"
        print_error(UsageError(text[0].lower() + text[1:].rstrip("."), hint=f"{command} --help"))
    return int(getattr(error, "exit_code", UsageError.exit_code))


def _version() -> None:
    from importlib.metadata import version

    print_line(f"onnxzoo {version('onnxzoo')}")
    raise typer.Exit
