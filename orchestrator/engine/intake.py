"""The one way in: whatever somebody wants is recorded and decided, then the worker is told.

Every door (HTTP, webhook, Slack, shell) ends here. Answers are values; the doors word them.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from orchestrator import failpoints
from orchestrator.domain.consent import Actor, Place, Terms, Verdict
from orchestrator.domain.events import ApprovalCopied, AttentionResolved, CancelRequested, Choice
from orchestrator.domain.model import Policy, Recipe, Run
from orchestrator.domain.plain import JsonObject
from orchestrator.engine import answers, step, webhooks
from orchestrator.engine.answers import Decided as Decided
from orchestrator.engine.commits import Commits
from orchestrator.engine.ports import Clock, ToolkitPort
from orchestrator.engine.restarting import Started, WantedRun, restart, start
from orchestrator.engine.resubmitting import resubmit
from orchestrator.errors import ConflictError
from orchestrator.store import inbox, questions
from orchestrator.store.batched_writes import BatchedWrites
from orchestrator.store.database import Database

log = structlog.get_logger(__name__)
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Intake:
    """Takes wishes and facts from the doors.

    Args:
        wake: Called after each commit that may have made work.
        mail: Called instead after a webhook was stored.
        stop_tools: Called with a run's id after it was cancelled.
        commits: Of the performer in this process, which goes straight on with what a wish makes due;
            without one, or without room there, it stays a row for whoever works.
        repeated: Told of webhooks that had come before, as `inbox.put` says; from any thread.
        toolkit: Where the terms of this moment and other arguments are looked up.
        untold: Told how many answers were turned away and not written down any more.
    """

    def __init__(
        self,
        database: Database,
        *,
        policy: Policy,
        clock: Clock,
        wake: Callable[[], None],
        mail: Callable[[], None] | None = None,
        stop_tools: Callable[[str], None],
        commits: Commits | None = None,
        repeated: inbox.Counts = lambda again, other: None,
        toolkit: ToolkitPort | None = None,
        untold: Callable[[int], None] = lambda many: None,
    ) -> None:
        self._db = database
        self._policy = policy
        self._clock = clock
        self._mail = mail or wake
        self._stop_tools = stop_tools
        self._toolkit, self._untold = toolkit, untold
        self._commits = commits or Commits(database, policy=policy, clock=clock)
        if commits is None:
            self._commits.expect = lambda due: wake()
        self._deliveries = BatchedWrites(database, partial(webhooks.keep, repeated=repeated))

    async def start(
        self,
        recipe: Recipe,
        text: str,
        requester: Actor,
        *,
        owner: str = "",
        idempotency_key: str | None = None,
    ) -> Started:
        """Open a run.

        Args:
            text: The input as the model will read it.
            owner: Whose idempotency keys these are, a token's name.
            idempotency_key: The same key and the same request give the same run.

        Raises:
            ConflictError: The key was used for another request.
        """
        told = (f"\0{c.url}\0{' '.join(c.events)}" for c in recipe.callbacks if c.own)
        body = f"{recipe.workflow}\0{text}{''.join(told)}".encode()
        wish = WantedRun(recipe, text, requester, owner, idempotency_key, hashlib.sha256(body).hexdigest())
        try:
            started = await self._commits.advance(partial(start, wish=wish, now=self._clock()))
        except IntegrityError:  # another process took the same key in this very moment
            started = await self._commits.advance(partial(start, wish=wish, now=self._clock()))
        failpoints.hit("after_run_stored")
        return started

    async def deliver(
        self,
        *,
        webhook_id: str,
        kind: str,
        subject: str,
        timestamp: int,
        body: bytes,
        scheme: str = "v1",
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> None:
        """Keep a verified webhook; returns after the commit.

        Args:
            scheme: Which kind of signature was good.
            headers: Those worth keeping; short and printable.
        """
        now = self._clock()
        arrived = inbox.Arrived(
            webhook_id, kind, subject, timestamp, body, now, scheme=scheme, headers=headers
        )
        await self._deliveries.put(arrived)
        failpoints.hit("after_delivery_stored")
        self._mail()

    async def decide(
        self,
        approval_id: str,
        *,
        approve: bool,
        by: Actor,
        entitled_as: str,
        digest: str | None,
        reason: str = "",
        refine: bool = False,
        answer: Any = None,
        stop: bool = False,
        standing: Collection[str] = (),
    ) -> Decided:
        """A person's answer to a question, by whichever door. The first valid one stands.

        Args:
            entitled_as: Who they are among approvers: a Slack user id or `api:<token>`.
            digest: At least 16 characters of the digest they were shown; None takes the current
                one, for a door that shows the question and takes the answer in one.
            refine: Not approved, but a plan sent back: the reason says what to change.
            answer: Not approved, but answered with this JSON value, in the tool's place.
            stop: With a rejection: the whole run ends.
            standing: The user groups they are in at this moment.

        Raises:
            NotFoundError: There is no such approval.
            InvalidError: `answer` is none to this question; names what does not fit.
        """
        verdict = Verdict(approve, by, self._clock(), reason, refine, answer, stop)
        person = answers.Person(by, entitled_as, tuple(standing), digest)
        job = partial(
            answers.decide, approval_id=approval_id, person=person, verdict=verdict, context=self._context()
        )
        # A tool that is claimed with a decision would be in doubt if the process ended here.
        advance = partial(self._commits.advance, partial(_of_run, job), tools=False)
        taken = await (self._commits.write(job) if approve else advance())
        self._taken(taken)
        if stop and taken.refused is None:
            self._stop_tools(taken.run)
        return taken

    async def decide_all(
        self,
        asked: Sequence[tuple[str, str]],
        *,
        approve: bool,
        by: Actor,
        entitled_as: str,
        reason: str = "",
        standing: Collection[str] = (),
    ) -> tuple[Decided, ...]:
        """One person's word about several questions, each decided by itself, in one transaction.

        One that has changed or was decided meanwhile is refused, the others count. The arguments as in
        `decide`.

        Args:
            asked: The questions, each with at least 16 characters of the digest that was shown.

        Raises:
            NotFoundError: One of them does not exist; then nothing is recorded.
        """
        verdict = Verdict(approve, by, self._clock(), reason)
        person = answers.Person(by, entitled_as, tuple(standing))
        taken = await self._commits.write(answers.decide_all, asked, person, verdict, self._context())
        self._taken(*taken)
        return taken

    async def edit(
        self,
        approval_id: str,
        arguments: JsonObject,
        *,
        by: Actor,
        entitled_as: str,
        digest: str | None,
        reason: str = "",
        standing: Collection[str] = (),
    ) -> Decided:
        """Other arguments for the call in question: a new proposal, and its author's yes where terms say so.

        The arguments as in `decide`. The answer tells of the question as it is asked now.

        Raises:
            NotFoundError: There is no such approval.
            InvalidError: They do not fit the tool; names what does not.
        """
        person = answers.Person(by, entitled_as, tuple(standing), digest)
        answer = await self._commits.write(
            answers.edit, approval_id, person, arguments, reason, self._context()
        )
        self._taken(answer)
        return answer

    async def decide_each(self, wishes: Sequence[answers.Wish]) -> tuple[Decided | None, ...]:
        """Decisions that have nothing to do with each other: each passes the gate as if it came alone.

        All are recorded or, if the database fails meanwhile, none; one that is refused takes nothing from
        the others. None for an approval there is not.
        """
        taken = await self._commits.write(answers.decide_each, wishes, self._context())
        self._taken(*(answer for answer in taken if answer is not None))
        return taken

    async def ask_back(
        self, approval_id: str, text: str, *, by: Actor, entitled_as: str, standing: Collection[str] = ()
    ) -> Decided:
        """A question of somebody who may decide to whoever asked for the run. The arguments as in `decide`.

        Raises:
            NotFoundError: There is no such approval.
        """
        person = answers.Person(by, entitled_as, tuple(standing))
        taken = await self._commits.write(answers.ask_back, approval_id, person, text, self._context())
        self._taken(taken)
        return taken

    async def answer_back(
        self, approval_id: str, number: int, text: str, *, by: Actor, entitled_as: str
    ) -> Decided:
        """The answer of whoever asked for the run; the first one stands. Raises as `ask_back`."""
        person = answers.Person(by, entitled_as)
        taken = await self._commits.write(
            answers.answer_back, approval_id, number, person, text, self._context()
        )
        self._taken(taken)
        return taken

    def _taken(self, *taken: Decided) -> None:
        """After the commit."""
        failpoints.hit("after_decision")
        if many := sum(answer.untold for answer in taken):
            self._untold(many)

    async def stray(self, approval_id: str, place: Place) -> bool:
        """A message of ours shows that question; where nobody knew of it, it is redrawn from now on.

        Such a one is left by a post whose answer got lost, and which could not be looked for.
        """

        def job(s: Session) -> bool:
            found = questions.load_approval(s, approval_id)
            if found is None or not questions.is_stray(s, approval_id, place.channel, place.ts):
                return False
            event = ApprovalCopied(approval_id, place.person, place.channel, place.ts)
            step.apply(s, found[2], event, policy=self._policy, now=self._clock())
            return True

        if await self._db.read(questions.is_stray, approval_id, place.channel, place.ts):
            return await self._commits.write(job)
        return False

    async def terms_now(self, approval_id: str) -> Terms | None:
        """Under which terms the same would be asked at this moment; None where that is not known."""
        return await self._db.read(answers.terms_now, approval_id, self._context())

    def _context(self) -> answers.DecisionContext:
        return answers.DecisionContext(self._toolkit, self._policy, self._clock())

    async def cancel(self, run_id: str, by: Actor, reason: str = "") -> Run:
        """Stop a run; from here on nothing starts for it.

        Raises:
            NotFoundError: There is no such run.
            ConflictError: It ended before, otherwise than by a cancel.
        """
        applied = await self._apply(run_id, CancelRequested(by, reason))
        failpoints.hit("after_cancel_stored")
        self._stop_tools(run_id)
        if applied.refused and applied.run.status != "cancelled":
            raise ConflictError(f"the run is already {applied.run.status}")
        return applied.run

    async def resolve(
        self, run_id: str, choice: Choice, by: Actor, *, call: str = "", result: str | JsonObject = ""
    ) -> Run:
        """A person settles what no machine could know.

        Raises:
            NotFoundError: There is no such run.
            ConflictError: Nothing of that kind is in doubt there.
        """
        applied = await self._apply(run_id, AttentionResolved(choice, by, call, result))
        if applied.refused:
            raise ConflictError(applied.note)
        return applied.run

    async def restart(self, run_id: str, recipe: Recipe, by: Actor) -> Started:
        """Open a run that takes up the work of one that ended, or that waits for a person and is then closed.

        Its input is the earlier request with a record of what was done. Doing so twice is doing it once.

        Args:
            recipe: The workflow as it stands now.

        Raises:
            NotFoundError: There is no such run.
            ConflictError: It is still at work, or it completed.
        """
        now = self._clock()

        def job(s: Session) -> tuple[str, Started]:
            return restart(s, run_id, recipe, by, policy=self._policy, now=now)

        started = await self._commits.advance(job)
        failpoints.hit("after_run_stored")
        return started

    async def resubmit(self, job_id: str, by: Actor) -> Started:
        """Open a run that asks once more for the unanswered lines of a batch, or for the lost films of the
        call of the one that is named; twice is once.

        Raises:
            NotFoundError: There is no such job.
            ConflictError: It has not ended, nothing of it is lost or unanswered, or no tool is there for it.
        """
        job = partial(resubmit, job_id=job_id, by=by, toolkit=self._toolkit, clock=self._clock)
        try:
            started = await self._commits.advance(job)
        except IntegrityError:  # another process was asked in this very moment
            started = await self._commits.advance(job)
        failpoints.hit("after_run_stored")
        return started

    async def _apply(self, run_id: str, event: CancelRequested | AttentionResolved) -> step.Applied:
        now = self._clock()
        return await self._commits.write(step.apply, run_id, event, policy=self._policy, now=now)


def _of_run(job: Callable[[Session], Decided], s: Session) -> tuple[str | None, Decided]:
    """As `Commits.advance` takes it."""
    answer = job(s)
    return answer.run or None, answer
