"""`orchestrator tokens new`: lines that config.yaml takes as they are printed."""

import hashlib
import json
from datetime import UTC, datetime

import pytest
import yaml
from click.testing import CliRunner

from orchestrator.cli import cli
from orchestrator.errors import ConfigError
from orchestrator.settings import Api


def test_what_is_printed_goes_into_the_config() -> None:
    words = "--scope trigger --scope read --user U0BOB --expires 2027-01-31T00:00:00Z"
    made = CliRunner().invoke(cli, ["tokens", "new", "shop", *words.split()])
    first, _, lines = made.output.partition("\n")
    api = Api.model_validate_json(json_of(lines))
    [token] = api.tokens
    assert token.sha256 == hashlib.sha256(first.split()[-1].encode()).hexdigest()
    assert (token.name, set(token.scopes), token.user) == ("shop", {"trigger", "read"}, "U0BOB")
    assert token.expires == datetime(2027, 1, 31, tzinfo=UTC)


def json_of(lines: str) -> str:
    """The section, read as YAML that leaves times as text, like the settings' own."""
    return json.dumps(yaml.load(lines, yaml.BaseLoader)["api"])  # noqa: S506 - it makes nothing but text


def test_without_a_scope_it_may_read() -> None:
    assert "scopes: [read]" in CliRunner().invoke(cli, ["tokens", "new", "shop"]).output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["my shop"], "NAME: must be lower case letters"),
        (["shop", "--user", "bob"], "--user: must be a Slack user id"),
        (["shop", "--expires", "tomorrow"], "--expires: must be a time such as"),
        (["shop", "--expires", "2027-01-31"], "--expires: must say its offset"),
    ],
)
def test_what_the_config_would_not_take_is_not_printed(words: list[str], says: str) -> None:
    refused = CliRunner().invoke(cli, ["tokens", "new", *words])
    assert isinstance(refused.exception, ConfigError)
    assert (says in str(refused.exception), refused.output) == (True, "")
