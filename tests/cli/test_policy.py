"""`orchestrator policy` and what `orchestrator tools` tells of the policy, as a person types it."""

import json
from pathlib import Path

import pytest
from cli_kit import Shell

TOOL = '''
from decimal import Decimal

from orchestrator import tool


@tool(when="args.amount > 50.0", approvers=["role:finance"])
def refund(amount: Decimal) -> None:
    """Give money back.

    Args:
        amount: How much.
    """


@tool(approval="allow")
def delete_order(order: str) -> None:
    """Delete it.

    Args:
        order: Which one.
    """
'''
CONFIG = """
slack: {enabled: false}
approvals:
  roles: {finance: [U0ALICE, U0BOB]}
  quorum: 2
  forbidden:
    - {tool: "delete_*", reason: Orders are kept.}
    - {tool: "drop_*", reason: Nothing is dropped.}
    - {tool: refund, when: args.amount > 10000.0, reason: Made by hand.}
tools: {folder: tools, modules: [shop]}
workflows:
  shop: {model: m, tools: [refund, delete_order]}
  night:
    model: m
    tools: [refund]
    overrides:
      refund: {stages: [{name: risk, approvers: [U0CAROL]}, {name: legal, approvers: [U0DAVE]}]}
"""
GOOD = """
cases:
  - {name: small, workflow: shop, tool: refund, arguments: {amount: 1}, expect: allow}
  - name: large
    workflow: shop
    tool: refund
    arguments: {amount: 60}
    expect: ask
    approvers: [role:finance]
    quorum: 2
  - {name: huge, workflow: shop, tool: refund, arguments: {amount: 99999}, expect: deny, reason: by hand}
  - name: at night
    workflow: night
    tool: refund
    arguments: {amount: 60}
    expect: ask
    approvers: [U0DAVE, U0CAROL]
    quorum: 2
  - {name: kept, workflow: shop, tool: delete_order, expect: deny, reason: Orders are kept}
  - {name: no such, workflow: night, tool: delete_order, expect: unknown}
  - {name: no number, workflow: night, tool: refund, arguments: {amount: much}, expect: invalid}
"""
WRONG = """
cases:
  - {name: a, workflow: shop, tool: refund, arguments: {amount: 60}, expect: allow}
  - {name: b, workflow: night, tool: refund, arguments: {amount: 60}, expect: ask, approvers: [U0BOB]}
  - {name: c, workflow: night, tool: refund, arguments: {amount: 1}, expect: allow, quorum: 1, reason: x}
  - {name: d, workflow: shop, tool: refund, arguments: {amount: 1}, expect: allow}
"""
BROKEN = """
cases:
  - {name: a, workflow: shop, tool: refund, expects: allow}
  - {name: b, workflow: shop, tool: refund, expect: perhaps}
  - {name: c, workflow: shop, tool: refund, expect: ask, approvers: [alice], approvers: [alice]}
"""
ASTRAY = """
cases:
  - {name: a, workflow: shops, tool: refund, expect: ask}
  - name: a
    workflow: shop
    tool: refund
    expect: ask
    approvers: [role:finanz]
"""


@pytest.fixture(autouse=True)
def _place(port: int, tmp_path: Path) -> None:
    (tmp_path / "tools" / "shop.py").write_text(TOOL, encoding="utf-8")
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")


def cases(text: str) -> None:
    Path("cases.yaml").write_text(text, encoding="utf-8")


def test_every_outcome_is_explained(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    cases(GOOD)
    code, out, err = shell("policy test cases.yaml")
    assert (code, err) == (0, "")
    assert "7 of 7 as expected" in out
    for words in (
        "@tool in shop: asks a person when `args.amount > 50.0`, otherwise runs; `when` is false",
        "`when` is true; asks 2 of U0ALICE, U0BOB (from @tool in shop)",
        "approvals.forbidden 'refund': forbidden when `args.amount > 10000.0`: Made by hand.; `when` is true",
        "asks U0CAROL (risk), then U0DAVE (legal) (from workflows.night.overrides.refund)",
        "approvals.forbidden 'delete_*'",
        "There is no tool 'delete_order'",
        "amount",
    ):
        assert words in out


def test_a_difference_is_exit_code_1(shell: Shell) -> None:
    cases(WRONG)
    code, out, _ = shell("policy test cases.yaml --json")
    told = {line["name"]: line for line in map(json.loads, out.splitlines())}
    assert code == 1
    assert [told[name]["ok"] for name in "abcd"] == [False, False, False, True]
    assert told["a"]["wrong"] == ["expected allow, got ask"]
    assert told["b"]["wrong"] == ["expected approvers U0BOB, got U0CAROL, U0DAVE"]
    assert told["c"]["wrong"] == [
        "expected 1 to say yes in all, got 0",
        "expected a reason with 'x', got ''",
    ]
    code, out, _ = shell("policy test cases.yaml")
    assert (code, "1 of 4 as expected" in out) == (1, True)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            BROKEN,
            [
                "cases.yaml:5: cases[2].approvers: is given twice, first on line 5",
                "cases.yaml:3: cases[0].expect: is missing",
                "cases.yaml:3: cases[0].expects: is no key of a case; did you mean expect?",
                "cases.yaml:4: cases[1].expect: must be 'allow', 'ask', 'deny', 'unknown' or 'invalid'",
            ],
        ),
        (
            ASTRAY,
            [
                "cases.yaml:3: cases[0].workflow: is no workflow; did you mean shop?",
                "cases.yaml:4: cases[1].name: is given twice",
                "cases.yaml:8: cases[1].approvers: there is no role 'finanz'; known are finance",
            ],
        ),
        ("cases: []", ["cases.yaml:1: cases: must not be empty"]),
        ("- name: a", ["cases.yaml:1: the top level must be a mapping with the key cases"]),
        ("cases: &a []", ["cases.yaml:1: anchors (&) and aliases (*) are not allowed"]),
    ],
    ids=["broken", "astray", "empty", "list", "anchor"],
)
def test_a_broken_file_is_exit_code_2_and_every_fault_has_a_place(
    text: str, lines: list[str], shell: Shell
) -> None:
    cases(text)
    code, out, err = shell("policy test cases.yaml")
    assert (code, out) == (2, "")
    for line in lines:
        assert line in err


def test_one_call_is_explained(shell: Shell) -> None:
    amount = """--arguments '{"amount": 20000}'"""
    assert shell(f"policy explain refund --workflow shop {amount}") == (
        0,
        "deny: approvals.forbidden 'refund': forbidden when `args.amount > 10000.0`: Made by hand.;"
        " `when` is true\nthe model is told: denied by policy: Made by hand.\n",
        "",
    )
    code, out, _ = shell("""policy explain refund --workflow night --json --arguments '{"amount": 60}'""")
    told = json.loads(out)
    assert (code, told["ruling"], told["rule_from"]) == (0, "ask", "@tool in shop")
    assert [step["name"] for step in told["steps"]] == ["risk", "legal"]
    for arguments, words in (("[]", "JSON object"), ("{", "--arguments"), ('{"a":1,"a":1}', "--arguments")):
        code, _, err = shell(f"policy explain refund --workflow shop --arguments '{arguments}'")
        assert (code, words in err) == (2, True)
    assert "did you mean shop?" in shell("policy explain refund --workflow shp")[2]


def test_tools_tell_what_is_forbidden(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    code, out, _ = shell("tools list")
    assert (code, "forbidden: Orders are kept.; runs without asking" in out) == (0, True)
    assert "2 of U0ALICE, U0BOB" in out
    code, out, _ = shell("tools list --workflow night")
    assert (code, "U0CAROL (risk), then U0DAVE (legal)" in out, "delete_order" in out) == (0, True, False)
    code, _, said = shell("tools list --workflow nihgt")
    assert (code, "there is no workflow 'nihgt'; did you mean night?" in said) == (2, True)
    code, out, _ = shell("tools check")
    assert code == 0
    assert "delete_order: forbidden: Orders are kept." in out
    assert "approvals.forbidden: no tool is called drop_* so far" in out
