"""How long a question stays open, and when people are reminded of it. Every moment here is a row.

asked ──reminders──► its time is up ─┬─ reject ──────────────────────────────────────────► lapsed
                                     ├─ escalate ── others too, with as much time again ──► lapsed
                                     └─ attention ─ the run waits for a person ───────────► lapsed

`attention` needs no state of its own: nothing ran and nothing is in doubt, so the question stays open,
its buttons stay good and the call keeps waiting for an approval. What says that people must look is
`Approval.escalated` under these terms; the run's status follows from it. It lapses when no answer can be
handed back any more. Lapsed, the model is told of a timeout, never of a person's no.

With a calendar all this time is counted in its hours, up to the instant at which it lapses. A notice that
falls into quiet hours comes at their end; where the question lapses before that, it comes shortly before
they begin, or, if they were on already when it was asked, when it would have come. How the question goes on
from the channel to the people themselves is told in `escalation`.
"""

from datetime import datetime, timedelta
from typing import Final

from orchestrator.domain.collecting import waits
from orchestrator.domain.consent import Approval, AtTimeout, Stage, Terms
from orchestrator.domain.effects import Effect, EffectKind, notice_subject
from orchestrator.domain.values import replace

FORGETTING: Final = "forgetting"
"""The notice that Gemini soon forgets what waits for the answer."""
OVERDUE: Final = "overdue"
"""The notice that nobody has decided in time; a reminder is noticed by its number."""
AHEAD: Final = timedelta(minutes=1)
"""How long before quiet hours a notice comes that cannot wait for their end."""


def left_to_a_person(approval: Approval | None) -> bool:
    """Whether its time was up and the run waits in `attention` for somebody to see to it."""
    return (
        approval is not None
        and approval.open
        and approval.escalated
        and approval.terms.at_timeout is AtTimeout.ATTENTION
    )


def reminders(approval: Approval) -> tuple[tuple[int, datetime], ...]:
    """Number and moment of each reminder in the time that runs now; numbers go on after an escalation."""
    if left_to_a_person(approval) or not in_slack(approval):
        return ()
    shares = sorted(approval.terms.reminders)
    before = len(shares) if approval.escalated else 0
    return tuple((before + n, _moment(approval, share)) for n, share in enumerate(shares, 1))


def ends(terms: Terms, since: datetime, latest: datetime | None) -> datetime:
    """When the time of a question is up that begins to run then.

    Args:
        latest: After that no answer is of use; None where nothing says so.
    """
    span, calendar = terms.expires_after, terms.calendar
    end = since + span if calendar is None else calendar.after(since, span)
    return end if latest is None else min(end, latest)


def undisturbed(approval: Approval, at: datetime) -> datetime:
    """When to tell people of a question what is due at `at`, with regard to quiet hours."""
    quiet = approval.terms.quiet_hours
    hours = quiet.around(at) if quiet is not None else None
    if hours is None:
        return at
    begin, end = hours
    if end < approval.expires_at:
        return end
    return begin - AHEAD if begin - AHEAD > _began(approval) else at


def in_slack(approval: Approval) -> bool:
    """Whether people see it in Slack, or will: else nobody is reminded there, and nothing is drawn."""
    terms = approval.terms
    directly = terms.dm_after is not None or (approval.escalated and bool(terms.escalate_to))
    return bool(terms.channel or directly or approval.ts or approval.copies or approval.trouble)


def spreading(approval: Approval, now: datetime) -> datetime | None:
    """When those who may decide are written to directly; None for never. See `escalation`."""
    if left_to_a_person(approval):
        return None
    if unseen(approval):
        return now
    if approval.escalated:
        return undisturbed(approval, now)
    share = approval.terms.dm_after
    return None if share is None else _moment(approval, share)


def unseen(approval: Approval) -> bool:
    """Whether no channel shows it and it is to be shown to the people themselves."""
    return bool(approval.trouble) and not approval.ts and approval.terms.dm_fallback


def _moment(approval: Approval, share: float) -> datetime:
    """When that share of the time that runs now is over, and nobody is disturbed."""
    calendar, since = approval.terms.calendar, _began(approval)
    span = approval.expires_at - since
    worked = calendar.between(since, approval.expires_at) if calendar is not None else span
    if calendar is None or not worked:  # it ends before anybody works again
        return undisturbed(approval, since + span * share)
    return undisturbed(approval, calendar.after(since, worked * share))


def _began(approval: Approval) -> datetime:
    """When the time that runs now began.

    Where Gemini's forgetting cuts a second time short, that may be before it did.
    """
    if not approval.escalated:
        return approval.since or approval.requested_at
    span, calendar = approval.terms.expires_after, approval.terms.calendar
    end = approval.expires_at
    return end - span if calendar is None else calendar.before(end, span)


def place_of(approval: Approval, what: str) -> tuple[int, int] | None:
    """Which of how many reminders of its round a notice is; None for a notice of another kind."""
    of = len(approval.terms.reminders)
    return ((int(what) - 1) % of + 1, of) if what.isdecimal() and of else None


def timers(approval: Approval, now: datetime) -> tuple[Effect, ...]:
    """Its end, and before that the reminders and the direct messages."""
    end = Effect(EffectKind.EXPIRE_APPROVAL, approval.id, approval.expires_at)
    if waits(approval):
        return (end,)
    return (
        end,
        *spread(approval, now),
        *(
            Effect(EffectKind.REMIND_APPROVAL, notice_subject(approval.id, str(n)), at)
            for n, at in reminders(approval)
            if now < at < approval.expires_at
        ),
    )


def spread(approval: Approval, now: datetime) -> tuple[Effect, ...]:
    """Write to those who may decide directly, when it is time or now if it was; nothing where none are."""
    at = spreading(approval, now)
    due = at is not None and at < approval.expires_at
    return (Effect(EffectKind.SPREAD_APPROVAL, approval.id, max(at or now, now)),) if due else ()


def no_timers(approval: Approval) -> tuple[str, ...]:
    """The timers of a question that needs none any more, by their keys."""
    left = [n for n, _ in reminders(approval) if n > approval.reminded]
    spreads = approval.terms.dm_after is not None or approval.escalated or approval.trouble
    return (
        f"{EffectKind.EXPIRE_APPROVAL}:{approval.id}",
        *((f"{EffectKind.SPREAD_APPROVAL}:{approval.id}",) if spreads else ()),
        *(f"{EffectKind.REMIND_APPROVAL}:{notice_subject(approval.id, str(n))}" for n in left),
    )


def notify(approval: Approval, what: str, now: datetime) -> Effect:
    """Tell the people who are asked, where they can see it: in the thread of the question."""
    due_at = max(now, undisturbed(approval, now))
    return Effect(EffectKind.NOTIFY_APPROVAL, notice_subject(approval.id, what), due_at)


def worth_saying(approval: Approval, what: str, now: datetime) -> bool:
    """Whether a notice is still news: the question is open, and it has not been reminded of again since."""
    if not approval.open or now >= approval.expires_at:
        return False
    if what == OVERDUE:
        return approval.escalated
    if what == FORGETTING:
        return True
    return what == str(approval.reminded) and any(what == str(n) for n, _ in reminders(approval))


def prolonged(approval: Approval, latest: datetime | None, now: datetime) -> Approval | None:
    """The question after its first time was up, if its terms give it a second one; else None.

    Args:
        latest: After that no answer is of use; None where nothing says so.
    """
    if approval.escalated or approval.terms.at_timeout is AtTimeout.REJECT:
        return None
    escalates = approval.terms.at_timeout is AtTimeout.ESCALATE
    until = ends(approval.terms, now, latest) if escalates or latest is None else latest
    if until <= now:
        return None
    terms = _widened(approval) if escalates else approval.terms
    return replace(approval, terms=terms, expires_at=until, escalated=True)


def taking_over(approval: Approval, old: Approval) -> Approval:
    """A question in the place of another: it wins nobody more time, and keeps those it was escalated to."""
    new = replace(approval, expires_at=min(approval.expires_at, old.expires_at), escalated=old.escalated)
    escalated = old.escalated and old.terms.at_timeout is AtTimeout.ESCALATE
    return replace(new, terms=_widened(new)) if escalated else new


def asked_now(approval: Approval) -> tuple[str, ...]:
    """Who may decide in the present stage and has not yet, as the terms name them."""
    out = {*approval.terms.never, *(vote.by.id for vote in approval.votes)}
    return tuple(a for a in approval.terms.steps[approval.stage].approvers if a not in out)


def _widened(approval: Approval) -> Terms:
    """Those it is escalated to decide as well, in the present stage."""
    terms = approval.terms
    if not terms.stages:
        return replace(terms, approvers=_with(terms.approvers, terms.escalate_to))
    stages = tuple(
        Stage(s.name, _with(s.approvers, terms.escalate_to), s.quorum) if n == approval.stage else s
        for n, s in enumerate(terms.stages)
    )
    return replace(terms, stages=stages)


def _with(approvers: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*approvers, *more)))
