"""Exit codes of the commands, and errors as readable sentences."""

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from errno import ENOSPC
from typing import Any, Final

import typer
from rich.console import Console
from typer.core import TyperGroup

from persona_affect import exceptions


class ExitCode(IntEnum):
    """Exit codes, with the same meaning in all commands."""

    #: Everything was done, or the program that reads the output has closed it (`| head`).
    DONE = 0
    #: Some inputs or outputs failed; the others are done.
    FAILED = 1
    #: The call is wrong: an option, a name, a missing extra. Nothing was done.
    WRONG_CALL = 2
    #: Stopped by Ctrl+C: 128 + SIGINT, as in shells.
    INTERRUPTED = 130


#: Exit codes of errors: the first line with a class of the error counts. Other errors are bugs of
#: this package, and are shown with their traceback.
EXIT_CODES: Final[tuple[tuple[type[BaseException], ExitCode], ...]] = (
    (KeyboardInterrupt, ExitCode.INTERRUPTED),
    (exceptions.MediaReadError, ExitCode.FAILED),
    (exceptions.MediaLimitError, ExitCode.FAILED),
    (exceptions.InvalidImageError, ExitCode.FAILED),
    (exceptions.OutputPathError, ExitCode.WRONG_CALL),
    (exceptions.OutputError, ExitCode.FAILED),
    (exceptions.FaceStoreError, ExitCode.FAILED),
    (exceptions.TrainingDivergedError, ExitCode.FAILED),
    (exceptions.PersonaAffectError, ExitCode.WRONG_CALL),
    (ValueError, ExitCode.WRONG_CALL),
    (OSError, ExitCode.WRONG_CALL),
)


class CommandGroup(TyperGroup):
    """The commands of `persona-affect`, which all use the table of exit codes."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        with readable_errors():
            return super().invoke(ctx)


@contextmanager
def readable_errors() -> Iterator[None]:
    """Show warnings and errors as sentences, and end with the exit code of the error.

    A note on the exception is shown after its message.
    """
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        raise typer.Exit(ExitCode.DONE) from None
    except BaseException as error:
        code = next((code for kind, code in EXIT_CODES if isinstance(error, kind)), None)
        if code is None:
            raise
        text = "interrupted." if isinstance(error, KeyboardInterrupt) else str(error)
        # Errors of files have their names; this one is of what the shell redirects.
        if isinstance(error, OSError) and error.errno == ENOSPC and error.filename is None:
            _discard_output()
            code, text = ExitCode.FAILED, "the output cannot be written: the disk is full."
        _show("bold red", "Error", " ".join([text, *getattr(error, "__notes__", [])]))
        raise typer.Exit(code) from error


def _discard_output() -> None:
    """Discard buffered output: Python would write it at the end, and fail again."""
    with suppress(io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class OutputConsole(Console):
    """A console for results; `readable_errors` handles a broken pipe."""

    def on_broken_pipe(self) -> None:
        """Raise the error that rich has caught."""
        raise BrokenPipeError


def error_console() -> Console:
    """Return the console for everything that is not a result."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def _show_warning(message: Warning | str, *where: Any, **more: Any) -> None:
    _show("yellow", "Warning", str(message))


def _show(style: str, kind: str, text: str) -> None:
    error_console().print(f"[{style}]{kind}:[/] ", end="")
    error_console().print(text, markup=False)
