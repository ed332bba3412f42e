"""Who is asked, and how: roles, combinations that cannot be met, and what the toolkit is handed."""

import json
import re
from datetime import date, time, timedelta
from typing import Any

import pytest

from orchestrator.domain.calendar import EVERY_DAY, Calendar
from orchestrator.domain.consent import AtTimeout, Edits, Stage
from orchestrator.errors import ConfigError
from orchestrator.settings import PolicyOverride


def stage(name: str, *approvers: str, quorum: int = 1) -> dict[str, Any]:
    return {"name": name, "approvers": list(approvers), "quorum": quorum}


def test_everything_about_people_reaches_the_terms(tree: Any, load_tree: Any) -> None:
    tree["approvals"] = {
        "roles": {"finance": ["U0CAROL", "S0FINANCE"]},
        "stages": [stage("risk", "role:finance", "U0CAROL", quorum=2), stage("legal", "U0BOB", "U0ERIN")],
        "never": ["U0MALLORY"],
        "four_eyes": True,
        "edits": "other",
        "at_timeout": "escalate",
        "escalate_to": ["role:finance"],
        "reminders": [],
        "risk": "Money leaves.",
        "discreet": True,
        "reason_required": True,
        "together": True,
        "timeout_seconds": 60,
    }
    terms = load_tree(tree).default_terms()
    assert terms.steps == (Stage("risk", ("U0CAROL", "S0FINANCE"), 2), Stage("legal", ("U0BOB", "U0ERIN")))
    assert (terms.approvers, terms.never, terms.escalate_to) == (
        (),
        ("U0MALLORY",),
        ("U0CAROL", "S0FINANCE"),
    )
    assert (terms.four_eyes, terms.discreet, terms.reason_required, terms.together) == (True,) * 4
    assert (terms.edits, terms.at_timeout) == (Edits.OTHER, AtTimeout.ESCALATE)
    assert (terms.reminders, terms.risk) == ((), "Money leaves.")


@pytest.mark.parametrize(
    ("key", "changes", "says"),
    [
        ("approvals.quorum", {"quorum": 3}, "needs 3 different people, but only 2"),
        ("approvals.never", {"never": ["api:ci", "U0ALICE"]}, "nobody"),
        ("approvals.quorum", {"quorum": 2, "never": ["U0ALICE"]}, "only 1"),
        ("approvals.stages", {"stages": [stage("risk", "U0BOB")]}, "instead of approvers"),
        ("approvals.stages", {"approvers": [], "quorum": 2, "stages": [stage("a", "U0A")]}, "of quorum"),
        (
            "approvals.stages",
            {"approvers": [], "stages": [stage("risk", "U0BOB"), stage("legal", "U0BOB")]},
            "separate people for separate stages",
        ),
        (
            "approvals.stages",
            {
                "approvers": [],
                "stages": [stage("a", "U0A", "U0B"), stage("b", "U0B", "U0A"), stage("c", "U0A", "U0B")],
            },
            "separate people",
        ),
        ("approvals.stages", {"approvers": [], "stages": [stage("a", "U0A", quorum=2)]}, "stage 'a' needs 2"),
        ("approvals.escalate_to", {"at_timeout": "escalate"}, "is missing"),
        ("approvals.escalate_to", {"escalate_to": ["U0BOSS"]}, "no use"),
        (
            "approvals.never",
            {"at_timeout": "escalate", "escalate_to": ["U0BOSS"], "never": ["U0BOSS"], "timeout_seconds": 9},
            "nobody of escalate_to",
        ),
        ("approvals.edits", {"approvers": ["U0BOB"], "edits": "other"}, "too few are left"),
        ("approvals.approvers[0]", {"approvers": ["role:finanz"]}, "known are finance"),
        ("approvals.never[0]", {"never": ["api:nosuch"]}, "names no token"),
        ("approvals.roles.finance[0]", {"roles": {"finance": ["api:nosuch"]}}, "names no token"),
        (
            "approvals.timeout_seconds",
            {"at_timeout": "escalate", "escalate_to": ["U0BOSS"], "timeout_seconds": 28 * 86_400},
            "half of gemini.retention_days",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_met_stops_the_start(
    key: str, changes: dict[str, Any], says: str, tree: Any, load_tree: Any
) -> None:
    load_tree(tree)
    tree["approvals"] |= changes
    with pytest.raises(ConfigError) as caught:
        load_tree(tree)
    assert re.search(rf"config\.yaml:\d+: {re.escape(key)}: .*{says}", str(caught.value)), str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"quorum": 3, "approvers": ["U0ALICE", "S0FINANCE"]},
        {"quorum": 2},
        {"quorum": 3, "approvers": ["role:finance", "U0BOB"]},
        {"approvers": ["api:ci"], "four_eyes": True},
        {"approvers": [], "stages": [stage("a", "U0A", "U0B"), stage("b", "U0A")]},
        {"approvers": [], "stages": [stage("a", "S0ALL"), stage("b", "S0ALL", quorum=2)]},
    ],
    ids=str,
)
def test_what_can_be_met_is_taken(changes: dict[str, Any], tree: Any, load_tree: Any) -> None:
    tree["approvals"] |= changes
    load_tree(tree)


@pytest.mark.parametrize(
    ("path", "override", "says"),
    [
        ("tools.overrides.refund_order.quorum", {"quorum": 2, "approvers": ["U0BOB"]}, "only 1"),
        ("tools.overrides.refund_order.stages", {"quorum": 2, "stages": [stage("a", "U0A")]}, "of quorum"),
        ("tools.overrides.refund_order.stages[0].approvers[0]", {"stages": [stage("a", "role:x")]}, "role"),
        ("tools.overrides.refund_order.never", {"approvers": ["U0BOB"], "never": ["U0BOB"]}, "nobody"),
    ],
)
def test_an_override_must_be_possible_by_itself(
    path: str, override: Any, says: str, tree: Any, load_tree: Any
) -> None:
    tree["tools"]["overrides"]["refund_order"] = override
    with pytest.raises(ConfigError, match=rf"config\.yaml:\d+: {re.escape(path)}: .*{says}"):
        load_tree(tree)


def test_a_group_needs_slack(tree: Any, load_tree: Any) -> None:
    tree["slack"] = {"enabled": False}
    tree["approvals"]["roles"]["finance"] = ["U0CAROL", "S0FINANCE"]
    with pytest.raises(ConfigError, match=r"approvals\.roles\.finance\[1\]: .*needs slack\.enabled"):
        load_tree(tree)


def test_a_token_that_stands_for_a_user_is_named_by_that_user(tree: Any, load_tree: Any) -> None:
    """By its own name it would let nobody in, and keep nobody out."""
    tree["api"]["tokens"][0]["user"] = "U0BOB"
    with pytest.raises(ConfigError, match=r"approvals\.approvers\[1\]: is a token that decides as U0BOB"):
        load_tree(tree)
    tree["approvals"] |= {"approvers": ["U0BOB"], "never": ["api:env"]}
    load_tree(tree, ORCHESTRATOR_API_TOKEN="x" * 16)
    with pytest.raises(ConfigError, match=r"approvals\.never\[0\]: is a token that decides as U0ALICE"):
        load_tree(tree, ORCHESTRATOR_API_TOKEN="x" * 16, ORCHESTRATOR_API_TOKEN_USER="U0ALICE")


def test_a_workflows_terms_are_for_its_own_tools(tree: Any, load_tree: Any) -> None:
    tree["workflows"]["refund"]["tools"] = []
    with pytest.raises(ConfigError, match=r"workflows\.refund\.overrides\.refund_order: is not among"):
        load_tree(tree)


def test_the_terms_of_a_workflow_of_steps_are_for_the_tools_of_its_steps(tree: Any, load_tree: Any) -> None:
    film = {"name": "film", "kind": "video", "arguments": {"prompts": ["A harbour at dusk."]}}
    free = {"approval": "allow"}
    tree["workflows"]["films"] = {"steps": [film], "overrides": {"generate_video": free}}
    load_tree(tree)
    tree["workflows"]["films"]["overrides"] = {"run_batch": dict(free)}
    with pytest.raises(ConfigError, match=r"workflows\.films\.overrides\.run_batch: is not among .*\.steps"):
        load_tree(tree)


BERLIN = {"timezone": "Europe/Berlin", "hours": "09:00-17:30", "holidays": ["2026-12-25"]}


def test_hours_reach_the_terms(tree: Any, load_tree: Any) -> None:
    tree["approvals"] |= {"calendar": BERLIN, "quiet_hours": "22:00-07:00", "dm_after": 0.25}
    terms = load_tree(tree, ORCHESTRATOR_APPROVALS__DM_FALLBACK="false").default_terms()
    office = Calendar("Europe/Berlin", time(9), time(17, 30), holidays=(date(2026, 12, 25),))
    assert (terms.calendar, terms.dm_after, terms.dm_fallback) == (office, 0.25, False)
    assert terms.quiet_hours == Calendar("Europe/Berlin", time(22), time(7), EVERY_DAY)
    asks = {"timezone": "UTC", "days": ["sun", "mon"], "hours": "00:00-24:00"}
    told = load_tree(tree, ORCHESTRATOR_APPROVALS__CALENDAR=json.dumps(asks)).default_terms()
    assert told.calendar == Calendar("UTC", time(0), time(0), (0, 6))


@pytest.mark.parametrize(
    ("written", "zone"),
    [({}, "UTC"), ({"calendar": BERLIN}, "Europe/Berlin"), ({"zone": " Asia/Tokyo"}, "Asia/Tokyo")],
    ids=["no calendar", "the calendar's", "its own"],
)
def test_the_time_zone_of_quiet_hours(written: dict[str, Any], zone: str, tree: Any, load_tree: Any) -> None:
    own = written.get("zone", "")
    tree["approvals"] |= {k: v for k, v in written.items() if k != "zone"}
    tree["approvals"]["quiet_hours"] = f"22:00-07:00{own}"
    quiet = load_tree(tree).default_terms().quiet_hours
    assert quiet is not None
    assert quiet.timezone == zone


@pytest.mark.parametrize(
    ("key", "changes", "says"),
    [
        ("calendar.timezone", {"calendar": {"timezone": "Europe/Nowhere"}}, "no time zone"),
        ("calendar.timezone", {"calendar": {"timezone": "../etc/passwd"}}, "no time zone"),
        ("calendar.timezone", {"calendar": {"timezone": "Europe"}}, "no time zone"),
        ("calendar.timezone", {"calendar": {}}, "is missing"),
        ("calendar.hours", {"calendar": {**BERLIN, "hours": "9-17"}}, "such as 09:00-17:30"),
        ("calendar.hours", {"calendar": {**BERLIN, "hours": "09:00-24:30"}}, "such as 09:00-17:30"),
        ("calendar.days[1]", {"calendar": {**BERLIN, "days": ["mon", "someday"]}}, ""),
        ("calendar.days", {"calendar": {**BERLIN, "days": []}}, ""),
        ("calendar.holidays[0]", {"calendar": {**BERLIN, "holidays": ["2026-02-30"]}}, "no day"),
        ("calendar.holidays[0]", {"calendar": {**BERLIN, "holidays": ["25.12.2026"]}}, "such as 2026-12-25"),
        ("calendar", {"calendar": "none"}, ""),
        ("quiet_hours", {"quiet_hours": "22-7"}, "22:00-07:00"),
        ("quiet_hours", {"quiet_hours": "22:00-22:00"}, "never end"),
        ("quiet_hours", {"quiet_hours": "22:00-07:00 Mars/Base"}, "no time zone"),
        ("dm_after", {"dm_after": 1.1}, ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("place", ["approvals", "override"])
def test_hours_nobody_can_mean_stop_the_start(
    place: str, key: str, changes: dict[str, Any], says: str, tree: Any, load_tree: Any
) -> None:
    path = "approvals" if place == "approvals" else "tools.overrides.refund_order"
    if place == "override" and changes.get("calendar") == "none":
        return
    holder = tree["approvals"] if place == "approvals" else tree["tools"]["overrides"]["refund_order"]
    holder |= changes
    with pytest.raises(ConfigError, match=rf"config\.yaml:\d+: {re.escape(f'{path}.{key}')}: .*{says}"):
        load_tree(tree)


def test_an_override_of_hours(tree: Any, load_tree: Any) -> None:
    tree["tools"]["overrides"]["refund_order"] |= {"calendar": "none", "quiet_hours": "none", "dm_after": 0}
    tree["tools"]["overrides"]["wire_money"] |= {"calendar": BERLIN, "quiet_hours": "20:00-08:00"}
    overrides = load_tree(tree).tools.overrides
    told = overrides["refund_order"].said()
    assert (told["calendar"], told["quiet_hours"], told["dm_after"]) == ("none", "none", 0)
    told = overrides["wire_money"].said()
    assert told["calendar"].timezone == "Europe/Berlin"
    assert told["quiet_hours"].timezone == ""  # that of the calendar in force


def test_an_override_says_only_what_it_says() -> None:
    assert PolicyOverride().said() == {}
    told = PolicyOverride(quorum=2, timeout_seconds=60, four_eyes=False).said()
    assert told == {"quorum": 2, "expires_after": timedelta(minutes=1), "four_eyes": False}


def test_an_agents_step_that_shows_its_plan_needs_somebody_to_show_it_to(tree: Any, load_tree: Any) -> None:
    plans = {"name": "think", "kind": "agent", "agent": "deep-research", "agent_config": PLANNED}
    tree["workflows"] = {"review": {"steps": [plans]}}
    tree["approvals"] = {}
    with pytest.raises(ConfigError, match=r"approvals\.approvers: is missing; needed because runs of review"):
        load_tree(tree)


PLANNED = {"type": "deep-research", "collaborative_planning": True}
