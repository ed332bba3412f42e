"""Triggers as config.yaml tells them, and how they are armed."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from support.signing import WHSEC
from support.toolkit import FakeToolkit

from orchestrator import arming
from orchestrator.advice import advise
from orchestrator.domain.consent import AtTimeout, Contract
from orchestrator.engine.armed import Armed, Cron, Feed
from orchestrator.errors import ConfigError, InvalidError, OversizeError
from orchestrator.settings import Settings

Load = Callable[..., Settings]
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)  # a Sunday
NIGHTLY = {
    "workflow": "refund",
    "cron": "0 22 * * mon-fri",
    "timezone": "Europe/Berlin",
    "text": "occurrence.at",
}


def armed(settings: Settings) -> dict[str, Armed]:
    return {a.name: a for a in arming.arm(settings, FakeToolkit({}))}


def with_(tree: dict[str, Any], **triggers: Any) -> dict[str, Any]:
    return {**tree, "triggers": triggers}


def test_a_feed_in_the_house_is_marked_and_only_that_host_may_then_be_asked(
    load_tree: Load, tree: dict[str, Any]
) -> None:
    feed = {"workflow": "refund", "feed": "http://news.lan:8080/feed.xml", "text": "entry.title"}
    outside = {**feed, "feed": "https://a.example/feed.xml"}
    secure = {**feed, "feed": "https://10.0.0.7/feed.xml", "internal": True}
    v6 = {**secure, "feed": "http://[fd00::7]/feed.xml"}
    marked = {"inside": {**feed, "internal": True}, "secure": secure, "six": v6}
    found = armed(load_tree(with_(tree, **marked, outside=outside)))
    places = {name: a.source.inside for name, a in found.items() if isinstance(a.source, Feed)}
    assert places == {
        "inside": "news.lan:8080",
        "secure": "10.0.0.7:443",
        "six": "[fd00::7]:80",
        "outside": "",
    }
    # Marked for another trigger, which is no leave for this one.
    for name, address in (("plain", feed["feed"]), ("private", secure["feed"])):
        with pytest.raises(ConfigError, match=rf"triggers\.{name}\.feed: "):
            armed(load_tree(with_(tree, **marked, **{name: {**feed, "feed": address}})))


def test_a_trigger_of_each_kind(load_tree: Load, tree: dict[str, Any]) -> None:
    tree["workflows"]["order"] = {
        "model": "gemini-3.8-flash",
        "input": {
            "type": "object",
            "properties": {"title": {"type": "string", "maxLength": 10}, "link": {"type": "string"}},
            "required": ["title"],
        },
    }
    fields = {"title": "entry.title", "link": "entry.link"}
    news = {"workflow": "order", "feed": "https://a.example/f?token=canary", "first": "none", "input": fields}
    hook = {"workflow": "order", "webhook": True, "input": {"title": "body.t"}}
    found = load_tree(with_(tree, nightly=NIGHTLY, news=news, hook=hook), TRIGGER_SECRETS=f"hook={WHSEC}")
    by_name = armed(found)
    nightly = by_name["nightly"]
    assert isinstance(nightly.source, Cron)
    due = nightly.source.schedule.after(datetime(2026, 11, 20, 12, tzinfo=UTC))
    assert nightly.source.local(due).isoformat() == "2026-11-20T22:00:00+01:00"
    assert nightly.prepare({"occurrence": {"at": "2026-11-20T21:00:00Z"}}) == "2026-11-20T21:00:00Z"
    assert "canary" not in by_name["news"].told
    assert by_name["news"].prepare({"entry": {"title": "T", "link": "L"}, "occurrence": {}})
    with pytest.raises(InvalidError, match=r"input\.title"):
        by_name["news"].prepare({"entry": {"title": "T" * 11, "link": "L"}, "occurrence": {}})
    with pytest.raises(InvalidError, match=r"input\.title"):
        by_name["hook"].prepare({"body": {}, "occurrence": {}})
    assert set(arming.verifiers(found)) == {"hook"}
    assert WHSEC not in repr(found)


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no source": ({"cron": None}, "cron, feed or webhook"),
    "two sources": ({"webhook": True}, "cron, feed or webhook"),
    "four fields": ({"cron": "0 22 * *"}, "five fields"),
    "no such day": ({"cron": "0 0 31 2 *"}, "no cron expression"),
    "seconds": ({"cron": "0 0 22 * * *"}, "five fields"),
    "no zone": ({"timezone": "Europe/Bärlin"}, "time zone"),
    "no input": ({"text": None}, "text or input"),
    "both inputs": ({"input": {"a": "1"}}, "text or input"),
    "idle key": ({"every_minutes": 5.0}, "belongs to feed"),
    "idle bound": ({"missed_most": 5}, "belongs to missed: run_all"),
    "no workflow": ({"workflow": "refunds"}, "did you mean refund"),
    "fields for text": ({"text": None, "input": {"a": "1"}}, "takes plain text"),
    "escalates to nobody": ({"on_no_answer": "escalate"}, "go together"),
    "nobody knows": ({"approvers": ["role:nope"]}, "no role"),
    "a token that is none": ({"approvers": ["api:nope"]}, "names no token"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_trigger_that_cannot_work_is_refused_by_its_key(
    load_tree: Load, tree: dict[str, Any], name: str
) -> None:
    change, says = FAULTS[name]
    trigger = {k: v for k, v in {**NIGHTLY, **change}.items() if v is not None}
    with pytest.raises(ConfigError, match=says) as caught:
        load_tree(with_(tree, nightly=trigger))
    assert "triggers.nightly" in str(caught.value)


def test_secrets_of_triggers(load_tree: Load, tree: dict[str, Any]) -> None:
    hook = {"workflow": "refund", "webhook": True, "text": "body.t"}
    with pytest.raises(ConfigError, match=r"triggers\.hook\.webhook: needs a secret"):
        arming.verifiers(load_tree(with_(tree, hook=hook)))
    for wrong in (WHSEC, f"hook:{WHSEC}", "hook=whsec_x", "hook=whsec_AAAA", f"Hook={WHSEC}"):
        with pytest.raises(ConfigError, match="trigger_secrets") as caught:
            load_tree(with_(tree, hook=hook), TRIGGER_SECRETS=wrong)
        assert WHSEC not in str(caught.value)
    with pytest.raises(ConfigError, match=r"trigger_secrets: there is no trigger 'hok'; did you mean hook"):
        arming.verifiers(load_tree(with_(tree, hook=hook), TRIGGER_SECRETS=f"hook={WHSEC} hok={WHSEC}"))
    both = f"hook={WHSEC};until=2026-12-01T00:00:00Z hook=whsec_MTExMTExMTExMTExMTExMTExMTExMTEx"
    assert set(arming.verifiers(load_tree(with_(tree, hook=hook), TRIGGER_SECRETS=both))) == {"hook"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"text": "entry.title"}, r"triggers\.nightly\.text"),
        ({"text": "occurrence."}, r"triggers\.nightly\.text"),
    ],
)
def test_what_is_found_when_it_is_armed(
    load_tree: Load, tree: dict[str, Any], change: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        armed(load_tree(with_(tree, nightly={**NIGHTLY, **change})))


@pytest.mark.parametrize(
    "url", ["http://a.example/f", "https://10.0.0.1/f", "https://0x7f000001/f", "https://u:p@a.example/f"]
)
def test_a_feed_is_somewhere_public(load_tree: Load, tree: dict[str, Any], url: str) -> None:
    news = {"workflow": "refund", "feed": url, "text": "entry.title"}
    with pytest.raises(ConfigError, match=r"triggers\.news\.feed"):
        armed(load_tree(with_(tree, news=news)))


def test_the_contract_of_its_runs(load_tree: Load, tree: dict[str, Any]) -> None:
    told = {"approvers": ["role:finance"], "channel": "C0NIGHT", "on_no_answer": "attention"}
    found = armed(load_tree(with_(tree, nightly={**NIGHTLY, **told})))["nightly"].recipe
    contract = Contract(("U0CAROL", "U0DAVE"), "C0NIGHT", AtTimeout.ATTENTION)
    assert found.contract == contract
    assert found.terms is not None
    assert (found.terms.approvers, found.terms.channel) == (contract.approvers, "C0NIGHT")


# ------------------------------------------------------------------ bounds, and what deserves a look


def test_a_mapping_makes_no_more_than_a_workflow_takes(load_tree: Load, tree: dict[str, Any]) -> None:
    """As over the API, whatever a feed or a sender writes; the text names the bound."""
    tree["workflows"]["refund"]["limits"] = {"max_input_chars": 50}
    hook = {"workflow": "refund", "webhook": True, "text": "body.t"}
    news = {"workflow": "refund", "feed": "https://a.example/f", "text": "entry.title"}
    by_name = armed(load_tree(with_(tree, hook=hook, news=news), TRIGGER_SECRETS=f"hook={WHSEC}"))
    for name, seen in (("hook", "body"), ("news", "entry")):
        key = {"body": "t", "entry": "title"}[seen]
        assert by_name[name].prepare({seen: {key: "x" * 50}, "occurrence": {}}) == "x" * 50
        with pytest.raises(OversizeError, match=r"makes 51 characters of text; at most 50 are taken"):
            by_name[name].prepare({seen: {key: "x" * 51}, "occurrence": {}})
        with pytest.raises(OversizeError, match=r"at most 1000000 are taken"):
            by_name[name].prepare({seen: {key: "x" * 1_000_001}, "occurrence": {}})


def test_secrets_that_have_all_ended_deserve_a_look(load_tree: Load, tree: dict[str, Any]) -> None:
    hook = {"workflow": "refund", "webhook": True, "text": "body.t"}
    other = "whsec_MTExMTExMTExMTExMTExMTExMTExMTEx"
    ended = f"hook={WHSEC};until=2026-11-01T00:00:00Z"
    cases = {
        ended: "every secret of hook has ended",
        f"{ended} hook={other};until=2026-11-22T11:00:00Z": "",
        f"{ended} hook={other}": "",
    }
    for secrets, says in cases.items():
        found = list(advise(load_tree(with_(tree, hook=hook), TRIGGER_SECRETS=secrets), NOW))
        assert len(found) == bool(says)
        assert says in "".join(found)
        assert WHSEC not in "".join(found)
    gemini = load_tree(tree, GEMINI_WEBHOOK_SECRETS=f"{WHSEC};until=2026-11-01T00:00:00Z")
    assert [line.partition(":")[0] for line in advise(gemini, NOW)] == ["webhooks.secrets"]


WEEK = ["mon", "tue", "wed", "thu", "fri"]
AT = {"timezone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("hours", "source", "days", "says"),
    [
        (10, {"cron": "0 22 * * sun-thu", **AT}, WEEK, ""),  # shown at 07:30, nine hours and a half after
        (9, {"cron": "0 22 * * sun-thu", **AT}, WEEK, "9:30:00"),
        (9, {"cron": "0 6 * * mon-fri", **AT}, WEEK, ""),
        (57, {"cron": "0 22 * * fri", **AT}, WEEK, "2 days, 10:30:00"),  # where the clocks are put back
        (71, {"feed": "https://a.example/f"}, WEEK, "3 days, 0:00:00"),
        (73, {"feed": "https://a.example/f"}, WEEK, ""),
        (71, {"webhook": True}, WEEK, "3 days, 0:00:00"),
        (24, {"webhook": True}, [*WEEK, "sat", "sun"], "1 day, 0:00:00"),
    ],
)
def test_runs_that_end_before_anybody_is_shown_what_they_ask(
    load_tree: Load, tree: dict[str, Any], hours: int, source: dict[str, Any], days: list[str], says: str
) -> None:
    tree["workflows"]["refund"] |= {
        "attended": False,
        "digest": {"at": "07:30", "timezone": "Europe/Berlin", "days": days},
        "limits": {"max_duration_seconds": hours * 3600},
    }
    trigger = {"workflow": "refund", "text": "occurrence.key", **source}
    secrets = {"TRIGGER_SECRETS": f"night={WHSEC}"} if "webhook" in source else {}
    found = list(advise(load_tree(with_(tree, night=trigger), **secrets), NOW))
    assert [f"may wait {says} for" in line for line in found] == [True] * bool(says)
