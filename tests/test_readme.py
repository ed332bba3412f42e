"""The README says what the program says."""

import re
from itertools import product, takewhile
from pathlib import Path

import click

from orchestrator.cli import cli
from orchestrator.settings import markdown_table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROSE, _, TABLE = README.partition("<!-- settings")


def test_the_table_of_settings_is_current() -> None:
    assert README.rstrip().endswith(markdown_table().rstrip())


def test_folders_and_targets_it_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:`|^)make ([a-z]+)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile, target
    for folder in re.findall(r"`(tests/[a-z]+)`", README):
        assert (ROOT / folder).is_dir(), folder


def test_commands_and_options_it_names_exist() -> None:
    """`list|show` are two commands; an option of one is none of every other."""
    said = re.findall(r"(?:^|`)orchestrator ([a-z][^`#\n]*)", PROSE, re.MULTILINE)
    assert len(said) > 30
    for text in said:
        words = takewhile(re.compile(r"[a-z|]+$").match, text.split())
        for names in product(*(word.split("|") for word in words)):
            command, context = cli, click.Context(cli)
            for name in names:
                if isinstance(command, click.Group):
                    command = command.get_command(context, name)
                    assert command is not None, text
            assert {o for p in command.params for o in p.opts} >= {*re.findall(r"--[a-z-]+", text)}, text


def test_settings_it_names_exist() -> None:
    keys = set(re.findall(r"^\| `([^`]+)`", TABLE, re.MULTILINE))
    sections = {key.partition(".")[0] for key in keys} - {"workflows"}
    named = {k for k in re.findall(r"`([a-z_.]+\.[a-z_]+)[:`]", PROSE) if k.partition(".")[0] in sections}
    assert len(named) > 20
    assert named <= keys


def test_the_locks_name_no_registry() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text(encoding="utf-8")
        assert "--hash=sha256:" in text
        assert not re.search(r"https?://", text), lock
