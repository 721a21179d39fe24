"""How a command ends: its exit code, and one line for whatever is wrong with its input."""

import os
import sys
from typing import Any, NoReturn

import typer

from ..core.errors import GauntletError
from . import signals
from .terminal import readable

COMPLETING = "_GAUNTLET_COMPLETE"  # set by the shell's half of completion
_UsageError: Any = typer.BadParameter.__bases__[0]  # of Click, or of the Click within a newer Typer


def run_command(app: typer.Typer) -> NoReturn:
    """Run the command that the command line names, and leave the process with its exit code."""
    try:
        sys.exit(_code(app))
    except _UsageError as error:
        if not sys.argv[1:]:  # the message is the help
            error.show()
            sys.exit(2)
        hinted = "Did you mean" in error.message  # by Typer; Click would say it once more
        _refuse(error.message if hinted else error.format_message())
    except GauntletError as error:
        _refuse(str(error))
    except BrokenPipeError:  # whoever read has had enough, as ``head`` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)  # 128 and SIGPIPE's number, which not every system has
    except OSError as error:
        _refuse(f"{error.filename or 'a file'}: {error.strerror or error}")
    except MemoryError as error:
        _refuse(f"there is not enough memory: {error or 'it is all taken'}")
    except KeyboardInterrupt:
        print(f"gauntlet: {signals.last_words()}", file=sys.stderr)
        sys.exit(signals.exit_code())


def _code(app: typer.Typer) -> Any:
    """Run a command and return its exit code; nobody's code but ours may choose it, nor a signal's.

    Where a shell asks for words to complete, no command runs, and Click leaves by itself.
    """
    try:
        return _call(app)
    except SystemExit as stop:
        ours = COMPLETING in os.environ or {*sys.argv[1:2]} & {"--show-completion", "--install-completion"}
        if ours or (isinstance(stop.code, int) and stop.code > 128):
            raise
        if isinstance(stop.__context__, BrokenPipeError):  # as Click puts it
            raise stop.__context__ from None
        _refuse(f"something that was run left the process (SystemExit: {stop.code})")


def _call(app: typer.Typer) -> Any:
    """Run a command; Typer reports an interrupt as 130."""
    code = app(standalone_mode=False, prog_name="gauntlet")
    if code == 130:
        raise KeyboardInterrupt
    return code


def _refuse(message: str) -> NoReturn:
    print(f"gauntlet: {readable(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(2)
