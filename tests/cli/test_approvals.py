"""`orchestrator approvals` as a person and a program type it, against the API of a service that listens."""

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_kit import Shell

from orchestrator import app, telemetry
from orchestrator.cli import cards
from orchestrator.cli.approvals import STATUSES
from orchestrator.domain import asking
from orchestrator.domain.assessment import Assessment, Ruling
from orchestrator.domain.choosing import CHOOSE_MEDIA
from orchestrator.domain.consent import ApprovalStatus, Edits, Terms
from orchestrator.domain.events import CreateClaimed, InteractionObserved
from orchestrator.domain.exchange import FunctionCall, Snapshot
from orchestrator.domain.human import ASK_HUMAN
from orchestrator.domain.model import Policy
from orchestrator.domain.values import replace
from orchestrator.engine import step
from orchestrator.store.database import Database

DIGEST = "9f2c41aa" * 8
ME = "api:env"
OPEN = Terms(approvers=(ME, "U0ALICE"), risk="money leaves", edits=Edits.SAME)
ARGUMENTS = {"order_id": "A-17", "amount": 12.5, "note": "to \u202eecila"}


TOOL = '''
from orchestrator import tool


@tool(approval="ask")
def pay(order_id: str, amount: float, note: str = "") -> str:
    """Pay it back."""
    return "paid"
'''


@pytest.fixture
def port(port: int) -> int:
    """The same service with a tool whose arguments may be changed."""
    telemetry.configure("warning")  # what is told about the tools would be mixed with what a command says
    folder = Path("tools")
    folder.chmod(0o700)
    (folder / "cashdesk.py").write_text(TOOL, encoding="utf-8")
    config = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))
    config["tools"] = {"modules": ["cashdesk"]}
    config["approvals"] = {"approvers": [ME], "edits": "same"}
    config["workflows"]["shop"]["tools"] = ["pay"]
    Path("config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return port


def asked(
    shell: Shell,
    served: Database,
    terms: Terms = OPEN,
    tool: str = "refund_order",
    arguments: Mapping[str, Any] = ARGUMENTS,
) -> str:
    """A run that waits for a person; the approval's id."""
    run_id = json.loads(shell("runs start shop 'Refund A-17.' --json")[1])["id"]
    wish = Assessment("c1", tool, Ruling.ASK, arguments, digest=DIGEST, terms=terms)
    seen = Snapshot("i1", "requires_action", (FunctionCall("c1", tool, arguments),))
    seen = replace(seen, interaction_id=f"i_{run_id}")
    for event in (CreateClaimed(1, 1), InteractionObserved(1, 1, seen, (wish,))):
        asyncio.run(served.write(step.apply, run_id, event, policy=Policy(), now=app.now()))
    told = json.loads(shell(f"runs show {run_id} --json")[1])
    return str(told["calls"][0]["approval"]["id"])


class Terminal:
    """A terminal of this process: runs a line with something typed ahead; exit code and what was shown."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def __call__(self, shell: Shell, line: str, typed: str) -> tuple[int, str]:
        outer, inner = os.openpty()
        os.write(outer, typed.encode())
        shown = b""
        with (
            open(inner, "w", encoding="utf-8", closefd=False) as out,
            open(inner, encoding="utf-8", closefd=False) as typing,
            self._patch.context() as patch,
        ):
            patch.setattr(sys, "stdin", typing)
            patch.setattr(sys, "stdout", out)
            code = shell(line)[0]
        os.set_blocking(outer, False)
        with suppress(BlockingIOError):
            while True:
                shown += os.read(outer, 4096)
        os.close(inner)
        os.close(outer)
        return code, shown.decode().replace("\r\n", "\n")


def test_the_words_are_the_services_own() -> None:
    assert set(STATUSES) == set(ApprovalStatus)
    ours = (cards.PLAN, cards.GO_ON, cards.RESTART, cards.ASK_HUMAN, cards.CHOOSE_MEDIA)
    assert ours == (asking.PLAN, asking.GO_ON, asking.RESTART, ASK_HUMAN, CHOOSE_MEDIA)


def test_a_program_approves_what_it_has_seen_and_nothing_else(shell: Shell, served: Database) -> None:
    assert shell("approvals list") == (0, "nothing waits for an answer\n", "")
    approval = asked(shell, served)
    [told] = [json.loads(line) for line in shell("approvals list --json")[1].splitlines()]
    assert (told["id"], told["arguments"], told["risk"]) == (approval, ARGUMENTS, "money leaves")
    assert (told["edits"], told["requester"]["id"], told["votes"]) == ("same", ME, [])
    assert told["stages"] == [{"name": "", "approvers": [ME, "U0ALICE"], "quorum": 1}]
    assert json.loads(shell(f"approvals show {approval} --json")[1]) == told

    for line in ("", "--yes", f"--digest {DIGEST}", "--yes --digest 9f2c41aa", "--yes --digest " + "Z" * 16):
        assert shell(f"approvals approve {approval} {line}")[:2] == (2, ""), line
    code, out, err = shell(f"approvals approve {approval} --yes --digest {'0' * 16}")
    assert (code, out, "the question has changed since it was shown" in err) == (1, "", True)
    assert json.loads(shell(f"approvals show {approval} --json")[1])["status"] == "pending"

    code, out, _ = shell(f"approvals approve {approval} --yes --digest {told['digest'][:16]} --reason fine")
    assert (code, out.startswith(f"{approval} is approved by env ({ME}) at ")) == (0, True)
    code, _, err = shell(f"approvals reject {approval} --yes --json")
    assert (code, "already approved by env" in " ".join(err.split())) == (1, True)
    assert shell("approvals list --status approved")[1].count(approval) == 1


def test_one_yes_of_two_is_told_as_such(shell: Shell, served: Database) -> None:
    approval = asked(shell, served, replace(OPEN, quorum=2, risk=""))
    said = (0, f"{approval} is pending, 1 of 2 yes\n", "")
    assert shell(f"approvals approve {approval} --yes --digest {DIGEST}") == said
    assert f"yes        env ({ME})" in shell(f"approvals show {approval}")[1]
    assert "1 of 2 yes" in shell("approvals list")[1]


def test_not_mine_to_decide_and_nothing_of_that_name(shell: Shell, served: Database) -> None:
    approval = asked(shell, served, Terms(approvers=("U0ALICE",)))
    code, out, err = shell(f"approvals reject {approval} --yes --reason no")
    assert (code, out, "may not decide" in err) == (1, "", True)
    code, _, err = shell(f"approvals refine {approval}")
    assert (code, "--reason" in err) == (2, True)
    for line in ("show apr_x", "reject apr_x --yes", f"approve apr_x --yes --digest {DIGEST}"):
        code, _, err = shell(f"approvals {line}")
        assert (code, "there is no approval" in " ".join(err.split())) == (1, True), line
    assert shell(f"approvals approve ../runs --yes --digest {DIGEST}")[0] == 1


def test_a_person_sees_all_of_it_and_is_asked(
    shell: Shell, served: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval, at_terminal = asked(shell, served), Terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "100")
    code, shown = at_terminal(shell, f"approvals approve {approval}", "n\n")
    for words in ("refund_order", "shop", f"env ({ME})", "U0ALICE", "money leaves", DIGEST, "Approve? [y/N]"):
        assert words in shown
    assert 'to \\u{202E}ecila"' in shown
    assert "! Contains hidden characters" in shown
    assert (code, max(len(line) for line in shown.splitlines()) <= 100) == (1, True)
    assert at_terminal(shell, f"approvals approve {approval} --digest {'0' * 16}", "y\n")[0] == 1
    code, shown = at_terminal(shell, f"approvals approve {approval}", "y\n")
    assert (code, "is approved by env" in shown) == (0, True)
    code, shown = at_terminal(shell, f"approvals approve {approval}", "y\n")
    assert (code, "Approve?" in shown) == (1, False)


def test_a_no_is_asked_like_a_yes_and_a_program_says_so(
    shell: Shell, served: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval, at_terminal = asked(shell, served), Terminal(monkeypatch)
    for line in (f"reject {approval}", f"reject {approval} {approval}x", f"refine {approval} --reason no"):
        code, out, err = shell(f"approvals {line}")
        assert (
            code,
            out,
            "there is nobody to ask without a terminal: use --yes" in " ".join(err.split()),
        ) == (
            2,
            "",
            True,
        ), line
    code, shown = at_terminal(shell, f"approvals reject {approval}", "n\n")
    assert (code, "Reject? [y/N]" in shown, DIGEST in shown) == (1, True, True)
    code, shown = at_terminal(shell, f"approvals reject {approval} --stop", "n\n")
    assert (code, "Reject it and stop the run? [y/N]" in shown) == (1, True)
    code, shown = at_terminal(shell, f"approvals refine {approval} --reason no", "n\n")
    assert (code, "Send back? [y/N]" in shown) == (1, True)
    assert json.loads(shell(f"approvals show {approval} --json")[1])["status"] == "pending"
    other = asked(shell, served)
    code, shown = at_terminal(shell, f"approvals reject {approval} {other}", "y\nn\n")
    assert (code, f"{approval} is rejected by env" in shown, f"{other} is" in shown) == (0, True, False)
    code, shown = at_terminal(shell, f"approvals reject {other}", "y\n")
    assert (code, f"{other} is rejected by env" in shown) == (0, True)
    for command in ("approve", "reject", "refine", "edit", "answer"):
        assert "--yes" in shell(f"approvals {command} --help")[1]


def test_arguments_are_changed_by_who_has_seen_them(
    shell: Shell, served: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval = asked(shell, served, replace(OPEN, edits=Edits.NO))
    program = f"--yes --digest {DIGEST[:16]}"
    code, _, err = shell(f"approvals edit {approval} --set amount=1 {program}")
    assert (code, "may not be changed" in err) == (1, True)
    approval = asked(shell, served, tool="pay")
    for line in (program, "--set amount=1", f"--set amount {program}", f"--set a=1 --arguments - {program}"):
        assert shell(f"approvals edit {approval} {line}")[0] == 2, line
    code, _, err = shell(f"approvals edit {approval} --set amount=1 --yes --digest {'0' * 16}")
    assert (code, "the question has changed" in " ".join(err.split())) == (1, True)
    code, shown = Terminal(monkeypatch)(shell, f"approvals edit {approval} --set order_id=18", "n\n")
    assert (code, '"order_id": "18"' in shown.partition("as you would have it")[2]) == (1, True)
    code, out, err = shell(f"approvals edit {approval} --set amount=much {program}")
    assert (code, out, "arguments" in err) == (2, "", True)

    Path("wished.json").write_text(json.dumps({**ARGUMENTS, "amount": 3}), encoding="utf-8")
    code, out, _ = shell(f"approvals edit {approval} --arguments wished.json {program}")
    replaced, ending = out.splitlines()
    assert (code, replaced.startswith(f"{approval} is replaced by apr_")) == (0, True)
    assert f"is approved by env ({ME})" in ending
    now = json.loads(shell(f"approvals show {replaced.split()[-1]} --json")[1])
    assert (now["arguments"]["amount"], now["status"]) == (3.0, "approved")
    assert [v["by"]["id"] for v in now["votes"]] == [ME]
    assert now["edited"]["changes"] == {"amount": {"from": 12.5, "to": 3.0}}
    shown = shell(f"approvals show {now['id']}")[1]
    assert f"changed by env ({ME}), {now['edited']['at'][:10]}" in shown
    assert '"from": 12.5' in shown.partition("what was changed")[2]
    assert "changed by" not in shell(f"approvals show {approval}")[1]
    assert shell(f"approvals edit {approval} --set amount=4 {program}")[0] == 1


def test_a_watch_tells_what_comes_and_goes_until_it_is_interrupted(
    shell: Shell, served: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = asked(shell, served)
    [line] = shell("approvals watch --once --json")[1].splitlines()
    assert (json.loads(line)["change"], json.loads(line)["approval"]["id"]) == ("asked", first)
    assert first in shell("approvals watch --once")[1]

    told: list[str] = []
    monkeypatch.setattr("orchestrator.cli.questions.say", told.append)
    ended = threading.Event()

    # Whoever runs the tests in a shell's background has them ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def meanwhile() -> None:
        deadline = time.monotonic() + 60
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
        asyncio.run(_rejected(served, first))
        while len(told) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        if not ended.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    other = threading.Thread(target=meanwhile)
    other.start()
    code = shell("approvals watch --json --every 1")[0]
    ended.set()
    other.join()
    signal.signal(signal.SIGINT, before)
    changes = [(c["change"], c["approval"]["status"]) for c in map(json.loads, told)]
    assert (code, changes) == (0, [("asked", "pending"), ("closed", "rejected")])


async def _rejected(served: Database, approval: str) -> None:
    from orchestrator.domain.consent import Actor, Verdict
    from orchestrator.domain.events import ApprovalDecided
    from orchestrator.store import questions

    def job(s: Any) -> None:
        found = questions.load_approval(s, approval)
        assert found is not None
        verdict = Verdict(False, Actor("U0ALICE", "alice", "slack"), app.now())
        event = ApprovalDecided(approval, DIGEST, verdict, "U0ALICE")
        step.apply(s, found[2], event, policy=Policy(), now=app.now())

    await served.write(job)


def test_a_question_of_the_agents_is_answered(
    shell: Shell, served: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    several = {"question": "Which?", "kind": "multi_choice", "choices": ["a", "b", "c"]}
    approval = asked(shell, served, tool=ASK_HUMAN, arguments=several)
    at = f"approvals answer {approval} --yes --digest {DIGEST[:16]}"
    code, _, err = shell(f"{at} --choice 4")
    assert (code, "--choice must be from 1 to 3" in err) == (2, True)
    assert shell(at)[0] == 2
    assert shell(f"{at} --text c --choice 1")[0] == 2
    code, _, err = shell(f"{at} --text c")
    assert (code, "should be a list" in err) == (2, True)
    assert shell(f"approvals approve {approval} --yes --digest {DIGEST[:16]}")[0] == 1
    code, told, _ = shell(f"{at} --choice 3 --choice 1 --json")
    assert (code, json.loads(told)["verdict"]["answer"]) == (0, ["c", "a"])
    code, told, _ = shell(f"approvals show {approval}")
    assert "answered" in told
    assert '["c", "a"]' in told
    form = {"type": "object", "properties": {"n": {"type": "integer"}}}
    approval = asked(
        shell, served, tool=ASK_HUMAN, arguments={"question": "?", "kind": "form", "schema": form}
    )
    given = tmp_path / "given.json"
    given.write_text('{"n": 3}', encoding="utf-8")
    typed = Terminal(monkeypatch)
    code, shown = typed(shell, f"approvals answer {approval} --from {given}", "y\n")
    assert code == 0
    assert "a question of the agent's" in shown
    assert '"n": 3' in shown


def test_an_empty_answer_is_refused_as_an_empty_one(shell: Shell, served: Database) -> None:
    approval = asked(shell, served, tool=ASK_HUMAN, arguments={"question": "Why?", "kind": "text"})
    code, _, err = shell(f"approvals answer {approval} --yes --digest {DIGEST[:16]} --text=")
    assert (code, "verdict answer only" in err, "(answer: " in err) == (2, False, True)


def test_one_of_some_files_is_chosen_or_all_asked_for_anew(shell: Shell, served: Database) -> None:
    media = {"question": "Which?", "files": ["run_1/a.mp4", "run_1/b.mp4"], "again_allowed": True}
    approval = asked(shell, served, tool=CHOOSE_MEDIA, arguments=media)
    at = f"approvals answer {approval} --yes --digest {DIGEST[:16]}"
    code, _, err = shell(f"{at} --choice 3")
    assert (code, "--choice must be from 1 to 2" in err) == (2, True)
    assert shell(f"{at} --choice 1 --choice 2")[0] == 2
    assert shell(f"{at} --choice 1 --again darker")[0] == 2
    code, _, err = shell(f"{at} --text darker")
    assert (code, "file or number" in err) == (2, True)
    code, told, _ = shell(f"{at} --choice 2 --json")
    assert (code, json.loads(told)["verdict"]["answer"]) == (0, {"file": "run_1/b.mp4", "number": 2})
    assert "a choice among files" in shell(f"approvals show {approval}")[1]
    approval = asked(shell, served, tool=CHOOSE_MEDIA, arguments=media)
    at = f"approvals answer {approval} --yes --digest {DIGEST[:16]}"
    code, told, _ = shell(f"{at} --again darker --json")
    assert (code, json.loads(told)["verdict"]["answer"]) == (0, {"again": True, "note": "darker"})


def test_a_rejection_may_stop_the_run(shell: Shell, served: Database) -> None:
    approval = asked(shell, served)
    assert shell(f"approvals reject {approval} --yes --stop --reason enough")[0] == 0
    [run] = [json.loads(line) for line in shell("runs list --json")[1].splitlines()]
    assert run["status"] == "cancelled"


# ------------------------------------------------------------------ cards


def told(**changed: Any) -> dict[str, Any]:
    someone = {"id": "U0BOB", "name": "bob", "door": "slack"}
    return {
        "id": "apr_1",
        "run": "run_1",
        "workflow": "shop",
        "requester": someone,
        "turn": 1,
        "tool": "pay",
        "arguments": {},
        "call_status": "awaiting_approval",
        "status": "pending",
        "revision": 1,
        "digest": DIGEST,
        "approvers": ["U0ALICE"],
        "stages": [{"name": "", "approvers": ["U0ALICE"], "quorum": 1}],
        "votes": [],
        "never": [],
        "four_eyes": False,
        "escalate_to": [],
        "escalated": False,
        "edits": "no",
        "risk": "",
        "reason_required": False,
        "answers": False,
        "together": False,
        "questions": [],
        "copies": [],
        "requested_at": "2026-11-21T12:00:00Z",
        "expires_at": "2026-11-22T13:30:00Z",
        "start_by": None,
        "verdict": None,
        "channel": "",
        "ts": "",
        "trouble": "",
        **changed,
    }


NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def test_a_card_says_how_far_the_steps_are_and_who_may_not() -> None:
    stages = [
        {"name": "risk", "approvers": ["U1", "U2", "U3"], "quorum": 2},
        {"name": "legal", "approvers": ["S0LEGAL"], "quorum": 1},
    ]
    vote = {"by": {"id": "U1", "name": "", "door": "slack"}, "at": "2026-11-21T12:01:00Z", "stage": 0}
    one = told(stages=stages, votes=[vote], four_eyes=True, never=["U9"], escalated=True, escalate_to=["U8"])
    text = "\n".join(cards.card(one, now=NOW, width=100))
    for words in (
        "status     pending, 1 of 2 yes, escalated",
        "expires    2026-11-22 13:30:00 UTC, in 1 d 1 h",
        "may decide 1. risk: 2 of U1, U2, U3",
        "yes        1. risk: U1, 2026-11-21 12:01:00 UTC",
        "may decide 2. legal: S0LEGAL",
        "escalated  may decide as well: U8",
        "may not    U9",
        "may not    bob (U0BOB), who asked for the run",
    ):
        assert words in text
    assert cards.row(one, now=NOW)[-2:] == ["1 d 1 h", "1 of 2 yes, escalated"]
    assert cards.span("2026-11-21T12:00:30Z", NOW) == "under a minute"
    assert cards.span("2026-11-21T14:05:00Z", NOW + timedelta(hours=3)) == "no time"


def test_a_card_says_where_in_slack_it_is_seen() -> None:
    away = told(trouble="no such channel")
    copied = away | {"copies": [{"channel": "D1", "ts": "1.2", "person": "U0ALICE"}]}
    assert (cards.state(away), cards.state(copied)) == (
        "pending, not in Slack",
        "pending, not in its channel",
    )
    assert "slack      not shown in Slack: no such channel" in cards.card(away, now=NOW, width=100)
    lines = cards.card(copied, now=NOW, width=100)
    assert "slack      not shown in its channel: no such channel" in lines
    assert "slack      direct messages to U0ALICE" in lines


def test_a_card_says_what_a_change_of_arguments_comes_to() -> None:
    preview = {"text": "-12.50 EUR", "trouble": "", "before": None}
    plain, worked_out = told(edits="same"), told(edits="same", preview=preview)
    assert "a changed call counts as approved by who changed it" in "\n".join(
        cards.card(plain, now=NOW, width=100)
    )
    text = "\n".join(cards.card(worked_out, now=NOW, width=100))
    assert "what a changed call would do is worked out, and asked about anew" in text
    assert "counts as approved" not in text


def test_no_argument_draws_a_row_of_its_own() -> None:
    """Wide, long and hidden text stays behind the bar at any width."""
    evil = "x" * 88 + "status     approved" + "\u200b\x1b[2J\n字" * 60
    for width in (40, 100):
        lines = cards.card(told(arguments={"a": evil}, workflow=evil), now=NOW, width=width)
        start = lines.index("arguments")
        assert all(line[:2] in ("│ ", "┆ ", "! ") for line in lines[start + 1 :])
        assert not any(line.startswith("status     approved") for line in lines)
        assert not {"\x1b", "\u200b"} & set("".join(lines))
        assert json.loads(cards.editable({"a": evil})) == {"a": evil}
        assert "\u200b" not in cards.editable({"a": evil})


def test_a_plan_is_readable_and_what_cannot_be_shown_whole_is_not_approved() -> None:
    plan = told(tool="agent:plan", arguments={"plan": "1. Look.\n2. Tell."})
    assert cards.card(plan, now=NOW, width=80)[-3:] == ["the plan", "│ 1. Look.", "│ 2. Tell."]
    deep: Any = "(nested too deeply to be shown)"  # so far the API goes
    for _ in range(100):
        deep = [deep]
    assert not cards.whole(told(arguments={"a": deep}))
    assert cards.card(told(arguments={"a": deep}), now=NOW, width=80)[-1].startswith("! This cannot be shown")
    assert cards.whole(told(arguments={"a": deep[0]}))
    assert cards.row(plan, now=NOW)[1] == "the agent's plan"


def test_what_it_would_do_stands_before_the_arguments_and_both_after_a_drift() -> None:
    preview = {"text": "-99 EUR\u202e", "trouble": "", "before": "-12.50 EUR"}
    lines = cards.card(told(preview=preview, arguments={"n": 1}), now=NOW, width=100)
    start = lines.index("! What it would do has changed since it was approved. Nothing was run.")
    assert lines[start + 1 : start + 3] == ["what it would do (worked out by the tool)", "│ -99 EUR\\u{202E}"]
    former = lines.index("before, as it was approved")
    assert (lines[former + 1], lines[former + 2]) == ("│ -12.50 EUR", "arguments")
    failed = {"text": "", "trouble": "The preview failed.", "before": None}
    assert "no preview, it failed" in cards.card(told(preview=failed), now=NOW, width=100)
    waits = told(status="withdrawn", call_status="previewing")
    assert "asked anew once it is worked out" in cards.ending(waits)
