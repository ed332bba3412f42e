"""Rules, expressions, overrides, and what `find` says."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from orchestrator import tool
from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import AtTimeout, Edits, Stage, Terms
from orchestrator.domain.exchange import FunctionCall
from orchestrator.domain.model import Recipe
from orchestrator.errors import ConfigError
from orchestrator.toolkit import Rule, Toolkit
from orchestrator.toolkit.declare import record_of
from orchestrator.toolkit.policy import Forbidden
from orchestrator.toolkit.predicate import Predicate
from orchestrator.toolkit.report import list_tools, schema_of


def pay(amount: Decimal, to: str = "bob", days: list[int] = []) -> None:  # noqa: B006 (defaults are copied)
    """Pay somebody."""


def paying(**settings: Any) -> Any:
    return tool(**settings)(pay)


BIG = "args.amount > 50.0"
BROKEN = "args.to > 50.0"  # compiles, and fails on text
NUMBER = "args.days[0]"  # compiles, and is no boolean
ENDLESS = "args.days.all(a, args.days.all(b, a + b >= 0))"


@pytest.mark.parametrize(
    ("approval", "when", "amount", "ruling"),
    [
        ("allow", None, 60, Ruling.ALLOW),
        ("allow", BIG, 60, Ruling.ALLOW),
        ("allow", BIG, 50, Ruling.ASK),
        ("allow", BROKEN, 60, Ruling.ASK),
        ("allow", NUMBER, 60, Ruling.ASK),
        ("allow", ENDLESS, 60, Ruling.ASK),
        ("ask", None, 60, Ruling.ASK),
        ("ask", BIG, "50.01", Ruling.ASK),
        ("ask", BIG, "50.00", Ruling.ALLOW),
        ("ask", BROKEN, 1, Ruling.ASK),
        ("ask", NUMBER, 1, Ruling.ASK),
        ("ask", f"!({ENDLESS})", 1, Ruling.ASK),
        ("deny", None, 1, Ruling.DENY),
        ("deny", BIG, 60, Ruling.DENY),
        ("deny", BIG, 1, Ruling.ASK),
        ("deny", BROKEN, 1, Ruling.DENY),
        ("deny", NUMBER, 1, Ruling.DENY),
        ("deny", f"!({ENDLESS})", 1, Ruling.DENY),
    ],
    ids=str,
)
def test_a_rule_fails_on_the_stricter_side(
    bench: Any, approval: Any, when: Any, amount: Any, ruling: Ruling
) -> None:
    finding = bench(paying(approval=approval, when=when)).find({"amount": amount, "days": list(range(200))})
    assert finding.ruling is ruling
    assert finding.reason == ("denied by policy" if ruling is Ruling.DENY else "")
    assert (finding.terms is not None) is (ruling is Ruling.ASK)
    assert finding.arguments["amount"] == str(amount)


def test_not_saying_anything_means_ask(bench: Any) -> None:
    assert bench(tool(pay)).find({"amount": 1}).ruling is Ruling.ASK


@pytest.mark.parametrize(("workflow", "ruling"), [("night", Ruling.ASK), ("day", Ruling.ALLOW)])
def test_an_expression_sees_the_workflow(bench: Any, workflow: str, ruling: Ruling) -> None:
    probe = bench(paying(when='workflow == "night"'))
    assert probe.find({"amount": 1}, workflow=workflow).ruling is ruling


@pytest.mark.parametrize(
    ("when", "word"),
    [
        ("args.amount >", "no expression"),
        ("amount > 1", "no expression"),
        ("nosuch(args.amount)", "no expression"),
        ("1 + 2", "neither true nor false"),
        ("args.amuont > 1.0", "args.amuont"),
        ("args.to.matches(args.to)", "a pattern from elsewhere"),
        ('args.to.matches("a" + args.to)', "a pattern from elsewhere"),
        ('matches(args.to, "a")', "a pattern from elsewhere"),
        ("(" * 500 + "true" + ")" * 500, "no expression"),
        ("  ", "should be an expression"),
    ],
)
def test_a_broken_expression_stops_the_start_and_names_the_tool(bench: Any, when: str, word: str) -> None:
    with pytest.raises(ConfigError, match="pay") as caught:
        bench(paying(when=when))
    assert word in str(caught.value)


@pytest.mark.parametrize(
    "when", ['args.to == "args.nobody"', "args.to.size() > 1", "args['to'] == 'x'", "args.size() > 0"]
)
def test_only_parameters_are_taken_for_parameters(when: str) -> None:
    assert Predicate(when, ["to"]).holds({"to": "x"}, "w") is not None


@pytest.mark.parametrize("approval", ["allow", "ask", "deny"])
@pytest.mark.parametrize(
    "when", ["args.days.exists(a, a in args.days)", "args.days.filter(a, a > 0).size() > 0", BIG]
)
def test_what_would_go_through_too_much_counts_as_failed(bench: Any, approval: Any, when: str) -> None:
    """It would hold all that goes on in this process for seconds, and cannot be stopped."""
    probe = bench(paying(approval=approval, when=when))
    within, beyond = ({"amount": 60, "days": [7] * n} for n in (1000, 8000))
    sure = {"allow": Ruling.ALLOW, "ask": Ruling.ASK, "deny": Ruling.DENY}[approval]
    unsure = {"allow": Ruling.ASK, "ask": Ruling.ASK, "deny": Ruling.DENY}[approval]
    assert probe.find(within).ruling is sure
    assert probe.find(beyond).ruling is (sure if when == BIG else unsure)


def test_the_tools_own_terms_go_before_the_defaults(bench: Any) -> None:
    defaults = Terms(("U1",), "C1", timedelta(hours=3), timedelta(hours=2))
    own = paying(approvers=["U7"], expires_after=timedelta(minutes=5))
    expected = Terms(("U7",), "C1", timedelta(minutes=5), timedelta(hours=2))
    assert bench(own, defaults=defaults).find({"amount": 1}).terms == expected


@pytest.mark.parametrize(
    ("settings", "fine"),
    [
        ({"approval": "ask"}, False),
        ({"approval": "allow", "when": BIG}, False),
        ({"approval": "deny", "when": BIG}, False),
        ({"approval": "allow"}, True),
        ({"approval": "deny"}, True),
        ({"approval": "ask", "approvers": ("U1",)}, True),
    ],
    ids=str,
)
def test_a_tool_that_may_ask_needs_somebody_to_ask(settings: Any, fine: bool) -> None:
    if fine:
        Toolkit([paying(**settings)])
        return
    with pytest.raises(ConfigError, match=r"tool pay: approvers: .*nobody"):
        Toolkit([paying(**settings)])


def test_an_override_says_some_keys_and_keeps_the_rest(bench: Any) -> None:
    declared = paying(approval="ask", when=BIG, approvers=("U7",), channel="C7")
    probe = bench(declared, overrides={"pay": {"channel": "C8", "start_within": None}})
    finding = probe.find({"amount": 60})
    assert (finding.terms.channel, finding.terms.approvers) == ("C8", ("U7",))
    assert probe.find({"amount": 1}).ruling is Ruling.ALLOW


def test_an_overridden_approval_leaves_the_old_expression_behind(bench: Any) -> None:
    declared = paying(approval="ask", when=BIG)
    assert bench(declared, overrides={"pay": {"approval": "ask"}}).find({"amount": 1}).ruling is Ruling.ASK
    replaced = bench(declared, overrides={"pay": Rule("deny", when="args.amount > 9.0")})
    assert replaced.find({"amount": 10}).ruling is Ruling.DENY


def test_a_workflow_may_have_its_own_rule(bench: Any) -> None:
    probe = bench(
        paying(approval="deny"),
        overrides={"pay": {"approval": "ask", "approvers": ["U5"]}},
        workflows={"trusted": {"pay": {"approval": "allow"}}, "slow": {"pay": {"channel": "C9"}}},
    )
    assert probe.find({"amount": 1}, workflow="shop").ruling is Ruling.ASK
    assert probe.find({"amount": 1}, workflow="trusted").ruling is Ruling.ALLOW
    slow = probe.find({"amount": 1}, workflow="slow")
    assert (slow.terms.channel, slow.terms.approvers) == ("C9", ("U5",))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"overrides": {"play": {}}}, ["tools.overrides: tool 'play'", "not registered", "pay"]),
        ({"overrides": {"pay": {"aproval": "allow"}}}, ["tool pay", "aproval", "not a setting"]),
        ({"overrides": {"pay": {"approval": "required"}}}, ["tool pay", "'required'", "allow, ask, deny"]),
        ({"overrides": {"pay": {"when": BIG}}}, ["tool pay", "when", "approval"]),
        ({"overrides": {"pay": {"approvers": "U1"}}}, ["tool pay", "approvers", "list"]),
        ({"overrides": {"pay": {"approvers": ["U1", ""]}}}, ["tool pay", "approvers"]),
        ({"overrides": {"pay": {"expires_after": 5}}}, ["tool pay", "expires_after"]),
        ({"overrides": {"pay": {"start_within": timedelta(0)}}}, ["tool pay", "start_within"]),
        ({"workflows": {"w": {"play": {}}}}, ["workflows.w.overrides: tool 'play'"]),
        (
            {"workflows": {"w": {"pay": {"approval": "ask", "when": "args.x"}}}},
            ["pay", "workflow 'w'", "args.x"],
        ),
    ],
    ids=str,
)
def test_an_override_that_cannot_be_meant_stops_the_start(bench: Any, options: Any, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        bench(tool(pay), **options)
    for word in words:
        assert word in str(caught.value)


def test_the_policys_version_follows_what_it_says(bench: Any) -> None:
    def version(defaults: Terms = Terms(("U1",)), **settings: Any) -> str:  # noqa: B008 (frozen)
        return str(bench(paying(**settings), defaults=defaults).find({"amount": 1}).policy_version)

    base = version()
    others = [
        version(approval="allow"),
        version(when=BIG),
        version(approvers=("U2",)),
        version(channel="C2"),
        version(expires_after=timedelta(hours=1)),
        version(start_within=timedelta(hours=3)),
        version(defaults=Terms(("U1", "U2"))),
    ]
    assert base == version()
    assert len({base, *others}) == len(others) + 1


def test_a_tool_outside_the_recipe_or_the_registry_is_unknown() -> None:
    def other() -> None:
        """Do it."""

    toolkit = Toolkit([paying(approval="allow"), tool(approval="allow")(other)])
    recipe = Recipe("w", tools=("pay", "gone"))
    for name in ("other", "gone", "x" * 9999, "\ud800\0", ""):
        finding = toolkit.find(recipe, FunctionCall("c", name, {"amount": 1}))
        assert finding.ruling is Ruling.UNKNOWN
        assert finding.reason.endswith("Available: pay.")
        assert len(finding.reason.encode()) < 400
    assert "none" in toolkit.find(Recipe("w"), FunctionCall("c", "pay", {})).reason


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"name": "1st"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"name": "käse"}, "name"),
        ({"approval": "required"}, "approval"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"retry": "transient"}, "idempotent=True"),
        ({"retry": "always", "idempotent": True}, "retry"),
        ({"retry": "transient", "idempotent": True, "attempts": 0}, "attempts"),
        ({"approvers": "U1"}, "approvers"),
        ({"expires_after": timedelta(0)}, "expires_after"),
        ({"start_within": 60}, r"start_within: should be a datetime\.timedelta above zero"),
        ({"aproval": "ask"}, "aproval: is not a setting of a tool; did you mean approval"),
        ({"quorom": 2}, "quorom: is not a setting of a tool; did you mean quorum"),
        ({"zzz": 2}, "zzz: is not a setting of a tool; those are name, approval, .*together"),
    ],
    ids=str,
)
def test_settings_are_checked_where_they_are_declared(settings: Any, word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        paying(**settings)
    assert f"{pay.__module__}.pay" in str(caught.value)


def test_a_declared_function_is_still_that_function() -> None:
    def double(x: int) -> int:
        """Double it."""
        return 2 * x

    declared = tool(name="a.b-c_1")(double)
    record = record_of(declared)
    assert declared is double
    assert declared(21) == 42
    assert record is not None
    assert record.name == "a.b-c_1"
    assert Toolkit([record], defaults=Terms(("U1",))).describe("a.b-c_1") == "Double it."


def test_names_are_unique_and_only_tools_are_tools() -> None:
    def second() -> None:
        """Do it."""

    with pytest.raises(ConfigError, match="'pay' is declared twice"):
        Toolkit([paying(approval="allow"), tool(name="pay", approval="allow")(second)])
    with pytest.raises(ConfigError, match="no tool"):
        Toolkit([len])


def test_what_is_not_registered_has_no_declaration() -> None:
    toolkit = Toolkit([paying(approval="allow")])
    assert [d["name"] for d in toolkit.declarations(["pay"])] == ["pay"]
    assert toolkit.describe("gone") == ""
    assert [d["name"] for d in toolkit.declarations(["gone", "pay"])] == ["pay"]
    with pytest.raises(ConfigError, match="gone"):
        schema_of(toolkit, "gone")


def test_what_is_said_about_people_reaches_the_terms(bench: Any) -> None:
    declared = paying(
        approvers=["role:finance", "U7"],
        quorum=2,
        never=["U8"],
        four_eyes=True,
        edits="other",
        at_timeout="escalate",
        escalate_to=["role:boss"],
        risk="Money leaves.",
        discreet=True,
        reason_required=True,
    )
    roles = {"finance": ("U1", "U2"), "boss": ("U9",)}
    terms = bench(declared, roles=roles, defaults=Terms(("U1",), never=("U6",))).find({"amount": 1}).terms
    assert terms == Terms(
        ("U1", "U2", "U7"),
        quorum=2,
        never=("U6", "U8"),
        four_eyes=True,
        edits=Edits.OTHER,
        at_timeout=AtTimeout.ESCALATE,
        escalate_to=("U9",),
        risk="Money leaves.",
        discreet=True,
        reason_required=True,
    )


def test_what_is_not_said_is_the_default(bench: Any) -> None:
    defaults = Terms(("U1", "U2", "U3"), quorum=2, four_eyes=True, risk="high", reminders=(0.5,))
    assert bench(tool(pay), defaults=defaults).find({"amount": 1}).terms == defaults
    milder = bench(paying(four_eyes=False, quorum=1), defaults=defaults).find({"amount": 1}).terms
    assert (milder.four_eyes, milder.quorum, milder.risk) == (False, 1, "high")


def test_stages_stand_instead_of_approvers(bench: Any) -> None:
    stages = [{"name": "risk", "approvers": ["U1", "U2"], "quorum": 2}, Stage("legal", ("U3",))]
    found = bench(paying(stages=stages), defaults=Terms(("U9",), quorum=1)).find({"amount": 1}).terms
    assert found.steps == (Stage("risk", ("U1", "U2"), 2), Stage("legal", ("U3",)))
    assert (found.approvers, found.quorum) == ((), 1)
    plain = bench(paying(stages=stages), overrides={"pay": {"approvers": ["U4"]}}).find({"amount": 1}).terms
    assert (plain.stages, plain.approvers) == ((), ("U4",))
    staged = bench(
        paying(approvers=["U5", "U6"], quorum=2),
        overrides={"pay": {"stages": (Stage("legal", ("U3",)),), "never": ("U8",)}},
    )
    terms = staged.find({"amount": 1}).terms
    assert (terms.stages, terms.approvers, terms.never) == ((Stage("legal", ("U3",)),), (), ("U8",))


def test_a_milder_end_leaves_the_escalation_behind(bench: Any) -> None:
    defaults = Terms(("U1",), at_timeout=AtTimeout.ESCALATE, escalate_to=("U9",))
    found = bench(paying(), defaults=defaults, overrides={"pay": {"at_timeout": "reject"}})
    assert found.find({"amount": 1}).terms == Terms(("U1",))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"quorum": 3, "approvers": ["U1", "U2"]}, "quorum: needs 3 different people"),
        ({"never": ["U1"]}, "never: leaves nobody"),
        ({"at_timeout": "escalate"}, "escalate_to: is missing"),
        ({"escalate_to": ["U2"]}, "escalate_to: is of no use"),
        ({"stages": [Stage("a", ("U1",)), Stage("b", ("U1",))]}, "stages: need separate people"),
        ({"approvers": ["role:legal"]}, "approvers: there is no role 'legal'; known are finance"),
    ],
    ids=str,
)
def test_terms_that_cannot_be_met_stop_the_start(bench: Any, settings: Any, words: str) -> None:
    with pytest.raises(ConfigError, match="tool pay: ") as caught:
        bench(paying(**settings), roles={"finance": ("U5",)})
    assert words in str(caught.value)
    bench(paying(approval="allow", **{k: v for k, v in settings.items() if k != "approvers"}))


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"quorum": 0}, "quorum"),
        ({"quorum": True}, "quorum"),
        ({"four_eyes": 1}, "four_eyes"),
        ({"edits": "all"}, "'all' is not one of no, same, other"),
        ({"at_timeout": "wait"}, "at_timeout"),
        ({"never": "U1"}, "never: should be a list"),
        ({"reminders": (0.9, 0.5)}, "reminders"),
        ({"risk": "two\nlines"}, "risk"),
        ({"stages": [{"name": "a"}]}, "stages"),
        ({"stages": [Stage("a", ("U1",))] * 2}, "two stages of one name"),
        ({"stages": [Stage("a", ("U1",))], "quorum": 2}, "leave out those beside them"),
        ({"stagse": []}, "stagse: is not a setting"),
    ],
    ids=str,
)
def test_words_about_people_are_checked_where_they_are_declared(settings: Any, word: str) -> None:
    with pytest.raises(ConfigError, match=rf"{pay.__module__}\.pay: ") as caught:
        paying(**settings)
    assert word in str(caught.value)


@pytest.mark.parametrize(
    "changed",
    [
        {"quorum": 2},
        {"never": ["U9"]},
        {"four_eyes": True},
        {"edits": "same"},
        {"at_timeout": "attention"},
        {"reminders": [0.25]},
        {"risk": "high"},
        {"discreet": True},
        {"reason_required": True},
        {"together": True},
    ],
    ids=str,
)
def test_the_policys_version_follows_every_word_about_people(bench: Any, changed: Any) -> None:
    def version(**settings: Any) -> str:
        return str(bench(paying(approvers=("U1", "U2"), **settings)).find({"amount": 1}).policy_version)

    assert version(**changed) != version()


def test_new_words_left_at_their_defaults_keep_the_version_of_old(bench: Any) -> None:
    """Or every request that is open over an upgrade would be spoilt; the value is from before they came."""
    assert bench(paying(approvers=("U1", "U2"))).find({"amount": 1}).policy_version == "9a4a0bfc7662b5eb"


TOO_MUCH = Forbidden("pa*", "args.amount > 10000.0", "made by hand")


@pytest.mark.parametrize(
    ("forbidden", "amount", "reason"),
    [
        (TOO_MUCH, "10000.01", "denied by policy: made by hand"),
        (TOO_MUCH, "10000", None),
        (Forbidden("pay", BROKEN, "fails"), 1, "denied by policy: fails"),
        (Forbidden("p[a-b]?", NUMBER, "no boolean"), 1, "denied by policy: no boolean"),
        (Forbidden("*", None, "all"), 1, "denied by policy: all"),
        (Forbidden("PAY*", None, "another name"), 1, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("approval", ["allow", "ask"])
def test_what_is_forbidden_no_rule_allows(
    bench: Any, forbidden: Any, amount: Any, reason: str | None, approval: Any
) -> None:
    found = bench(paying(approval=approval), forbidden=[forbidden]).find({"amount": amount, "days": [1]})
    assert (found.ruling is Ruling.DENY) is (reason is not None)
    assert found.reason == (reason or "")
    assert found.terms is None or reason is None
    assert found.arguments["amount"] == str(amount)


def test_forbidden_calls_of_any_shape_are_denied(bench: Any) -> None:
    probe = bench(paying(approval="allow"), forbidden=[Forbidden("pay", None, "never")])
    assert (probe.find({}).ruling, probe.find({}).reason) == (Ruling.DENY, "denied by policy: never")
    assert bench(paying(), forbidden=[TOO_MUCH]).find({}).ruling is Ruling.INVALID


def test_a_tool_without_the_parameter_is_refused_and_a_word_nobody_has_stops_the_start(bench: Any) -> None:
    def paint(colour: str) -> None:
        """Paint it."""

    both = bench(paying(approval="allow"), tool(approval="allow")(paint), forbidden=[TOO_MUCH])
    assert both.find({"amount": 1}).ruling is Ruling.ALLOW
    assert both.find({"colour": "red"}, name="paint").ruling is Ruling.DENY
    for forbidden, words in [
        (Forbidden("pa*", "args.amuont > 1.0", "x"), ["forbidden[0] 'pa*'", "args.amuont"]),
        (Forbidden("pay_", None, "x"), ["approvals.forbidden[0] 'pay_': is not registered", "pay"]),
        (Forbidden("nothing_*", "1 +", "x"), ["no expression"]),
    ]:
        with pytest.raises(ConfigError) as caught:
            bench(paying(), forbidden=[forbidden])
        assert all(word in str(caught.value) for word in words)


def test_what_is_forbidden_is_part_of_the_version_and_of_the_report(bench: Any) -> None:
    free, bound = bench(paying()), bench(paying(), forbidden=[TOO_MUCH, Forbidden("x*", None, "x")])
    assert free.find({"amount": 1}).policy_version != bound.find({"amount": 1}).policy_version
    told = list_tools(bound.toolkit)[0]
    assert told.approval == "forbidden when `args.amount > 10000.0`: made by hand; asks a person"
    assert [matched for _, matched in bound.toolkit.forbidden] == [("pay",), ()]


def test_people_are_told_who_decides(bench: Any) -> None:
    staged = paying(stages=[Stage("risk", ("U1", "U2"), 2), Stage("legal", ("U3",))], four_eyes=True)
    assert list_tools(bench(staged).toolkit)[0].deciders == (
        "2 of U1, U2 (risk), then U3 (legal); not who asked for the run"
    )


def test_an_explanation_names_who_had_the_last_word(bench: Any) -> None:
    probe = bench(
        paying(when=BIG),
        overrides={"pay": {"approvers": ["U5"]}},
        workflows={"night": {"pay": {"approval": "deny"}}},
    )

    def explain(workflow: str, amount: int) -> Any:
        call = FunctionCall("c", "pay", {"amount": amount})
        return probe.toolkit.explain(Recipe(workflow, tools=("pay",)), call)

    day, night = explain("day", 60), explain("night", 60)
    declared = f"@tool in {pay.__module__}"
    assert (day.gate.sources.approval, day.gate.sources.people) == (declared, "tools.overrides.pay")
    assert (day.judgement.held, explain("day", 1).judgement.held) == (True, False)
    assert night.gate.sources.approval == "workflows.night.overrides.pay"
    assert night.finding.ruling is Ruling.DENY
