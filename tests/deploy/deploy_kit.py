"""What the checks of the deployment kit share: its files, our commands, our settings."""

import base64
import importlib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
import rich_click as click
import yaml

from orchestrator.cli import cli
from orchestrator.settings import Settings, load
from orchestrator.settings.environment import CONFIG_VARIABLE
from orchestrator.settings.fields import PREFIX
from orchestrator.settings.loader import LEAVES
from orchestrator.web import health

ROOT: Final = Path(__file__).parent.parent.parent
DEPLOY: Final = ROOT / ".deploy"
VERSION: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
PROBES: Final = {path for handler in (health.healthz, health.readyz) for path in handler.paths}
SPARE_SECONDS: Final = 10.0
"""Beside our own waiting, for closing databases and connections on a busy machine."""

SECRETS: Final = {
    "database_url": "postgresql+psycopg://orchestrator:word@postgres/orchestrator",
    "gemini_api_key": "key",
    "gemini_webhook_secrets": f"whsec_{base64.b64encode(b'k' * 24).decode()}",
    "slack_bot_token": "xoxb-1",
    "slack_signing_secret": "signing",
}
"""Name of the file, and something of the right shape."""


def needed(module: str) -> ModuleType:
    """A development dependency that holds others' schemas; a check is skipped without it, never in CI."""
    try:
        return importlib.import_module(module)
    except ImportError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{module} is not installed")


def documents(file: Path) -> list[dict[str, Any]]:
    """Every document of a YAML file."""
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def known_variables() -> frozenset[str]:
    """Every variable the settings look at."""
    names = {CONFIG_VARIABLE}
    for leaf in LEAVES:
        names |= set(leaf.source.names)
        names |= {f"{n}_FILE" for n in leaf.source.names if leaf.secret}
    return frozenset(names)


def write_secrets(folder: Path, names: Sequence[str] = tuple(SECRETS)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(SECRETS[name])


def settings_of(
    environ: Mapping[str, str], config: Path, *, mounted: Mapping[str, Path], need_secrets: bool = True
) -> Settings:
    """What the service makes of a container's environment.

    Args:
        mounted: Where the folders of the container are while we look; a value that names a file
            anywhere else is left as it is, and then fails.
    """

    def here(text: str) -> str:
        for inside, outside in mounted.items():
            text = text.replace(inside, str(outside))
        return text

    seen = {k: here(v) if k.endswith("_FILE") else v for k, v in environ.items()}
    return load(config, seen, need_secrets=need_secrets)


def parse(args: Sequence[str]) -> click.Context:
    """The context of the command a line ends in. Raises what click raises for a line it does not take."""
    command: click.Command = cli
    context, rest = click.Context(cli, info_name="orchestrator"), list(args)
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        group = isinstance(found, click.Group)
        context = (
            click.Context(found, info_name=name, parent=context)
            if group
            else found.make_context(name, rest, parent=context)
        )
        command = found
    return context


def seconds(span: str) -> float:
    """`75s` as a number; other units are not used in the kit."""
    assert span.endswith("s")
    return float(span.removesuffix("s"))


def longest_stop(settings: Settings) -> float:
    """How long a clean end may take: open requests first, then the worker behind them."""
    return 2 * settings.server.graceful_seconds + SPARE_SECONDS


def ours(environ: Mapping[str, str]) -> Iterator[str]:
    """The variables meant for us, so not `PATH` and Python's own."""
    outside = ("PATH", "PYTHON", "POSTGRES_")
    return (name for name in environ if not name.startswith(outside) or name.startswith(PREFIX))


def instructions() -> list[tuple[str, str]]:
    """Every instruction of the Dockerfile as its word and the rest, continued lines put together."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest))
    return found


def said(stage: list[tuple[str, str]], word: str) -> list[str]:
    return [rest for w, rest in stage if w == word]


BUILD, FINAL = stages()
