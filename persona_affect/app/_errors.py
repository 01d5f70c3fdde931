"""How every command ends: its exit code, and an error as a sentence."""

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import Any, Final

import typer
from rich.console import Console
from typer.core import TyperGroup

from persona_affect import exceptions


class ExitCode(IntEnum):
    """What a command's exit code means, the same for all commands."""

    #: All was done, or the program that reads the output has closed it (`| head`).
    DONE = 0
    #: Some inputs or outputs failed; what could be done is done.
    FAILED = 1
    #: The call is wrong: an option, a name, a missing extra. Nothing was done.
    WRONG_CALL = 2
    #: By Ctrl+C: 128 + SIGINT, as shells have it.
    INTERRUPTED = 130


#: The exit code of an error: that of the first line which names its class. Other errors are
#: faults of this package, and keep their traceback.
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
    """The commands of `persona-affect`, which all end by the table of exit codes."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        with readable_errors():
            return super().invoke(ctx)


@contextmanager
def readable_errors() -> Iterator[None]:
    """Show warnings and errors as a sentence, and leave with the exit code of the error.

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
        _show("bold red", "Error", " ".join([text, *getattr(error, "__notes__", [])]))
        raise typer.Exit(code) from error


def _discard_output() -> None:
    """Send what is still buffered nowhere: Python would write it at the end, and fail again."""
    with suppress(io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class OutputConsole(Console):
    """A console for results, which leaves the end of a broken pipe to `readable_errors`."""

    def on_broken_pipe(self) -> None:
        """Raise what rich has caught."""
        raise BrokenPipeError


def error_console() -> Console:
    """Return the console for all that is no result."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def _show_warning(message: Warning | str, *where: Any, **more: Any) -> None:
    _show("yellow", "Warning", str(message))


def _show(style: str, kind: str, text: str) -> None:
    error_console().print(f"[{style}]{kind}:[/] ", end="")
    error_console().print(text, markup=False)
