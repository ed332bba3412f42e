"""Who is in which Slack user group: asked of Slack, remembered for a while.

A group that cannot be read has no members: nobody becomes an approver because Slack is down, the group is
gone, or the plan has none. Nor does anybody get by a group whose members may never decide: while that cannot
be read, who might be in it decides nothing.

Source: Slack, `usergroups.users.list` (scope `usergroups:read`; paid plans).
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from orchestrator.domain.terms import is_group
from orchestrator.errors import OrchestratorError, UnavailableError
from orchestrator.slack.web_api import WebApi

AGE: Final = timedelta(minutes=5)
"""How long a list of members is believed; an answer counts under the members of then."""
WITHIN_SECONDS: Final = 1.5
"""For all the groups of one click, which Slack wants answered within three."""

log = structlog.get_logger(__name__)


class Groups:
    """The members of user groups, by one bot token."""

    def __init__(self, api: WebApi, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._clock = clock
        self._known: dict[str, tuple[datetime, frozenset[str]]] = {}

    async def of(self, user: str, among: Collection[str], never: Collection[str] = ()) -> tuple[str, ...]:
        """Those entries of `among` that are groups this person is in, as far as Slack tells in time.

        Args:
            user: A Slack user id; anybody else is in no group.
            never: Entries that keep a person from deciding.

        Raises:
            UnavailableError: One of `never` cannot be read.
        """
        groups = sorted({entry for entry in (*among, *never) if is_group(entry)})
        if not groups or not user.startswith(("U", "W")):
            return ()
        members: Sequence[frozenset[str] | None] = [None] * len(groups)
        try:
            async with asyncio.timeout(WITHIN_SECONDS):
                members = await asyncio.gather(*(self._members(group) for group in groups))
        except TimeoutError:
            log.warning("slack_groups_unread", reason="no answer in time", groups=groups)
        known = dict(zip(groups, members, strict=True))
        if any(known[entry] is None for entry in never if entry in known):
            raise UnavailableError("Slack does not tell who may never decide here; nothing was recorded")
        return tuple(group for group, found in known.items() if found is not None and user in found)

    async def members(self, groups: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Who is in those groups; nobody in one that cannot be read."""
        found = await asyncio.gather(*(self._members(group) for group in groups))
        return {group: tuple(sorted(people or ())) for group, people in zip(groups, found, strict=True)}

    async def _members(self, group: str) -> frozenset[str] | None:
        """None where it cannot be read."""
        known = self._known.get(group)
        if known is not None and self._clock() - known[0] < AGE:
            return known[1]
        try:
            answer = await self._api.call("usergroups_users_list", usergroup=group)
        except OrchestratorError as e:
            log.warning("slack_group_unread", group=group, reason=str(e))
            return None
        listed = answer.get("users")
        if not isinstance(listed, list):
            log.warning("slack_group_unread", group=group, reason="an answer without users")
            return None
        members = frozenset(u for u in listed if isinstance(u, str))
        self._known[group] = (self._clock(), members)
        return members
