"""What long and unattended work shows people: digests, files to choose among, jobs, a workflow's steps."""

import struct
import zlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from bench.scene import Scene, Scenes, numbered
from orchestrator.domain import jobreports
from orchestrator.domain.cards import Card, DigestCard
from orchestrator.domain.choosing import CHOOSE_MEDIA, anew, names
from orchestrator.domain.consent import Actor, ApprovalStatus, Place, Stage, Vote
from orchestrator.domain.jobs import Job, JobKind, JobStatus, StoredFile
from orchestrator.domain.model import Outcome, RunStatus
from orchestrator.domain.pipeline import confirms, step_call
from orchestrator.domain.values import replace
from orchestrator.engine.media import NOT_SHOWN
from orchestrator.slack import batches, digests, home, human, modals
from orchestrator.slack.api_errors import SlackRefusalError
from tests.support.slack_cards import ALICE, NO, NOW, YES, C, K, S, card, decided, on, under

BOB: Final = Actor("U0BOB", "bob", "slack")
FILES: Final = tuple(f"run_9/job_{n:02d}-1.mp4" for n in range(1, 21))
LABELS: Final = ("Harbour at dusk, take 2", "Market hall, take 1", "Night train, take 5", "Rain, take 3")
SKY: Final = ((232, 128, 74), (88, 140, 190), (40, 44, 90), (120, 136, 130))
FACTS: Final[dict[str, Any]] = {
    "subject": "Initech Ltd., Austin",
    "report": "# For\n- Accounts filed for nine years in a row [1]\n- No entry on a sanctions list [2]\n\n"
    "# Against\n- Two lawsuits about unpaid invoices, one of them open [3]\n\nNot found: who *owns* it.",
    "score": 71,
}


def scenes() -> Scenes:
    """Each by its name."""
    return {**_digests(), **_choices(), **_jobs(), **_steps()}


# --- questions of unattended runs, together -----------------------------------------------------------


def _digests() -> Scenes:
    """A night's questions: of two kinds, more than a message holds, and as they are decided."""
    kinds = (*(_night(n) for n in (1, 2, 3)), *(_night(n, _letter(n)) for n in (4, 5)))
    yes, no = _night(1, _settled(True)), _night(2, _settled(False))
    many = tuple(_night(n) for n in range(1, 33))
    one = {
        "approve_all": batches.approve_all(digests.in_one_go(kinds[:3])),
        "reject_all": batches.reject_all(digests.in_one_go(kinds[:3])),
    }
    over = (yes, no, _night(3, _settled(True)))
    apart = tuple(_night(n, _letter(n), discreet=True) for n in (1, 2))
    return {
        "digest": Scene(_digest(*kinds), size=(1000, 1500)),
        "digest partly decided": Scene(_digest(yes, no, *kinds[2:]), size=(1000, 1500)),
        "digest all decided": Scene(_digest(*over), size=(1000, 1300)),
        "digest of many": Scene(_digest(*many, more=40), size=(1000, 2300)),
        "digest of one": Scene(_digest(kinds[0])),
        "digest of discreet calls": Scene(_digest(*apart)),
        "digest approve window": Scene(_digest(*kinds), ("approve_all",), one, size=(1000, 1500)),
        "digest reject window": Scene(_digest(*kinds), ("reject_all",), one),
        "home before the digest": Scene(kinds[0], home=home.home(list(map(_waiting, kinds)), [], now=NOW)),
    }


def _digest(*cards: Card, more: int = 0) -> DigestCard:
    return DigestCard(f"C0APPR@{NOW:%Y-%m-%dT%H:%MZ}", Place("C0APPR", ""), NOW, cards, more)


def _night(number: int, base: Card | None = None, **terms: Any) -> Card:
    """One question of a run of its own."""
    base = base or _refund(number)
    return numbered(number, under(base, together=True, **terms), run_id=f"run_{number:012x}")


def _refund(number: int) -> Card:
    wanted = {"order_id": f"A-{1040 + number}", "amount": f"{12 * number}.90", "reason": "It arrived broken."}
    return card(wanted, workflow="overnight_refunds")


def _letter(number: int) -> Card:
    text = "Dear customer,\nwe are sorry that your parcel did not arrive. We have looked for it since Monday."
    made = card({"to": f"customer{number}@shop.example", "text": text}, workflow="letters")
    return replace(made, call=replace(made.call, tool="send_letter"), description="Send a letter.")


def _settled(yes: bool) -> Card:
    wanted = dict(_refund(1).call.arguments)
    if not yes:
        over = decided(S.REJECTED, C.SETTLED, verdict=NO, outcome=Outcome(K.REJECTED, "no"), arguments=wanted)
    else:
        result = Outcome(K.SUCCEEDED, {"refund": "R-77"})
        over = decided(S.APPROVED, C.SETTLED, verdict=YES, started=True, outcome=result, arguments=wanted)
    return replace(over, workflow="overnight_refunds")


def _waiting(base: Card) -> home.HomeEntry:
    """It has not come to its hour yet."""
    name = f"C0APPR@{NOW + timedelta(hours=9):%Y-%m-%dT%H:%MZ}"
    return home.HomeEntry(on(base, lambda approval: replace(approval, collected=name, since=None)))


# --- files to choose among ----------------------------------------------------------------------------


def _choices() -> Scenes:
    """A choice as it is put, made, and not made."""
    four, plain = choice(4, labelled=True), choice(4)
    asked = "Make the light softer, and no people: <!here> we have no releases."
    why = SlackRefusalError("missing_files_scope")
    partly = (
        f"{NOT_SHOWN} of 2: no picture of it could be drawn; of 4: the film is too large for a picture of it"
    )
    again = {"again": modals.again(four)}
    many = choice(20)
    form = human.form(many.call)
    if form is None:
        raise RuntimeError("it fits no form")
    wrong = {"reason": "Say what should be different."}
    by_home = {"details": modals.details(four, open_=True), "answer": modals.answer(many, form)}
    at_home = home.home(
        [home.HomeEntry(four)], [_chosen(four, anew(asked)), _chosen(four, {"number": 2})], now=NOW
    )
    return {
        "choice": Scene(plain),
        "choice with pictures": Scene(four, pictures=_stills(four), size=(1000, 1900)),
        "choice of many": Scene(many, size=(1000, 1400)),
        "choice of many window": Scene(many, ("details", "answer"), by_home, home=at_home),
        "choice of one": Scene(choice(1)),
        "choice final": Scene(choice(4, labelled=True, again_allowed=False)),
        "choice discreet": Scene(under(four, discreet=True)),
        "choice confirm": Scene(four, confirm="choose_1", size=(1000, 560)),
        "choice without pictures": Scene(replace(four, no_pictures=f"{NOT_SHOWN}: {why}")),
        "choice with some pictures": Scene(
            replace(four, no_pictures=partly), pictures=_stills(four)[::2], size=(1000, 1500)
        ),
        "choice anew window": Scene(four, ("again",), again),
        "choice anew window empty": Scene(four, ("again",), again, {"reason": " "}, wrong),
        "choice reject window": Scene(four, ("reject_reason",), {"reject_reason": modals.reject(four)}),
        "choice made": Scene(_chosen(four, {"number": 2}), pictures=_stills(four), size=(1000, 1900)),
        "choice made by number alone": Scene(_chosen(plain, {"file": FILES[2]})),
        "choice made anew": Scene(_chosen(four, anew(asked))),
        "choice rejected": Scene(_over(four, S.REJECTED, run_status=RunStatus.FAILED)),
        "choice expired": Scene(_over(four, S.EXPIRED, run_status=RunStatus.FAILED)),
        "choice withdrawn": Scene(_over(four, S.WITHDRAWN, run_status=RunStatus.CANCELLED)),
        "choice at home": Scene(four, home=at_home),
        "choice details from home": Scene(four, ("details",), by_home, home=at_home),
    }


def choice(count: int, *, labelled: bool = False, **more: Any) -> Card:
    """Films of a workflow's step, to choose one of."""
    wanted = {"question": "Which film goes with the post?", "files": list(FILES[:count]), **more}
    base = card(wanted | ({"labels": list(LABELS[:count])} if labelled else {}), workflow="content")
    call = replace(base.call, tool=CHOOSE_MEDIA, call_id=step_call("pick", 3))
    links = tuple(f"https://hitl.example.com/v1/files/{path}" for path in FILES[:count])
    return replace(base, call=call, description="", file_links=links)


def _chosen(base: Card, answer: Mapping[str, Any]) -> Card:
    verdict = replace(NO, reason="", answer=answer, by=ALICE)
    given = on(base, lambda approval: replace(approval, status=S.APPROVED, verdict=verdict))
    call = replace(given.call, status=C.SETTLED, outcome=Outcome(K.SUCCEEDED, {"answer": answer}))
    return replace(given, call=call, run_status=RunStatus.RUNNING)


def _over(base: Card, status: ApprovalStatus, **changes: Any) -> Card:
    """Settled without a yes."""
    verdict = NO if status is S.REJECTED else None
    kind = {S.REJECTED: K.REJECTED, S.EXPIRED: K.EXPIRED}.get(status, K.WITHDRAWN)
    given = on(base, lambda approval: replace(approval, status=status, verdict=verdict))
    call = replace(given.call, status=C.SETTLED, outcome=Outcome(kind, "over"))
    return replace(given, call=call, **changes)


def _stills(shown: Card) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, still(SKY[n % 4])) for n, name in enumerate(names(shown.call.arguments)))


def still(colour: tuple[int, int, int], width: int = 320, height: int = 120) -> bytes:
    """A PNG that grows dark downwards, in the place of a film's picture (PNG specification, 2nd edition)."""
    rows = (bytes(c * (height - y) // height for c in colour) * width for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    drawn = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", drawn) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


# --- a call that waits for jobs -----------------------------------------------------------------------


def _jobs() -> Scenes:
    """Approved films: not begun, under way, and what they came to."""
    wanted = {"prompts": [f"Scene {n}: a harbour at dusk" for n in range(1, 6)], "seconds": 8}
    waits = decided(
        S.APPROVED, C.AWAITING_JOB, verdict=YES, started=True, arguments=wanted, workflow="overnight"
    )
    waits = replace(
        waits,
        call=replace(waits.call, tool="generate_video", call_id=step_call("films", 2)),
        description="Make films of prompts.",
    )
    over = replace(waits, call=replace(waits.call, status=C.SETTLED, settled_at=NOW + timedelta(hours=3)))
    made = jobreports.results(replace(waits.call, jobs=_made(11, 1, 0)))
    none = jobreports.results(replace(waits.call, jobs=_made(0, 2, 0)))
    done = replace(over.call, outcome=Outcome(K.SUCCEEDED, made))
    failed = replace(over.call, outcome=Outcome(K.FAILED, none))
    return {
        "jobs not begun": Scene(_with_jobs(waits, _made(0, 0, 50))),
        "jobs under way": Scene(_with_jobs(waits, _made(11, 1, 38))),
        "jobs almost done": Scene(_with_jobs(waits, _made(49, 0, 1))),
        "jobs, only one": Scene(_with_jobs(waits, _made(0, 0, 1))),
        "jobs of a cancelled run": Scene(
            replace(_with_jobs(waits, _made(11, 1, 38)), run_status=RunStatus.CANCELLED)
        ),
        "jobs done": Scene(replace(over, call=done), size=(1000, 1200)),
        "jobs failed": Scene(replace(over, call=failed, run_status=RunStatus.FAILED), size=(1000, 1200)),
    }


def _with_jobs(base: Card, jobs: tuple[Job, ...]) -> Card:
    call = replace(base.call, jobs=jobs)
    return replace(base, call=call, progress=jobreports.progress(call))


def _made(succeeded: int, failed: int, left: int) -> tuple[Job, ...]:
    """So many of each, ten at a time, about four minutes each."""
    begun, said = NOW - timedelta(minutes=4), "the prompt was refused"
    ends = [JobStatus.SUCCEEDED] * succeeded + [JobStatus.FAILED] * failed
    jobs = [
        replace(_job(n, status), sent_at=begun, ended_at=NOW, said=said if status is JobStatus.FAILED else "")
        for n, status in enumerate(ends, 1)
    ]
    for n in range(left):
        status = JobStatus.LIVE if n < 10 else JobStatus.QUEUED
        jobs.append(_job(len(ends) + n + 1, status))
    return tuple(jobs)


def _job(number: int, status: JobStatus) -> Job:
    files = (StoredFile(f"run_9/job_{number:02d}-1.mp4", "video/mp4", 2_048_000, f"{number:02x}" * 32),)
    made = files if status is JobStatus.SUCCEEDED else ()
    return Job(f"job_{number:024x}", number, JobKind.VIDEO, {}, status, files=made)


# --- a workflow's approval step -----------------------------------------------------------------------


def _steps() -> Scenes:
    """Risk, then legal, then the workflow goes on; or it does not."""
    asked = step()
    half = on(asked, lambda a: replace(a, votes=(Vote(ALICE, NOW - timedelta(minutes=3), 0),)))
    long = step({"subject": FACTS["subject"], "report": f"{FACTS['report']}\n" * 60})
    details = {"details": modals.details(half, open_=True), "reject_reason": modals.reject(half)}
    whole = {"details": modals.details(long, open_=True)}
    yes, no = _passed(half), _over(half, S.REJECTED, run_status=RunStatus.FAILED)
    return {
        "step": Scene(asked, size=(1000, 1060)),
        "step, risk has said yes": Scene(half, size=(1000, 1060)),
        "step approved": Scene(yes, size=(1000, 1060)),
        "step rejected": Scene(no, size=(1000, 1060)),
        "step expired": Scene(_over(half, S.EXPIRED, run_status=RunStatus.FAILED), size=(1000, 1060)),
        "step withdrawn": Scene(_over(half, S.WITHDRAWN, run_status=RunStatus.CANCELLED), size=(1000, 1060)),
        "step with a long report": Scene(long, size=(1000, 1500)),
        "step with a long report, window": Scene(long, ("details",), whole, size=(1000, 1500)),
        "step confirm": Scene(half, confirm="approve", size=(1000, 560)),
        "step details": Scene(half, ("details",), details, size=(1000, 1200)),
        "step reject window": Scene(half, ("reject_reason",), details),
        "step reminder": Scene(half, remind="1", size=(1000, 1300)),
        "step at home": Scene(half, home=home.home([home.HomeEntry(half)], [yes, no], now=NOW)),
        "steps in a digest": Scene(
            _digest(*(numbered(n, under(step(), together=True), run_id=f"run_{n}") for n in (1, 2))),
            size=(1000, 2000),
        ),
    }


def step(facts: dict[str, Any] | None = None) -> Card:
    """Whether a workflow goes on, with the facts for it."""
    base = card({"facts": FACTS if facts is None else facts}, workflow="review")
    call = replace(base.call, tool=confirms("review", "decision"), call_id=step_call("decision", 2))
    base = replace(base, call=call, description="Let the workflow go on.")
    stages = (Stage("risk", ("U0ALICE",)), Stage("legal", ("U0BOB",)))
    risk = "We will do business with them."
    return under(base, stages=stages, four_eyes=True, reason_required=True, risk=risk)


def _passed(base: Card) -> Card:
    """Legal has said yes as well."""
    verdict = replace(YES, by=BOB)
    votes = (*base.approval.votes, Vote(BOB, NOW, 1))
    given = on(base, lambda approval: replace(approval, status=S.APPROVED, verdict=verdict, votes=votes))
    result = {"confirmed": True, "facts": FACTS, "by": [{"id": "U0ALICE", "stage": "risk"}]}
    came = Outcome(K.SUCCEEDED, result)
    call = replace(given.call, status=C.SETTLED, outcome=came, started_at=NOW, settled_at=NOW)
    return replace(given, call=call, run_status=RunStatus.RUNNING)
