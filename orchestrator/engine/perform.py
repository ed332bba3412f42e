"""One effect, one act on the world, one event back.

Commit, then act; act, then commit. An effect may be performed more than once; what it comes to is
decided once, by the run's state and the claims.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy.orm import Session

from orchestrator.domain.effects import EffectKind, parse_attempt, parse_notice
from orchestrator.domain.events import (
    ApprovalExpired,
    CreateGraceEnded,
    ForgettingNear,
    ReminderDue,
    RunOverdue,
)
from orchestrator.domain.model import Policy, Recipe
from orchestrator.engine.armed import Armed, FeedPort
from orchestrator.engine.batches import Batches
from orchestrator.engine.callbacks import CallbackPort, Callbacks
from orchestrator.engine.calls import Calls
from orchestrator.engine.commits import LEASE, Commits
from orchestrator.engine.copies import Copies
from orchestrator.engine.digests import Digests
from orchestrator.engine.hearing import Hearing
from orchestrator.engine.inquiries import Inquiries
from orchestrator.engine.interactions import Interactions
from orchestrator.engine.limits import Ceilings
from orchestrator.engine.longjobs import LongJobs, NoJobs
from orchestrator.engine.media import Media
from orchestrator.engine.ports import Clock, GeminiPort, JobsPort, PicturesPort, SlackPort, ToolkitPort
from orchestrator.engine.previews import Previews
from orchestrator.engine.questions import Questions
from orchestrator.engine.restarting import acted, restart, wanted_by
from orchestrator.engine.steps import Steps
from orchestrator.engine.tickets import Act, Gate, Ticket
from orchestrator.engine.triggers import Triggers
from orchestrator.store import outbox, runs
from orchestrator.store.callbacks import Patience
from orchestrator.store.database import Database
from orchestrator.store.outbox import Claimed

log = structlog.get_logger(__name__)

_RENEWALS: Final = 3
"""Per lease, so that one that fails is not the end of it."""


class Performer:
    """Performs claimed effects against Gemini, Slack and the tools.

    Args:
        slack: None where no Slack is set up; approvals are then decided over the API.
        link: Makes the address of a run's page from its id; empty without a public address.
        file_link: The same of a stored file, from its path.
        roll: Dice for the backoff, in [0, 1).
        limits: On single tools and workflows, over all processes.
        hearing: On readings, over all processes.
        recipe: The workflow of that name as it stands now; None for one that is no longer configured.
        long_jobs: Gemini's videos and batches; without, none is made.
        pictures: Who makes pictures of stored files, for people who choose among them.
        armed: What starts runs by itself, with who reads feeds for it.
        callbacks: Who sends news to callers; None where nothing signs them.
        patience: For how long that is tried.
    """

    def __init__(
        self,
        database: Database,
        gemini: GeminiPort,
        toolkit: ToolkitPort,
        slack: SlackPort | None,
        *,
        policy: Policy,
        clock: Clock,
        link: Callable[[str], str] = lambda run_id: "",
        file_link: Callable[[str], str] = lambda path: "",
        roll: Callable[[], float] = random.random,
        lease: timedelta = LEASE,
        limits: Ceilings | None = None,
        hearing: Hearing | None = None,
        recipe: Callable[[str], Recipe | None] = lambda workflow: None,
        long_jobs: JobsPort | None = None,
        pictures: PicturesPort | None = None,
        armed: Iterable[Armed] = (),
        feeds: FeedPort | None = None,
        callbacks: CallbackPort | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._recipe = recipe
        self.commits = Commits(database, policy=policy, clock=clock, roll=roll, lease=lease, hearing=hearing)
        limits = limits or Ceilings()
        self.calls = Calls(self.commits, toolkit, limits)
        interactions = Interactions(self.commits, gemini, toolkit, limits)
        questions = Questions(self.commits, slack, toolkit, link, file_link)
        batches = Batches(self.commits, slack, toolkit, questions.card, link)
        copies = Copies(self.commits, slack, questions.card)
        digests = Digests(self.commits, slack, link)
        inquiries = Inquiries(self.commits, slack, questions.card)
        waiting = LongJobs(self.commits, long_jobs or NoJobs())
        steps = Steps(self.commits, toolkit, recipe)
        self.triggers = Triggers(self.commits, armed, feeds, roll)
        self._gates: Mapping[EffectKind, Gate] = {
            EffectKind.CREATE_INTERACTION: interactions.create,
            EffectKind.FETCH_INTERACTION: interactions.fetch,
            EffectKind.CANCEL_INTERACTION: interactions.cancel,
            EffectKind.PREVIEW_CALL: Previews(self.commits, toolkit).preview,
            EffectKind.EXECUTE_TOOL: self.calls.execute,
            EffectKind.REQUEST_APPROVAL: questions.request,
            EffectKind.UPDATE_APPROVAL: questions.update,
            EffectKind.UPLOAD_MEDIA: Media(self.commits, slack, questions.card, pictures).show,
            EffectKind.NOTIFY_APPROVAL: questions.notify,
            EffectKind.POST_BATCH: batches.post,
            EffectKind.UPDATE_BATCH: batches.update,
            EffectKind.POST_DIGEST: digests.post,
            EffectKind.UPDATE_DIGEST: digests.update,
            EffectKind.SPREAD_APPROVAL: copies.spread,
            EffectKind.COPY_APPROVAL: copies.copy,
            EffectKind.POST_INQUIRY: inquiries.post,
            EffectKind.UPDATE_INQUIRY: inquiries.update,
            EffectKind.EXPIRE_APPROVAL: self._expire,
            EffectKind.REMIND_APPROVAL: self._remind,
            EffectKind.END_CREATE_GRACE: self._end_grace,
            EffectKind.END_RUN: self._end_run,
            EffectKind.RESTART_RUN: self._restart_run,
            EffectKind.WARN_FORGETTING: self._warn,
            EffectKind.FIRE_TRIGGER: self.triggers.gate,
            EffectKind.SEND_CALLBACK: Callbacks(self.commits, callbacks, patience or Patience()).send,
            EffectKind.START_JOB: waiting.start,
            EffectKind.FETCH_JOB: waiting.fetch,
            EffectKind.STORE_JOB: waiting.store,
            EffectKind.CANCEL_JOB: waiting.cancel,
            EffectKind.END_JOB_GRACE: waiting.end_grace,
            EffectKind.BEGIN_STEP: steps.begin,
            EffectKind.START_HOOK: steps.follow,
        }
        self.commits.gate = self._gate

    async def perform(self, ticket: Ticket) -> None:
        """Do it, and commit what came of it. An unforeseen failure leaves it to be tried again.

        The lease is renewed for as long as that takes, so that only a process that is gone loses it.
        """
        effect = ticket.effect
        if not await self._still_ours(effect):
            return
        holding = asyncio.create_task(self._hold(effect))
        try:
            await ticket.act()
        except Exception as e:
            log.exception("effect_failed", kind=effect.kind, run_id=effect.run_id, subject=effect.subject)
            await self.commits.again(effect, f"{type(e).__name__}: {e}")
        finally:
            holding.cancel()

    async def _still_ours(self, effect: Claimed) -> bool:
        """Whether nobody took it over while this process stood still, before anything was done about it."""
        if self.commits.now() < effect.until or await self.commits.still_ours(effect):
            return True
        log.warning("claim_lost", kind=effect.kind, run_id=effect.run_id, subject=effect.subject)
        if effect.kind is EffectKind.EXECUTE_TOOL:
            await self.calls.not_begun(effect)
        return False

    def _gate(self, s: Session, effect: Claimed) -> Act | None:
        return self._gates[effect.kind](s, effect)

    def stop_tools(self, run_id: str) -> None:
        """Tell the tools that run for this run that nobody wants their result any more."""
        self.calls.stop(run_id)

    async def _hold(self, effect: Claimed) -> None:
        """Renew the lease. A failing database is asked again while the lease still runs."""
        commits = self.commits
        while True:
            await asyncio.sleep(commits.lease.total_seconds() / _RENEWALS)
            try:
                await commits.write(outbox.renew, effect, commits.now(), commits.lease)
                if effect.kind is EffectKind.EXECUTE_TOOL and await commits.read(runs.closed, effect.run_id):
                    self.stop_tools(effect.run_id)  # cancelled in another process
            except Exception:
                log.exception("lease_not_renewed", run_id=effect.run_id, subject=effect.subject)

    def _expire(self, s: Session, effect: Claimed) -> None:
        self.commits.settle(s, effect, ApprovalExpired(effect.subject))

    def _remind(self, s: Session, effect: Claimed) -> None:
        approval, number = parse_notice(effect.subject)
        self.commits.settle(s, effect, ReminderDue(approval, int(number)))

    def _end_grace(self, s: Session, effect: Claimed) -> None:
        self.commits.settle(s, effect, CreateGraceEnded(*parse_attempt(effect.subject)))

    def _end_run(self, s: Session, effect: Claimed) -> None:
        self.commits.settle(s, effect, RunOverdue(self.commits.now()))

    def _restart_run(self, s: Session, effect: Claimed) -> None:
        """In one transaction, which a crash undoes whole; what came before it, a cancel for one, has won."""
        run = runs.load(s, effect.run_id)
        outbox.done(s, effect)
        if (by := wanted_by(run, effect.subject)) is not None:
            # What a changed workflow would do once more, the one the run was begun with goes on behind.
            current = self._recipe(run.recipe.workflow)
            recipe = run.recipe if current is None or acted(run) else current
            now = self.commits.now()
            restart(s, run.id, recipe, by, policy=self.commits.policy(s), now=now)
            log.info("run_restarted", run_id=run.id, by=by.id)

    def _warn(self, s: Session, effect: Claimed) -> None:
        self.commits.settle(s, effect, ForgettingNear(effect.subject))
