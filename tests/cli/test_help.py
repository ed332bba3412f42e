"""What `--help` tells somebody new: every option, and examples that can be copied from a usual terminal."""

import inspect
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from orchestrator.cli import cli


def every(command: click.Command, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command under one, with the words that call it."""
    yield names, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from every(inner, *names, name)


COMMANDS = [pytest.param(n, c, id=" ".join(n) or "orchestrator") for n, c in every(cli)]


@pytest.mark.parametrize(("names", "command"), COMMANDS)
def test_every_option_is_explained(names: tuple[str, ...], command: click.Command) -> None:
    options = [p for p in command.params if isinstance(p, click.Option)]
    assert [o.opts for o in options if not o.help] == []


@pytest.mark.parametrize(("names", "command"), COMMANDS)
def test_what_is_set_out_by_lines_is_shown_by_lines(names: tuple[str, ...], command: click.Command) -> None:
    shown = CliRunner().invoke(cli, [*names, "--help"], env={"COLUMNS": "80"}).output
    lines = {line.strip() for line in shown.splitlines()}
    for block in inspect.cleandoc(command.help or "").split("\b\n")[1:]:
        assert {line.strip() for line in block.partition("\n\n")[0].splitlines()} <= lines
