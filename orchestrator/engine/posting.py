"""Posting to Slack once, and in turn: when a post is tried again, and how an earlier try is found."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy.orm import Session

from orchestrator.domain.consent import Place
from orchestrator.domain.effects import LOOK_AGAIN, EffectKind
from orchestrator.domain.events import Event
from orchestrator.engine.commits import Commits
from orchestrator.engine.lines import Lines
from orchestrator.engine.tickets import Act
from orchestrator.errors import (
    RejectedError,
    UnavailableError,
    UncertainError,
    UnfamiliarError,
    UnreachedError,
)
from orchestrator.store import claims
from orchestrator.store.claims import Claimed

PATIENT: Final = 3
"""So many tries of one others wait for; what is wrong may be with it alone, so then they go on."""
UNFAMILIAR_TRIES: Final = 20
"""Of what Slack refuses by a word we do not know, over some minutes; then that is final like any other no."""
_REDRAWINGS: Final = (EffectKind.UPDATE_BATCH, EffectKind.UPDATE_DIGEST)
"""What no question waits for, so that it can be left to a person."""


def in_turn(commits: Commits, s: Session, effect: Claimed, line: str, act: Act) -> Act | None:
    """What writes to one place in Slack, if it may now; else it is put off, and takes up no slot.

    Args:
        line: The channel's id, or that of the person whose direct messages it is.
    """
    lines = commits.lines
    if lines is None or not line:
        return act
    if not lines.admit(s, effect, line, commits.now()):
        return None
    return partial(_in_turn, commits, lines, line, act)


async def _in_turn(commits: Commits, lines: Lines, line: str, act: Act) -> None:
    """Where the last step is lost in a crash, whoever is next comes at the time it was told."""
    await act()
    await commits.write(lambda s: lines.left(s, line, commits.now()))


def maybe_posted(effect: Claimed) -> bool:
    """Whether it may be there already; of one that was asked for once more, since long ago."""
    return effect.attempts > 1 or effect.wanted > 1


@contextmanager
def unfamiliar_may_pass(effect: Claimed) -> Iterator[None]:
    """A refusal by a word we do not know comes out as `UnavailableError`, until its tries are over.

    Tries that failed for another reason count as well: the row holds no second number, and all that may come
    of it is that a person sees the effect among those given up a little sooner.
    """
    try:
        yield
    except UnfamiliarError as e:
        if effect.attempts >= UNFAMILIAR_TRIES:
            raise
        raise UnavailableError(str(e)) from e


async def not_posted(
    commits: Commits, effect: Claimed, error: UnavailableError | UncertainError, *, counts: bool = False
) -> None:
    """Not said, so tried again; or nobody knows, so looked for first. Those behind it wait with it.

    Args:
        counts: A try that was told to wait, or reached nobody, counts as well: some of it may be said, or
            the tries are numbered.
    """
    if isinstance(error, UncertainError):
        due_at, counts = commits.now() + LOOK_AGAIN, True
    else:
        # To look for it spends a read, of which an app that Slack does not list has one a minute. So a try
        # counts only where the pause grows by it: a Slack that is not reached is left alone by its breaker.
        told = error.retry_after is not None or isinstance(error, UnreachedError)
        due_at, counts = commits.later(effect, error), counts or not told
    await commits.write(_not_said, commits, effect, due_at, str(error), counts)


def _not_said(
    s: Session, commits: Commits, effect: Claimed, due_at: datetime, why: str, counts: bool
) -> None:
    ours = claims.retry(s, effect, due_at, why, counts=counts)
    if ours and commits.lines is not None and effect.attempts <= PATIENT:
        commits.lines.wait(s, effect, due_at, commits.now())


async def redrawn(
    commits: Commits, effect: Claimed, drawing: Awaitable[None], refused: Callable[[str], None]
) -> bool:
    """Whether it is, or never will be; what comes of the effect otherwise is written down."""
    try:
        with unfamiliar_may_pass(effect):
            await drawing
    except (UnavailableError, UncertainError) as e:
        await commits.again(effect, str(e), e)
        return False
    except RejectedError as e:
        refused(str(e))
        if isinstance(e, UnfamiliarError) and effect.kind in _REDRAWINGS:
            await commits.write(claims.give_up, effect, str(e))
            return False
    return True


async def adopt_message(
    commits: Commits, effect: Claimed, look: Awaitable[Place | None], seen: Callable[[Place], Event]
) -> None:
    """Where an earlier try may have put it is written down, so that no live button stays there."""
    try:
        with unfamiliar_may_pass(effect):
            place = await look
    except UnavailableError as e:
        await commits.again(effect, str(e), e)
        return
    except RejectedError:
        place = None
    if place is None:
        await commits.done(effect)
    else:
        await commits.conclude(effect, seen(place))
