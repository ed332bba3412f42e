"""Several approvals by one command, and asking back, as a person and a program type them."""

import asyncio
import json

import pytest
from cli_kit import Shell
from sqlalchemy.orm import Session

from orchestrator import app, telemetry
from orchestrator.cli import several
from orchestrator.cli.entries import sentence
from orchestrator.domain.assessment import Assessment, Ruling
from orchestrator.domain.consent import Actor, Terms
from orchestrator.domain.events import CreateClaimed, InteractionObserved
from orchestrator.domain.exchange import FunctionCall, Snapshot
from orchestrator.domain.model import Policy
from orchestrator.domain.values import replace
from orchestrator.engine import answers, step
from orchestrator.store import run_rows
from orchestrator.store.database import Database

DIGEST = "9f2c41aa" * 8
SEEN = f"--digest {DIGEST[:16]}"


@pytest.fixture
def port(port: int) -> int:
    telemetry.configure("warning")
    return port


def asked(shell: Shell, served: Database, requester: str = "") -> str:
    """A run that waits for this token's holder, or for somebody `requester` is not; the approval's id."""
    run_id = json.loads(shell("runs start shop 'Refund A-17.' --json")[1])["id"]
    terms = Terms(("api:env", "U0ALICE"))
    wish = Assessment("c1", "refund", Ruling.ASK, {"n": 1}, digest=DIGEST, terms=terms)
    seen = Snapshot("i1", "requires_action", (FunctionCall("c1", "refund", {"n": 1}),))
    seen = replace(seen, interaction_id=f"i_{run_id}")
    for event in (CreateClaimed(1, 1), InteractionObserved(1, 1, seen, (wish,))):
        applied = asyncio.run(served.write(step.apply, run_id, event, policy=Policy(), now=app.now()))
    if requester:
        changed = run_rows.run_t.update().where(run_rows.run_t.c.id == run_id)
        who = {"id": requester, "name": "dana", "door": "slack"}
        asyncio.run(served.write(lambda s: s.connection().execute(changed.values(requester=who)).rowcount))
    approval = applied.run.turn.calls[0].approval
    assert approval is not None
    return approval.id


def test_a_program_decides_about_several_and_hears_of_each(shell: Shell, served: Database) -> None:
    one, two, three = (asked(shell, served) for _ in range(3))
    code, out, err = shell(f"approvals approve {one} {two} --yes {SEEN} --digest {'0' * 16}")
    assert (code, err.strip().splitlines()[-1]) == (1, "Error: 1 of 2 recorded")
    first, second = out.splitlines()
    assert first.startswith(f"{one} is approved by env")
    assert second == f"{two} not recorded: the question has changed since it was shown"
    code, out, _ = shell(f"approvals reject {two} {three} --yes --reason no --json")
    told = json.loads(out)
    assert (code, told["recorded"]) == (0, 2)
    assert [d["approval"]["verdict"]["reason"] for d in told["decisions"]] == ["no", "no"]
    code, out, _ = shell(f"approvals reject {two} {three} --yes")
    assert (code, out.count("not recorded: already rejected by env")) == (1, 2)


@pytest.mark.parametrize(
    "line",
    [
        f"approve apr_1 apr_2 --yes {SEEN}",
        "approve apr_1 apr_2 --yes",
        f"approve apr_1 apr_1 --yes {SEEN} {SEEN}",
        f"approve apr_1 --yes {SEEN} {SEEN}",
        "approve apr_1 apr_2",
        "reject apr_1 apr_2 --stop",
        f"reject apr_1 apr_2 {SEEN}",
        "reject " + " ".join(f"apr_{n}" for n in range(several.MOST + 1)),
        "answer apr_1 --json",
        "ask apr_1",
        "reply apr_1 0 --text so",
    ],
)
def test_what_is_no_way_to_say_it(shell: Shell, port: int, line: str) -> None:
    assert shell(f"approvals {line}")[0] == 2


def test_asked_back_and_answered(shell: Shell, served: Database) -> None:
    theirs, own = asked(shell, served, requester="U0DANA"), asked(shell, served)
    code, out, _ = shell(f"approvals ask {theirs} --question 'Why twice?'")
    assert (code, out.startswith(f"{theirs}: dana (U0DANA) is asked; the request stays open until ")) == (
        0,
        True,
    )
    shown = shell(f"approvals show {theirs}")[1]
    assert "question 1 env (api:env)" in shown
    assert shown.count("Why twice?") == 1
    code, _, err = shell(f"approvals reply {theirs} 1 --text 'It broke.'")
    assert (code, "only who asked for this run can answer that" in err) == (1, True)
    code, _, err = shell(f"approvals ask {own} --question '?'")
    assert (code, "you asked for this run yourself" in err) == (1, True)
    asyncio.run(served.write(_asks, own))
    code, out, _ = shell(f"approvals reply {own} 1 --text 'It broke.'")
    assert (code, out) == (0, f"{own}: question 1 is answered\n")
    code, _, err = shell(f"approvals reply {own} 1 --text 'Or not.'")
    assert (code, "already answered by env at" in err) == (1, True)
    code, out, _ = shell(f"approvals show {own} --json")
    assert [q["answer"] for q in json.loads(out)["questions"]] == ["It broke."]
    by = {"id": "U0DANA", "name": "dana", "door": "slack"}
    entry = {"kind": "QuestionAnswered", "note": "", "refused": None, "data": {"by": by, "text": "So\n."}}
    assert sentence(entry) == 'dana answers: "So\\n."'
    assert sentence(entry | {"kind": "QuestionAsked"}) == 'dana asks back: "So\\n."'


def _asks(s: Session, approval: str) -> None:
    person = answers.Person(Actor("U0ALICE", "alice", "slack"), "U0ALICE")
    answers.ask_back(s, approval, person, "Why?", answers.DecisionContext(None, Policy(), app.now()))
