"""The command line. Nothing heavy is imported before a command needs it: `--help` and `list` stay fast."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from modelparity import terminal
from modelparity.cli import answering, converting, device, proving
from modelparity.reports.words import one_line

# Missing arguments, unknown options and unknown commands, which the parser itself refuses.
_USAGE: type[Exception] = typer.BadParameter.__mro__[1]


class _Commands(TyperGroup):
    """Runs a command; any exception ends in one line on stderr and an exit code."""

    def main(self, *args: Any, **extra: Any) -> Any:
        standalone = extra.get("standalone_mode", True)
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except _USAGE as error:
            from modelparity.exit_codes import BAD_INPUT

            terminal.fail(error.format_message())  # type: ignore[attr-defined]
            code = BAD_INPUT
        except Exception as error:
            code = _failed(error)
        if not standalone:
            return code
        sys.exit(code or 0)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            from modelparity.exit_codes import StoppedError

            raise StoppedError("stopped; nothing was written") from None


def _failed(error: Exception) -> int:
    from modelparity.exit_codes import DEBUG, INTERNAL, STOPPED, explained, worker_traceback

    words, code = explained(error)
    if os.environ.get(DEBUG):
        print(worker_traceback(error), end="", file=sys.stderr)
        traceback.print_exception(error)
    if code in (INTERNAL, STOPPED):
        print(one_line(words), file=sys.stderr)
    else:
        terminal.fail(words)
    return code


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if terminal.live() else None,
    help="Proves converted networks, or refuses them with a reason.",
    epilog="Exit codes: 0 pass, 1 failed, 2 bad input. Work is kept in $MODELPARITY_STORE, else ~/.cache.",
)


def _version(asked: bool) -> None:
    if asked:
        from modelparity.version import own_version

        terminal.say(f"modelparity {own_version()}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version
    if context.invoked_subcommand is None:
        terminal.say(context.get_help())


# In the order in which `--help` lists them.
app.command("list")(converting.list_)
for _command in (
    proving.prove,
    converting.convert,
    answering.run,
    proving.verify,
    device.feeds,
    device.judge,
    proving.gate,
    proving.accept,
    answering.evaluate,
    answering.show,
    answering.dataset,
    proving.mutate,
    proving.explain,
    proving.search,
    converting.package,
    converting.extract,
    answering.predict,
    answering.serve,
    proving.report,
):
    app.command()(_command)


def main() -> NoReturn:
    """The `modelparity` command."""
    app()
    raise AssertionError("unreachable")  # the group exits
