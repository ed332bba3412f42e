"""Every key of the model: wrong type, unknown, out of range, twice, missing: it does not start."""

import copy
import operator
import re
from typing import Any

import annotated_types
import pytest
import yaml
from pydantic import BaseModel, ValidationError

from orchestrator.errors import ConfigError
from orchestrator.settings import (
    ApiToken,
    ApprovalStage,
    ForbiddenCalls,
    PolicyOverride,
    RunLimits,
    Settings,
    ToolOverride,
    Workflow,
)
from orchestrator.settings.fields import Path, as_section, dotted, kinds
from orchestrator.settings.secrets import Secret

ITEMS: list[tuple[Path, type[BaseModel]]] = [
    (("workflows", "refund"), Workflow),
    (("workflows", "refund", "limits"), RunLimits),
    (("tools", "overrides", "refund_order"), ToolOverride),
    (("tools", "overrides", "wire_money", "stages", 0), ApprovalStage),
    (("workflows", "refund", "overrides", "refund_order"), PolicyOverride),
    (("approvals", "forbidden", 0), ForbiddenCalls),
    (("api", "tokens", 0), ApiToken),
]
REQUIRED = {
    ("api", "tokens", 0): ("name", "sha256", "scopes"),
    ("tools", "overrides", "wire_money", "stages", 0): ("name", "approvers"),
    ("approvals", "forbidden", 0): ("tool", "reason"),
}
HOLDERS: list[tuple[Path, type[BaseModel]]] = [
    ((), Settings),
    *(((n,), s) for n, f in Settings.model_fields.items() if (s := as_section(f.annotation)) is not None),
    *ITEMS,
]
FIELDS = [(above, name, field) for above, model in HOLDERS for name, field in model.model_fields.items()]
WRITABLE = [(a, n, f) for a, n, f in FIELDS if Secret not in kinds(f.annotation)]
IDS = [dotted((*a, n)) for a, n, _ in WRITABLE]
NUMBERS = [
    pytest.param(a, n, bound, id=f"{dotted((*a, n))}-{type(bound).__name__}")
    for a, n, f in WRITABLE
    for bound in f.metadata
    if isinstance(bound, annotated_types.Ge | annotated_types.Gt | annotated_types.Le | annotated_types.Lt)
]

TOKEN = {"name": "a", "sha256": "0" * 64, "scopes": ["read"]}


def place(tree: dict[str, Any], above: Path) -> Any:
    here: Any = tree
    for part in above:
        here = here.setdefault(part, {}) if isinstance(here, dict) else here[part]
    return here


def line_of(text: str, key: str, value: str) -> int:
    return next(
        i
        for i, line in enumerate(text.splitlines(), 1)
        if re.search(rf"\b{key}'?: {re.escape(value)}$", line)
    )


def test_there_is_something_to_generate_from() -> None:
    assert len(WRITABLE) > 60
    assert len(NUMBERS) > 40


@pytest.mark.parametrize(("above", "name", "field"), WRITABLE, ids=IDS)
def test_wrong_type(above: Path, name: str, field: Any, tree: Any, load_text: Any) -> None:
    types = kinds(field.annotation)
    wrong: Any = (
        "wrong"
        if {int, float, bool} & set(types)
        or (dict in types and str not in types)
        or as_section(field.annotation)
        else 5
    )
    place(tree, above)[name] = wrong
    text = yaml.safe_dump(tree, sort_keys=False)
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    where = rf"config\.yaml:{line_of(text, name, str(wrong))}: {re.escape(dotted((*above, name)))}: "
    assert re.search(where, str(caught.value)), str(caught.value)


@pytest.mark.parametrize(
    ("above", "name"), [(a, n) for a, n, f in WRITABLE if {int, float, bool} & set(kinds(f.annotation))]
)
def test_a_number_in_quotes_is_text(above: Path, name: str, tree: Any, load_tree: Any) -> None:
    place(tree, above)[name] = "7"
    with pytest.raises(ConfigError, match=re.escape(f"{dotted((*above, name))}: must be ")):
        load_tree(tree)


@pytest.mark.parametrize(("above", "model"), HOLDERS, ids=[dotted(a) or "top" for a, _ in HOLDERS])
def test_unknown_key(above: Path, model: type[BaseModel], tree: Any, load_tree: Any) -> None:
    near = next(iter(model.model_fields))
    holder = place(tree, above)
    holder[near + "z"] = 1
    holder["qqqqqq"] = 1
    with pytest.raises(ConfigError) as caught:
        load_tree(tree)
    said = str(caught.value).splitlines()
    assert any(
        line.endswith(f"{dotted((*above, near + 'z'))}: is not a setting; did you mean {near}?")
        for line in said
    )
    assert any(line.endswith(f"{dotted((*above, 'qqqqqq'))}: is not a setting") for line in said)
    assert len(said) == 2, "one line per fault"


@pytest.mark.parametrize(("above", "name", "bound"), NUMBERS)
def test_a_number_out_of_its_bounds_is_refused(
    above: Path, name: str, bound: Any, tree: Any, load_tree: Any
) -> None:
    """At the limit, one step inside, one step outside."""
    op = {"Ge": operator.ge, "Gt": operator.gt, "Le": operator.le, "Lt": operator.lt}[type(bound).__name__]
    limit = next(getattr(bound, a) for a in ("ge", "gt", "le", "lt") if hasattr(bound, a))
    verdicts = set()
    for value in (limit - 1, limit, limit + 1):
        changed = copy.deepcopy(tree)
        place(changed, above)[name] = value
        verdicts.add(op(value, limit))
        if op(value, limit):
            Settings.model_validate(changed)
        else:
            with pytest.raises(
                ConfigError, match=rf"config\.yaml:\d+: {re.escape(dotted((*above, name)))}: must be "
            ):
                load_tree(changed)
    assert verdicts == {True, False}


@pytest.mark.parametrize(("above", "name", "field"), WRITABLE, ids=IDS)
def test_twice(above: Path, name: str, field: Any, tree: Any, load_text: Any) -> None:
    indent = ""
    line = ""
    for part in above:
        line += "" if isinstance(part, int) else f"{indent}{part}:\n"
        indent += "  "
    first = f"{indent[:-2]}- " if above and isinstance(above[-1], int) else indent
    line += f"{first}{name}: 1\n{indent}{name}: 2\n"
    with pytest.raises(ConfigError) as caught:
        load_text(line)
    last = line.count("\n")
    key = dotted((*above, name))
    assert f"config.yaml:{last}: {key}: is given twice, first on line {last - 1}" in str(caught.value)


@pytest.mark.parametrize(("above", "name"), [(a, n) for a, names in REQUIRED.items() for n in names])
def test_a_required_key_that_is_missing_is_named(above: Path, name: str, tree: Any, load_tree: Any) -> None:
    del place(tree, above)[name]
    key = re.escape(dotted((*above, name)))
    with pytest.raises(ConfigError, match=rf"config\.yaml:\d+: {key}: is missing"):
        load_tree(tree)


def test_every_required_key_is_tried_above() -> None:
    required = {(a, n) for a, n, f in FIELDS if f.is_required()}
    assert required == {(above, n) for above, names in REQUIRED.items() for n in names}


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("public_url", "http://agents.example.com", "https"),
        ("public_url", "https://user:pass@agents.example.com", "no user name"),
        ("public_url", "https://agents.example.com/?a=1", "query"),
        ("public_url", "ftp://agents.example.com", "https"),
        ("public_url", "https://agents.example.com:99999", "an address"),
        ("public_url", "http://127.1", "https"),
        ("database.url", "postgresql://db/x", "postgresql+psycopg"),
        ("database.url", "postgresql+psycopg://db:port/x", "postgresql+psycopg://<user>"),
        ("database.url", "sqlite:///:memory:", "sqlite:///<file>"),
        ("database.url", "sqlite://", "sqlite:///<file>"),
        ("database.url", "sqlite:///file:runs.db?uri=true", "without ?options"),
        ("database.url", "sqlite:///runs.db?mode=memory", "without ?options"),
        ("gemini.base_url", "http://gemini.example.com", "https"),
        ("gemini.api_version", "beta", "v1beta"),
        ("gemini.lost_create", "forget", "'retry' or 'attention'"),
        ("jobs.lost_film", "forget", "'fail' or 'retry'"),
        ("webhooks.jwks_url", "file:///etc/passwd", "https"),
        ("slack.api_url", "http://slack.example.com/api/", "https"),
        ("slack.team_ids", ["C0123"], "T0123ABC"),
        ("slack.app_id", "app", "A0123ABC"),
        ("slack.channel", "#approvals", "C0123ABC"),
        ("slack.response_url_hosts", ["https://hooks.slack.com/"], "host name"),
        ("slack.response_url_hosts", ["hooks..slack.com"], "host name"),
        ("slack.response_url_hosts", ["hooks.slack.com:0"], "host name"),
        ("approvals.approvers", ["alice"], "U0123ABC"),
        ("approvals.approvers", ["U0ALICE", "U0ALICE"], "twice"),
        ("approvals.never", ["role:Finance"], "role:<name>"),
        ("approvals.roles", {"finance": ["role:legal"]}, "api:<token name>"),
        ("approvals.roles", {"Finance": ["U0ALICE"]}, "role's name"),
        ("approvals.reminders", [0.9, 0.5], "smaller ones first"),
        ("approvals.reminders", [0.5, 1.0], "between 0 and 1"),
        ("approvals.reminders", [0.2, 0.4, 0.6, 0.8], "at most 3"),
        ("approvals.edits", "all", "'no', 'same' or 'other'"),
        ("approvals.at_timeout", "wait", "'reject', 'escalate' or 'attention'"),
        ("approvals.risk", "x" * 81, "80 characters"),
        ("approvals.forbidden", [{"tool": "a b", "reason": "x"}], "pattern"),
        ("approvals.stages", [{"name": "a", "approvers": [u]} for u in ("U0A", "U0B")], "of one name"),
        ("approvals.stages", [{"name": n, "approvers": ["U0A"]} for n in "abcdef"], "at most 5"),
        ("tools.modules", ["../orders"], "module name"),
        ("tools.modules", ["orders.py"], "module name"),
        ("tools.modules", ["a", "a"], "twice"),
        ("tools.overrides", {"refund-order": {}}, "tool's name"),
        ("tools.overrides.refund_order.approval", "maybe", "'allow', 'ask' or 'deny'"),
        ("tools.overrides", {"refund_order": {"when": "args.amount > 5"}}, "approval beside it"),
        ("tools.overrides.refund_order.when", "", "empty"),
        ("tools.overrides.refund_order.approvers", [], "empty"),
        ("tools.overrides.refund_order.channel", "general", "C0123ABC"),
        ("workflows", {"Refund": {"model": "m"}}, "lower case"),
        ("workflows", {"x" * 65: {"model": "m"}}, "lower case"),
        ("workflows.refund.model", "", "empty"),
        ("workflows.refund.agent", "deep-research", "one of them"),
        ("workflows.refund.agent_config", {"type": "x"}, "agents"),
        ("workflows.refund.environment", "", "must not be empty"),
        ("workflows.refund.tools", ["a b"], "tool's name"),
        ("workflows.refund.tools", ["a", "a"], "twice"),
        ("workflows.refund.builtin_tools", [{"type": "mcp_server"}], "mcp_server"),
        ("workflows.refund.builtin_tools", [{"type": "function", "name": "x"}], "under tools"),
        ("workflows.refund.builtin_tools", [{"name": "x"}], "type"),
        ("workflows.refund.prompt", "Hello {name}", "input schema"),
        ("api.tokens", [{"name": "env", "sha256": "0" * 64, "scopes": ["read"]}], "ORCHESTRATOR_API_TOKEN"),
        ("api.tokens", [{"name": n, "sha256": "0" * 64, "scopes": ["read"]} for n in "ab"], "one hash"),
        ("api.tokens", [{"name": "a", "sha256": c * 64, "scopes": ["read"]} for c in "01"], "one name"),
        ("api.tokens", [{"name": "a", "sha256": "plain-token", "scopes": ["read"]}], "64 hex digits"),
        ("api.tokens", [{"name": "a", "sha256": "0" * 64, "scopes": ["admin"]}], "'trigger'"),
        ("api.tokens", [{"name": "a", "sha256": "0" * 64, "scopes": []}], "empty"),
        ("api.tokens", [{"name": "a", "sha256": "0" * 64, "scopes": ["read"], "user": "bob"}], "U0123ABC"),
        ("api.tokens", [{**TOKEN, "expires": "soon"}], "2027-01-31"),
        ("api.tokens", [{**TOKEN, "expires": "2027-01-31T00:00:00"}], "offset"),
        ("api.tokens", [{**TOKEN, "expires": "2027-01-31"}], "offset"),
        ("server.host", "wröng", "IP address or a host name"),
        ("server.host", "1..2", "IP address or a host name"),
        ("server.host", "x" * 64, "IP address or a host name"),
        ("server.host", "127.0.0.1\n", "IP address or a host name"),
        ("workflows.refund.model", " ", "without blanks"),
        ("workflows.refund.model", "gemini\n", "without blanks"),
        ("approvals.timeout_seconds", 1e308, "at most"),
        ("log.level", "verbose", "'debug'"),
        ("log.format", "xml", "'console' or 'json'"),
    ],
)  # fmt: skip
def test_refused_value(key: str, value: Any, says: str, tree: Any, load_tree: Any) -> None:
    path = key.split(".")
    place(tree, tuple(path[:-1]))[path[-1]] = value
    with pytest.raises(ConfigError) as caught:
        load_tree(tree)
    line = next((x for x in str(caught.value).splitlines() if says in x), "")
    root = key.rpartition(".")[0] if says in ("one of them", "agents") else key
    assert re.match(rf".*config\.yaml:\d+: {re.escape(root)}", line), str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("public_url", "http://localhost:8080"),
        ("public_url", "http://[::1]:8080/"),
        ("public_url", "https://agents.example.com/base/"),
        ("public_url", None),
        ("gemini.base_url", "http://emulator:9000"),
        ("gemini.base_url", "http://127.0.0.1:9000/gemini/"),
        ("slack.api_url", "http://127.0.0.1:9001/api"),
        ("slack.response_url_hosts", ["127.0.0.1:9001"]),
        ("slack.app_id", "A0LOCAL"),
        ("slack.team_ids", ["T0LOCAL", "E0GRID"]),
        ("database.url", "postgresql+psycopg://db/orchestrator"),
        ("server.port", 0),
        ("server.host", "::"),
        ("server.host", "service.internal"),
    ],
)
def test_taken_value(key: str, value: Any, tree: Any, load_tree: Any) -> None:
    path = key.split(".")
    place(tree, tuple(path[:-1]))[path[-1]] = value
    settings: Any = load_tree(tree)
    for part in path:
        settings = getattr(settings, part)
    if isinstance(value, str) and isinstance(settings, str):
        assert settings.rstrip("/") == value.rstrip("/")


def test_addresses_are_spelled_one_way(tree: Any, load_tree: Any) -> None:
    tree["public_url"] = "https://a.example.com/base/"
    tree["gemini"] = {"base_url": "http://127.0.0.1:9000/"}
    tree["slack"]["api_url"] = "http://127.0.0.1:9001/api"
    settings = load_tree(tree)
    assert settings.public_url == "https://a.example.com/base"
    assert settings.gemini.base_url == "http://127.0.0.1:9000"
    assert settings.slack.api_url == "http://127.0.0.1:9001/api/"


@pytest.mark.parametrize("days", [1, 1.5])
def test_a_request_must_lapse_before_gemini_forgets(days: float, tree: Any, load_tree: Any) -> None:
    seconds = days * 86_400
    tree["gemini"] = {"retention_days": days}
    tree["approvals"]["timeout_seconds"] = seconds - 1
    load_tree(tree)
    for late in (seconds, seconds + 1):
        tree["approvals"]["timeout_seconds"] = late
        with pytest.raises(
            ConfigError, match=r"config.yaml:\d+: approvals.timeout_seconds: .*gemini.retention_days"
        ):
            load_tree(tree)
    tree["approvals"]["timeout_seconds"] = 60
    tree["tools"]["overrides"]["refund_order"]["timeout_seconds"] = seconds
    with pytest.raises(
        ConfigError, match=r"tools.overrides.refund_order.timeout_seconds: .*gemini.retention_days"
    ):
        load_tree(tree)


def test_an_api_approver_must_be_a_token_that_may_decide(tree: Any, load_tree: Any) -> None:
    tree["approvals"]["approvers"] = ["U0ALICE", "api:cl"]
    with pytest.raises(
        ConfigError, match=r"approvals.approvers\[1\]: names no token .* did you mean api:ci\?"
    ):
        load_tree(tree)
    tree["approvals"]["approvers"] = ["api:ci", "api:env"]
    load_tree(tree)
    tree["api"]["tokens"][0]["scopes"] = ["read"]
    with pytest.raises(ConfigError, match=r"approvals.approvers\[0\]"):
        load_tree(tree)


def test_slack_needs_a_channel_while_it_is_on(tree: Any, load_tree: Any) -> None:
    tree["slack"] = {}
    with pytest.raises(ConfigError, match=r"slack\.channel: is missing"):
        load_tree(tree)
    tree["slack"] = {"enabled": False}
    assert load_tree(tree).default_terms().channel == ""


def test_all_faults_are_told_at_once(tree: Any, load_tree: Any) -> None:
    tree["server"] = {"port": "x", "hots": "y"}
    tree["log"] = {"level": "loud"}
    with pytest.raises(ConfigError) as caught:
        load_tree(tree, ORCHESTRATOR_SERVRE__PORT="1", ORCHESTRATOR_SERVER__HOST="")
    assert len(str(caught.value).splitlines()) == 5


def test_one_kind_of_fault_hides_no_other(tree: Any, load_tree: Any) -> None:
    """A key that does not exist, two settings that contradict each other, and a secret that is missing."""
    tree["server"] = {"hots": "y"}
    tree["slack"] = {"enabled": True, "channel": ""}
    with pytest.raises(ConfigError) as caught:
        load_tree(tree, GEMINI_API_KEY="")
    told = str(caught.value)
    for fault in ("server.hots: is not a setting", "slack.channel: is missing", "GEMINI_API_KEY"):
        assert fault in told


@pytest.mark.parametrize("slack", [5, {"enabled": "perhaps"}])
def test_nothing_is_asked_for_because_of_a_setting_that_is_wrong_itself(
    tree: Any, load_tree: Any, slack: Any
) -> None:
    tree["slack"] = slack
    with pytest.raises(ConfigError) as caught:
        load_tree(tree, GEMINI_API_KEY="", SLACK_BOT_TOKEN="")
    told = str(caught.value).splitlines()
    assert len(told) == 2, told
    assert [("slack" in line, "GEMINI_API_KEY" in line) for line in told] == [(True, False), (False, True)]


def test_settings_cannot_be_changed(tree: Any, load_tree: Any) -> None:
    settings = load_tree(tree)
    with pytest.raises(ValidationError, match="frozen"):
        settings.server.port = 1
    with pytest.raises(ValidationError, match="frozen"):
        settings.server = settings.server


def test_a_follower_that_is_misspelt_is_told_with_the_workflow_that_was_meant(load_text: Any) -> None:
    text = (
        "slack: {enabled: false}\nworkflows:\n  audit: {model: m}\n  pay: {model: m, on: {failed: [audti]}}\n"
    )
    with pytest.raises(
        ConfigError, match=r"on\.failed\[0\]: there is no workflow 'audti'; did you mean audit\?"
    ):
        load_text(text)
