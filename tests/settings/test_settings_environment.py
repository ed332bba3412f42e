"""Variables over the file, secrets from variables or files, and nothing secret in what is printed."""

import base64
import copy
import hashlib
import json
import logging
import pickle
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import BaseModel

from orchestrator.errors import ConfigError
from orchestrator.settings import Secret, Settings, load
from orchestrator.settings.fields import leaves

REPO = Path(__file__).parents[2]
SLACK = "slack: {channel: C0APPR}\n"
PLAIN = [leaf for leaf in leaves(Settings) if leaf.source.in_file]
WRONG = {"server.host": "", "tools.folder": "", "approvals.risk": "x" * 81, "storage.url": "ftp://§§"}
SECRET = [leaf for leaf in leaves(Settings) if leaf.secret]
FOUR = ("GEMINI_API_KEY", "GEMINI_WEBHOOK_SECRETS", "SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET")


def test_the_config_of_this_repository_needs_only_the_four_secrets(secrets: dict[str, str]) -> None:
    assert tuple(secrets) == FOUR
    settings = load(REPO / "config.yaml", secrets)
    assert settings.tools.modules == ("orders", "meetings", "notes", "films", "cms", "records")
    assert settings.recipe("refund").tools == ("lookup_order", "refund_order")
    assert settings.workflows["refund"].form.render("A-1042 broke") == "A-1042 broke"
    text = settings.workflows["support"].form.render({"order_id": "A-1042", "message": "Where is it?"})
    assert "order A-1042:\n\nWhere is it?\n\nAnswer in this language: en." in text
    with pytest.raises(ConfigError) as caught:
        load(REPO / "config.yaml", {})
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        f"environment {n}" for n in FOUR
    ]


@pytest.mark.parametrize("leaf", PLAIN, ids=lambda leaf: leaf.key)
def test_every_plain_setting_has_a_variable_that_is_checked(leaf: Any, load_text: Any) -> None:
    variable = leaf.source.names[0]
    with pytest.raises(ConfigError) as caught:
        load_text(SLACK, **{variable: WRONG.get(leaf.key, "{[ §§ wrong")})
    assert str(caught.value).startswith(f"environment {variable}: {leaf.key}")
    assert "§§" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("ORCHESTRATOR_PUBLIC_URL", "https://a.example.com", "public_url", "https://a.example.com"),
        ("ORCHESTRATOR_PUBLIC_URL", "", "public_url", None),
        ("ORCHESTRATOR_SERVER__PORT", "9000", "server.port", 9000),
        ("ORCHESTRATOR_SERVER__GRACEFUL_SECONDS", "2.5", "server.graceful_seconds", 2.5),
        ("ORCHESTRATOR_GEMINI__RESEND_TOOLS", "false", "gemini.resend_tools", False),
        ("ORCHESTRATOR_TOOLS__MODULES", "orders, notes", "tools.modules", ("orders", "notes")),
        ("ORCHESTRATOR_TOOLS__MODULES", '["orders", "notes"]', "tools.modules", ("orders", "notes")),
        ("ORCHESTRATOR_TOOLS__MODULES", "", "tools.modules", ()),
        ("ORCHESTRATOR_SLACK__CHANNEL", "C0OTHER", "slack.channel", "C0OTHER"),
        ("ORCHESTRATOR_APPROVALS__REMINDERS", "0.25, 0.5", "approvals.reminders", (0.25, 0.5)),
        ("ORCHESTRATOR_APPROVALS__EDITS", "no", "approvals.edits", "no"),
        ("ORCHESTRATOR_APPROVALS__ROLES", '{"a": ["U0A"]}', "approvals.roles", {"a": ("U0A",)}),
        ("ORCHESTRATOR_LOG__LEVEL", "debug", "log.level", "debug"),
        ("ORCHESTRATOR_API_TOKEN_USER", "U0BOB", "api.env_token_user", "U0BOB"),
    ],
)
def test_a_variable_wins_over_the_file(
    variable: str, text: str, key: str, value: Any, load_text: Any
) -> None:
    file = "server: {port: 1}\npublic_url: https://b.example.com\ntools: {modules: [x]}\n" + SLACK
    settings = load_text(file, **{variable: text})
    for part in key.split("."):
        settings = getattr(settings, part)
    assert settings == value
    assert type(settings) is type(value)


def test_maps_in_a_variable_are_json(load_text: Any) -> None:
    recipes = {"refund": {"model": "gemini-3.8-flash", "limits": {"max_turns": 3}}}
    assert load_text(SLACK, ORCHESTRATOR_WORKFLOWS=json.dumps(recipes)).recipe("refund").limits.max_turns == 3
    recipes["refund"]["limits"] = {"max_turn": 3}
    with pytest.raises(
        ConfigError,
        match=r"_WORKFLOWS: workflows\.refund\.limits\.max_turn: .*did you mean max_turns",
    ):
        load_text(SLACK, ORCHESTRATOR_WORKFLOWS=json.dumps(recipes))  # fmt: skip


@pytest.mark.parametrize(
    ("key", "inside"),
    [("APPROVERS", "[0]"), ("ROLES", ".finance[0]")],
)
def test_a_variable_is_blamed_for_what_it_holds_and_not_the_line_it_overrides(
    key: str, inside: str, load_text: Any
) -> None:
    config = SLACK + "approvals:\n  approvers: [U0ALICE]\n  roles: {finance: [U0ALICE]}\n"
    name = f"ORCHESTRATOR_APPROVALS__{key}"
    held = {"APPROVERS": "alice", "ROLES": '{"finance": ["alice"]}'}[key]
    says = re.escape(f"environment {name}: approvals.{key.lower()}{inside}: must be a Slack user")
    with pytest.raises(ConfigError, match=says):
        load_text(config, **{name: held})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "JSON"),
        ('{"a": 1, "a": 2}', "twice"),
        ('{"a": NaN}', "NaN"),
        ('{"a": 1e999}', "too large"),
        ('{"a": "\\ud800"}', "no text"),
        ('{"\\u0000": 1}', "no text"),
        ("[" * 100_000, "JSON|nested"),
        ("{" + '"a":[' * 50_000, "JSON|nested"),
    ],
)
def test_json_is_strict(text: str, says: str, load_text: Any) -> None:
    with pytest.raises(ConfigError, match=f"environment ORCHESTRATOR_WORKFLOWS: workflows: .*({says})"):
        load_text(SLACK, ORCHESTRATOR_WORKFLOWS=text)


def test_a_section_that_is_no_mapping_is_told_as_such(load_text: Any) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml:1: server: must be a mapping"):
        load_text("server: 5\nslack: {channel: C0APPR}\n", ORCHESTRATOR_SERVER__PORT="1")


@pytest.mark.parametrize(
    ("variable", "near"),
    [
        ("ORCHESTRATOR_SERVRE__PORT", "ORCHESTRATOR_SERVER__PORT"),
        ("ORCHESTRATOR_SERVER_PORT", "ORCHESTRATOR_SERVER__PORT"),
        ("ORCHESTRATOR_CONFIGS", "ORCHESTRATOR_CONFIG"),
        ("ORCHESTRATOR_GEMINI__API_KEY", "GEMINI_API_KEY"),
        ("ORCHESTRATOR_DATABASE__URL", "DATABASE_URL"),
        ("ORCHESTRATOR_SLACK__SIGNING_SECRETS", "SLACK_SIGNING_SECRET"),
        ("ORCHESTRATOR_API__ENV_TOKEN", "ORCHESTRATOR_API_TOKEN"),
        ("ORCHESTRATOR_ZZZZ", ""),
    ],
)
def test_an_unknown_variable_stops_the_start(variable: str, near: str, load_text: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(SLACK, **{variable: "canary-value"})
    hint = f"; did you mean {near}?" if near else ""
    assert str(caught.value) == f"environment {variable}: is not a setting{hint}"


def test_other_programs_variables_are_theirs(load_text: Any) -> None:
    load_text(SLACK, PATH="/bin", SLACK_WHATEVER="x", MY_ORCHESTRATOR_X="y")


@pytest.mark.parametrize("variable", FOUR)
def test_a_missing_secret_names_its_variable(variable: str, load_text: Any) -> None:
    for absent in (None, ""):
        with pytest.raises(ConfigError) as caught:
            load_text(SLACK, **{variable: absent})
        said = str(caught.value)
        assert said.startswith(f"environment {variable}: ")
        assert f"is missing; set {variable}, or {variable}_FILE" in said
        assert "\n" not in said


def test_a_near_miss_is_pointed_at(load_text: Any) -> None:
    with pytest.raises(ConfigError, match=r"did you mean SLACK_BOT_TOKENS\?"):
        load_text(SLACK, SLACK_BOT_TOKEN=None, SLACK_BOT_TOKENS="x")


def test_over_a_socket_it_is_the_app_token_that_is_needed(load_text: Any) -> None:
    text = "slack: {channel: C0APPR, socket_mode: true}\napprovals: {approvers: [U0ALICE]}\n"
    with pytest.raises(ConfigError, match=r"^environment SLACK_APP_TOKEN: slack.app_token: is missing"):
        load_text(text, SLACK_SIGNING_SECRET=None)
    assert load_text(text, SLACK_SIGNING_SECRET=None, SLACK_APP_TOKEN="xapp-1").slack.app_token
    assert not load_text("slack: {enabled: false, socket_mode: true}\n").slack.app_token


def test_a_secret_is_needed_only_by_what_is_on(load_text: Any) -> None:
    settings = load_text("slack: {enabled: false}\n", SLACK_BOT_TOKEN=None, SLACK_SIGNING_SECRET=None)
    assert not settings.slack.bot_token
    with pytest.raises(ConfigError, match="SLACK_BOT_TOKEN"):
        load_text("slack: {enabled: true, channel: C0A}\n", SLACK_BOT_TOKEN=None)


def test_a_command_that_needs_no_secrets(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(SLACK)
    assert not load(file, {}, need_secrets=False).gemini.api_key
    with pytest.raises(ConfigError, match=r"webhooks\.secrets"):
        load(file, {"GEMINI_WEBHOOK_SECRETS": "wrong"}, need_secrets=False)


@pytest.mark.parametrize("leaf", SECRET, ids=lambda leaf: leaf.key)
def test_a_secret_does_not_belong_in_the_file(leaf: Any, load_text: Any) -> None:
    value = "postgresql+psycopg://u:canary@h/d" if leaf.source.in_file else "canary"
    *sections, key = leaf.path
    section = sections[0] if sections else ""
    with pytest.raises(ConfigError) as caught:
        load_text(
            (f"{section}:\n  # mine\n  " if section else "# mine\n\n")
            + f"{key}: {value}\n"
            + ("  channel: C0APPR\n" if section == "slack" else SLACK)
        )
    name = leaf.source.names[0]
    said = str(caught.value)
    assert f"config.yaml:3: {leaf.key}: " in said
    assert f"does not belong in this file; set {name}, or {name}_FILE" in said
    assert len(said.splitlines()) == 1
    assert "canary" not in said


@pytest.mark.parametrize(("end", "kept"), [("", ""), ("\n", ""), ("\r\n", ""), ("\n\n", "\n")])
def test_a_secret_from_a_file(end: str, kept: str, tmp_path: Path, load_text: Any) -> None:
    file = tmp_path / "secret"
    file.write_bytes(f"xoxb-file{end}".encode())
    act = {"SLACK_BOT_TOKEN": None, "SLACK_BOT_TOKEN_FILE": str(file)}
    if kept:
        with pytest.raises(
            ConfigError, match=r"environment SLACK_BOT_TOKEN_FILE: slack\.bot_token: must be visible"
        ):
            load_text(SLACK, **act)
    else:
        assert load_text(SLACK, **act).slack.bot_token.reveal() == "xoxb-file"


@pytest.mark.parametrize("leaf", SECRET, ids=lambda leaf: leaf.key)
def test_every_secret_may_come_from_a_file_but_not_twice(leaf: Any, tmp_path: Path, load_text: Any) -> None:
    name = leaf.source.names[0]
    shaped = {
        "DATABASE_URL": "sqlite:///x.db",
        "GEMINI_WEBHOOK_SECRETS": "whsec_AAAA",
        "CALLBACK_SECRETS": "whsec_" + "A" * 32,
        "TRIGGER_SECRETS": "orders=whsec_" + "A" * 32,
    }
    text = shaped.get(name, "canary-long-enough-for-any-of-them")
    file = tmp_path / "secret"
    file.write_text(text + "\n")
    settings: Any = load_text(SLACK, **{name: None, f"{name}_FILE": str(file)})
    for part in leaf.path:
        settings = getattr(settings, part)
    assert (settings[0] if isinstance(settings, tuple) else settings).reveal() == text
    with pytest.raises(ConfigError, match=f"{name} and {name}_FILE are both set"):
        load_text(SLACK, **{name: text, f"{name}_FILE": str(file)})


def test_a_secret_that_cannot_be_taken_is_not_called_missing_as_well(load_text: Any) -> None:
    for wrong in (
        {"GEMINI_API_KEY_FILE": "/nowhere"},
        {"GEMINI_API_KEY": None, "GEMINI_API_KEY_FILE": "/nowhere"},
    ):
        with pytest.raises(ConfigError) as caught:
            load_text(SLACK, **wrong)
        assert len(str(caught.value).splitlines()) == 1


def test_secret_files_that_are_no_good(tmp_path: Path, load_text: Any) -> None:
    for name, raw, says in (
        ("empty", b"\n", "is empty"),
        ("bin", b"\xff", "UTF-8"),
        ("big", b"x" * 70_000, "64 KB"),
    ):
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(ConfigError, match=f"environment GEMINI_API_KEY_FILE: .*{says}"):
            load_text(SLACK, GEMINI_API_KEY=None, GEMINI_API_KEY_FILE=str(tmp_path / name))
    with pytest.raises(ConfigError, match=r"environment GEMINI_API_KEY_FILE: cannot read .*No such file"):
        load_text(SLACK, GEMINI_API_KEY=None, GEMINI_API_KEY_FILE=str(tmp_path / "none"))


def test_the_older_name_of_the_gemini_key_is_second(load_text: Any) -> None:
    both = load_text(SLACK, GOOGLE_API_KEY="second")
    assert both.gemini.api_key.reveal() == "canary-gemini-key"
    assert load_text(SLACK, GEMINI_API_KEY=None, GOOGLE_API_KEY="second").gemini.api_key.reveal() == "second"


def test_several_secrets_while_rotating(load_text: Any) -> None:
    settings = load_text(
        SLACK, GEMINI_WEBHOOK_SECRETS=" whsec_AAAA, whsec_BBBB\nwhsec_CCCC ", SLACK_SIGNING_SECRET="a b"
    )
    assert [s.reveal() for s in settings.webhooks.secrets] == ["whsec_AAAA", "whsec_BBBB", "whsec_CCCC"]
    assert [s.reveal() for s in settings.slack.signing_secrets] == ["a", "b"]


@pytest.mark.parametrize(
    "wrong", ["AAAA", "whsec_", "whsec_A", "whsec_A-_A", "whsec_AAAA=", "xwhsec_AAAA", "whsec_ÄÄÄÄ"]
)
def test_a_webhook_secret_is_base64(wrong: str, load_text: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(SLACK, GEMINI_WEBHOOK_SECRETS=f"whsec_BBBB,{wrong}")
    assert str(caught.value) == (
        "environment GEMINI_WEBHOOK_SECRETS: webhooks.secrets[1]: must be whsec_ followed by base64"
    )


def test_a_database_address_with_a_password_comes_from_the_environment(load_text: Any) -> None:
    settings = load_text(SLACK, DATABASE_URL="postgresql+psycopg://u:canary@h/d")
    assert settings.database.url.reveal() == "postgresql+psycopg://u:canary@h/d"
    assert settings.database.shown == "postgresql+psycopg://***"
    assert load_text("database: {url: 'sqlite:///x.db'}\n" + SLACK).database.shown == "sqlite:///x.db"
    with pytest.raises(ConfigError, match="carries a password"):
        load_text("database: {url: 'postgresql+psycopg://h/d?password=canary'}\n" + SLACK)


def test_the_first_token_from_the_environment(load_text: Any) -> None:
    assert load_text(SLACK).api.callers == ()
    for short in ("x", "x" * 15):
        with pytest.raises(ConfigError, match=r"environment ORCHESTRATOR_API_TOKEN: api\.env_token: .*16"):
            load_text(SLACK, ORCHESTRATOR_API_TOKEN=short)
    (token,) = load_text(
        SLACK, ORCHESTRATOR_API_TOKEN="x" * 16, ORCHESTRATOR_API_TOKEN_USER="U0BOB"
    ).api.callers
    assert (token.name, token.user) == ("env", "U0BOB")
    assert set(token.scopes) == {"trigger", "read", "decide", "operate"}
    assert token.sha256 == hashlib.sha256(b"x" * 16).hexdigest()


def everything_printed(settings: Settings) -> str:
    models = [settings, *(v for v in vars(settings).values() if isinstance(v, BaseModel))]
    shown = [f"{m!r} {m!s} {m.model_dump()} {m.model_dump_json()} {dict(m)}" for m in models]
    return "\n".join([*shown, "%s" % (settings.gemini.api_key,), f"{settings.webhooks.secrets}"])  # noqa: UP031


def disguises(text: str) -> set[str]:
    return {
        text,
        base64.b64encode(text.encode()).decode(),
        quote(text, safe=""),
        json.dumps(text)[1:-1],
        text[::-1],
    }


def test_secrets_are_never_printed(
    load_text: Any, secrets: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    given = {
        **secrets,
        "DATABASE_URL": "postgresql+psycopg://u:canary-db@h/d",
        "ORCHESTRATOR_API_TOKEN": "canary-token-of-ours",
    }
    settings = load_text(SLACK, **given)
    logging.getLogger("settings").warning("%r %s", settings, settings)
    shown = everything_printed(settings) + caplog.text
    assert "***" in shown
    for text in given.values():
        assert not [d for d in disguises(text) if d in shown]


def test_secrets_are_in_no_fault(load_text: Any) -> None:
    wrong = {
        "GEMINI_API_KEY": "canary\nkey",
        "GEMINI_WEBHOOK_SECRETS": "canary-hook whsec_canary!",
        "SLACK_BOT_TOKEN": "canary täg",
        "SLACK_SIGNING_SECRET": "canary\x01",
        "DATABASE_URL": "mysql://u:canary@h/d",
        "ORCHESTRATOR_API_TOKEN": "canary",
    }
    with pytest.raises(ConfigError) as caught:
        load_text("server: {port: canary}\napprovals: {approvers: [xoxb-canary]}\n", **wrong)
    said = str(caught.value)
    assert "canary" not in said + repr(caught.value)
    assert caught.value.__context__ is None, "a traceback would show the library's own error"
    for name in wrong:
        assert f"environment {name}: " in said


def test_a_secret_behaves() -> None:
    secret = Secret("canary")
    assert (str(secret), repr(secret), f"{secret:}", f"{[secret]}") == ("***", "'***'", "***", "['***']")
    assert secret == Secret("canary")
    assert secret != Secret("other")
    assert secret != "canary"
    assert len({secret, Secret("canary")}) == 1
    assert copy.deepcopy(secret) is secret
    assert copy.copy(secret) is secret
    assert not Secret()
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)
    assert not hasattr(secret, "__dict__")
