"""One effect, one act on the world, one event back.

Commit, then act; act, then commit. An effect may be performed more than once; what it comes to is
decided once, by the run's state and the claims.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import timedelta
from itertools import count
from typing import Any, Final

import structlog
from sqlalchemy.orm import Session
from structlog.contextvars import bound_contextvars

from orchestrator.domain.effects import EffectKind
from orchestrator.domain.model import Policy, Recipe
from orchestrator.engine.armed import Armed, FeedPort
from orchestrator.engine.batches import Batches
from orchestrator.engine.callbacks import CallbackPort, Callbacks
from orchestrator.engine.calls import Calls
from orchestrator.engine.commits import LEASE, Commits, Leases
from orchestrator.engine.copies import Copies
from orchestrator.engine.digests import Digests
from orchestrator.engine.inquiries import Inquiries
from orchestrator.engine.interactions import Interactions
from orchestrator.engine.limits import Ceilings
from orchestrator.engine.lines import Lines
from orchestrator.engine.longjobs import LongJobs, NoJobs
from orchestrator.engine.media import Media
from orchestrator.engine.polling import Polling
from orchestrator.engine.ports import Clock, GeminiPort, JobsPort, PicturesPort, SlackPort, ToolkitPort
from orchestrator.engine.previews import Previews
from orchestrator.engine.questions import Questions
from orchestrator.engine.restarting import Restarts
from orchestrator.engine.steps import Steps
from orchestrator.engine.tickets import Act, Gate, Ticket
from orchestrator.engine.timers import Timers
from orchestrator.engine.triggers import KEEP, Triggers
from orchestrator.failure_streak import FailureStreak
from orchestrator.outages import AWAY
from orchestrator.store import outbox, runs
from orchestrator.store.callbacks import Patience
from orchestrator.store.claims import Claimed
from orchestrator.store.database import Database

log = structlog.get_logger(__name__)

Gates = Mapping[EffectKind, Gate]

_RENEWALS: Final = 3
"""Per lease, so that one that fails is not the end of it."""
HEEDED: Final = timedelta(seconds=2)
"""How soon a tool hears that its run was cancelled in another process, however long its lease is."""


class Performer:
    """Performs claimed effects against Gemini, Slack and the tools.

    Args:
        slack: None where no Slack is set up; approvals are then decided over the API.
        link: Makes the address of a run's page from its id; empty without a public address.
        file_link: The same of a stored file, from its path.
        roll: Dice for the backoff, in [0, 1).
        limits: On single tools and workflows, over all processes.
        polling: On readings, over all processes.
        lines: On messages to one channel, over all processes; without, they go out as they come.
        recipe: The workflow of that name as it stands now; None for one that is no longer configured.
        long_jobs: Gemini's videos and batches; without, none is made.
        pictures: Who makes pictures of stored files, for people who choose among them.
        armed: What starts runs by itself, with who reads feeds for it.
        occurrences: How long is known what that came to.
        callbacks: Who sends news to callers; None where nothing signs them.
        patience: For how long that is tried.
        leases: As for `Commits`.
        outcomes: What came of a decision is said in the thread of the message that asked for it, too.
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
        polling: Polling | None = None,
        lines: Lines | None = None,
        recipe: Callable[[str], Recipe | None] = lambda workflow: None,
        long_jobs: JobsPort | None = None,
        pictures: PicturesPort | None = None,
        armed: Iterable[Armed] = (),
        feeds: FeedPort | None = None,
        occurrences: timedelta = KEEP,
        callbacks: CallbackPort | None = None,
        patience: Patience | None = None,
        leases: Leases | None = None,
        outcomes: bool = False,
    ) -> None:
        commits = Commits(
            database,
            policy=policy,
            clock=clock,
            roll=roll,
            lease=lease,
            polling=polling,
            lines=lines,
            limits=limits,
            leases=leases,
        )
        self.commits = commits
        self.calls = Calls(commits, toolkit)
        self.triggers = Triggers(commits, armed, feeds, roll, occurrences)
        questions = Questions(commits, slack, toolkit, link, file_link, outcomes=outcomes)
        self._gates: Gates = {
            **_thinking(Interactions(commits, gemini, toolkit)),
            **_running(self.calls, Previews(commits, toolkit)),
            **_asking(commits, slack, questions, pictures),
            **_gathering(commits, slack, toolkit, questions, link),
            **_waiting(LongJobs(commits, long_jobs or NoJobs())),
            **_following(Steps(commits, toolkit, recipe), Restarts(commits, recipe), self.triggers),
            **_due(Timers(commits)),
            EffectKind.SEND_CALLBACK: Callbacks(commits, callbacks, patience or Patience()).send,
        }
        commits.gate = self._gate
        self._acting, self._renewing = FailureStreak("effect"), FailureStreak("lease_renewal")

    async def perform(self, ticket: Ticket) -> None:
        """Do it, and commit what came of it. An unforeseen failure leaves it to be tried again.

        The lease is renewed for as long as that takes, so that only a process that is gone loses it; or
        one without the database, which leaves its effects to whoever looks when their leases are over.
        Whatever is logged meanwhile, by a gateway or a tool, says which effect of which run it is about.
        """
        effect, begun = ticket.effect, self._acting.ever
        with bound_contextvars(**_about(effect)):
            try:
                if await self._still_ours(effect):
                    await self._act(ticket)
                    self._acting.worked(begun)
            except AWAY as e:
                self._acting.failed(e, "", begun, **_about(effect))

    async def _act(self, ticket: Ticket) -> None:
        effect = ticket.effect
        holding = Holding(self._hold, effect, looks(effect.kind, self.commits.lease)[0])
        try:
            await ticket.act()
        except AWAY as e:
            await self.commits.again(effect, f"{type(e).__name__}: {e}")
            raise
        except Exception as e:
            log.exception("effect_failed", **_about(effect))
            await self.commits.again(effect, f"{type(e).__name__}: {e}")
        finally:
            holding.end()

    async def _still_ours(self, effect: Claimed) -> bool:
        """Whether nobody took it over while this process stood still, before anything was done about it."""
        if await self.commits.still_ours(effect, effect.until):
            return True
        log.warning("claim_lost", **_about(effect))
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
        pause, renewing = looks(effect.kind, commits.lease)
        for look in count():
            begun = self._renewing.ever
            try:
                if look % renewing == 0:
                    await commits.renewed(effect)
                if effect.kind is EffectKind.EXECUTE_TOOL and await commits.read(runs.closed, effect.run_id):
                    self.stop_tools(effect.run_id)  # cancelled in another process
            except Exception as e:  # noqa: BLE001  told by the streak
                self._renewing.failed(e, "", begun, run_id=effect.run_id, subject=effect.subject)
            else:
                self._renewing.worked(begun)
            await asyncio.sleep(pause.total_seconds())


def _about(effect: Claimed) -> dict[str, str]:
    return {
        "effect": f"{outbox.PREFIX}{effect.id}",
        "kind": effect.kind,
        "run_id": effect.run_id,
        "subject": effect.subject,
    }


def looks(kind: EffectKind, lease: timedelta) -> tuple[timedelta, int]:
    """The pause between two looks after what is being performed, and the how-manieth renews its lease."""
    renewal = lease / _RENEWALS
    pause = min(renewal, HEEDED) if kind is EffectKind.EXECUTE_TOOL else renewal
    return pause, renewal // pause


class Holding:
    """An effect that is being performed; nearly every one is done long before its lease needs renewing.

    Args:
        hold: Renews it, from after `first` on until it is cancelled.
    """

    def __init__(
        self, hold: Callable[[Claimed], Coroutine[Any, Any, None]], effect: Claimed, first: timedelta
    ) -> None:
        self._hold, self._effect = hold, effect
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(first.total_seconds(), self._begin)

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._hold(self._effect))

    def end(self) -> None:
        """It is done, and held no longer."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()


def _thinking(interactions: Interactions) -> Gates:
    """What the model does."""
    return {
        EffectKind.CREATE_INTERACTION: interactions.create,
        EffectKind.FETCH_INTERACTION: interactions.fetch,
        EffectKind.CANCEL_INTERACTION: interactions.cancel,
    }


def _running(calls: Calls, previews: Previews) -> Gates:
    """What tools do, and would do."""
    return {
        EffectKind.PREVIEW_CALL: previews.preview,
        EffectKind.EXECUTE_TOOL: calls.execute,
    }


def _asking(
    commits: Commits, slack: SlackPort | None, questions: Questions, pictures: PicturesPort | None
) -> Gates:
    """One question in Slack, its copies, its pictures, and what is asked back about it."""
    copies = Copies(commits, slack, questions.card)
    inquiries = Inquiries(commits, slack, questions.card)
    return {
        EffectKind.REQUEST_APPROVAL: questions.request,
        EffectKind.UPDATE_APPROVAL: questions.update,
        EffectKind.NOTIFY_APPROVAL: questions.notify,
        EffectKind.UPLOAD_MEDIA: Media(commits, slack, questions.card, pictures).show,
        EffectKind.SPREAD_APPROVAL: copies.spread,
        EffectKind.COPY_APPROVAL: copies.copy,
        EffectKind.POST_INQUIRY: inquiries.post,
        EffectKind.UPDATE_INQUIRY: inquiries.update,
    }


def _gathering(
    commits: Commits,
    slack: SlackPort | None,
    toolkit: ToolkitPort,
    questions: Questions,
    link: Callable[[str], str],
) -> Gates:
    """Messages in Slack over several questions."""
    batches = Batches(commits, slack, toolkit, questions.card, link)
    digests = Digests(commits, slack, link)
    return {
        EffectKind.POST_BATCH: batches.post,
        EffectKind.UPDATE_BATCH: batches.update,
        EffectKind.POST_DIGEST: digests.post,
        EffectKind.UPDATE_DIGEST: digests.update,
    }


def _waiting(jobs: LongJobs) -> Gates:
    """Long jobs at Gemini."""
    return {
        EffectKind.START_JOB: jobs.start,
        EffectKind.FETCH_JOB: jobs.fetch,
        EffectKind.STORE_JOB: jobs.store,
        EffectKind.CANCEL_JOB: jobs.cancel,
        EffectKind.END_JOB_GRACE: jobs.end_grace,
    }


def _following(steps: Steps, restarts: Restarts, triggers: Triggers) -> Gates:
    """What starts runs, or their next step, without a caller."""
    return {
        EffectKind.BEGIN_STEP: steps.begin,
        EffectKind.START_HOOK: steps.follow,
        EffectKind.RESTART_RUN: restarts.restart,
        EffectKind.FIRE_TRIGGER: triggers.gate,
    }


def _due(timers: Timers) -> Gates:
    return {
        EffectKind.EXPIRE_APPROVAL: timers.expire,
        EffectKind.REMIND_APPROVAL: timers.remind,
        EffectKind.END_CREATE_GRACE: timers.end_grace,
        EffectKind.END_RUN: timers.end_run,
        EffectKind.WARN_FORGETTING: timers.warn,
    }
