"""The table people read: every setting once, each with its variable, default and a sentence."""

import re

from pydantic import BaseModel

from orchestrator.settings import Settings, markdown_table
from orchestrator.settings.fields import as_section, kinds, leaves

ROWS = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in markdown_table().splitlines()]


def names(model: type[BaseModel]) -> list[str]:
    """Last parts of all keys below a model, in order; the sections themselves are no rows."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        below = next((k for k in kinds(field.annotation) if as_section(k)), None)
        found += [] if as_section(field.annotation) else [name]
        found += names(below) if below else []
    return found


def test_every_field_has_one_row_with_a_sentence() -> None:
    keys = [row[0].strip("`") for row in ROWS[3:]]
    assert [re.split(r"[.\]]", k)[-1] for k in keys] == names(Settings)
    assert len(set(keys)) == len(keys)
    assert all(len(row) == 4 and row[3].endswith(".") for row in ROWS[2:])


def test_every_variable_is_there() -> None:
    cells = " ".join(row[1] for row in ROWS)
    for leaf in leaves(Settings):
        for name in leaf.source.names:
            assert f"`{name}`" in cells
            assert (f"`{name}_FILE`" in cells) is leaf.secret
    assert "`ORCHESTRATOR_CONFIG`" in cells


def test_defaults_are_shown_and_secrets_marked() -> None:
    shown = {row[0].strip("`"): row[2] for row in ROWS}
    assert shown["server.port"] == "`8080`"
    assert shown["gemini.resend_tools"] == "`true`"
    assert shown["slack.response_url_hosts"] == '`["hooks.slack.com"]`'
    assert shown["database.url"] == "`sqlite:///orchestrator.db`"
    assert shown["gemini.api_key"] == "required"
    assert shown["slack.bot_token"] == "required while `slack.enabled`"
    assert shown["api.env_token"] == ""
    assert shown["api.tokens[].name"] == "required"
    assert shown["workflows.<workflow>.limits.max_turns"] == "`20`"


def test_what_values_are_taken_is_read_from_the_schema() -> None:
    told = {row[0].strip("`"): row[3] for row in ROWS}
    assert told["gemini.lost_create"].endswith(". One of `retry`, `attention`.")
    assert told["jobs.grace_seconds"].endswith(". 60 to 86400.")
    assert told["gemini.timeout_seconds"].endswith(". Over 0, at most 600.")
    assert told["tools.overrides.<tool>.max_concurrent"].endswith(". At least 1.")
    assert told["gemini.gets_per_second"].endswith(". 0.1 to 10000.")
    assert told["approvals.calendar.days"].startswith("Working days. Any of `mon`, `tue`, ")
    assert told["tools.overrides.<tool>.edits"].endswith(" One of `no`, `same`, `other`.")
    assert "One of" not in told["approvals.edits"], "its description says what each of them does"


def test_it_is_a_table() -> None:
    assert ROWS[0] == ["Key", "Environment variable", "Default", "What it is"]
    assert ROWS[1] == ["---"] * 4
    assert markdown_table().endswith("|\n")
