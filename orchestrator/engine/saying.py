"""Saying a thing in Slack once: when it is tried again, and how an earlier try is found."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from orchestrator.domain.consent import Place
from orchestrator.domain.events import Event
from orchestrator.engine.commits import Commits
from orchestrator.errors import RejectedError, UnavailableError, UncertainError
from orchestrator.store import outbox
from orchestrator.store.outbox import Claimed

LOOK_AGAIN: Final = timedelta(seconds=2)
"""Before a post whose answer got lost is looked for (Slack needs a moment to show it)."""


def maybe_said(effect: Claimed) -> bool:
    """Whether it may be there already; of one that was asked for once more, since long ago."""
    return effect.attempts > 1 or effect.wanted > 1


async def not_said(commits: Commits, effect: Claimed, error: UnavailableError | UncertainError) -> None:
    """Not said, so tried again; or nobody knows, so looked for first."""
    if isinstance(error, UncertainError):
        await commits.write(outbox.retry, effect, commits.now() + LOOK_AGAIN, str(error))
    else:
        await commits.again(effect, str(error), error)


async def take_up(
    commits: Commits, effect: Claimed, look: Awaitable[Place | None], seen: Callable[[Place], Event]
) -> None:
    """Where an earlier try may have put it is written down, so that no live button stays there."""
    try:
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
