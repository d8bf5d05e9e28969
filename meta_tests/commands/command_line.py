"""Runs the command line inside the tests' own process."""

from __future__ import annotations

from typer.testing import CliRunner

from modelparity.cli import app


def modelparity(*arguments: object) -> object:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def passes(*arguments: object) -> str:
    """What a successful command prints on stdout."""
    result = modelparity(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*arguments: object) -> str:
    """The one line of a command that refuses bad input."""
    result = modelparity(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.stderr.splitlines() == errors
    assert len(errors) == 1
    return errors[0].removeprefix("error: ")
