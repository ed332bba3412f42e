"""The Web API methods about people and user groups. No HTTP in this file.

Source: Slack, Web API reference, `users.*` and `usergroups.*`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.emulator.slack.arguments import Args, is_true
from orchestrator.emulator.slack.settings import SlackUser, SlackUserGroup
from orchestrator.emulator.slack.tickets import Refused
from orchestrator.emulator.slack.workspace import Workspace

Answer = dict[str, Any]


class Directory:
    """Who is in one workspace, as the app may ask."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._switches = workspace.switches

    @property
    def methods(self) -> Mapping[str, Callable[[Args], Answer]]:
        """By name; each gives the answer's fields or raises `Refused`."""
        return {
            "users.info": self._user_info,
            "users.lookupByEmail": self._user_by_email,
            "usergroups.list": self._groups,
            "usergroups.users.list": self._group_users,
        }

    def _user_info(self, args: Args) -> Answer:
        user = self._workspace.users.get(str(args.get("user")))
        if user is None:
            raise Refused("user_not_found")
        return {"user": self._person(user)}

    def _user_by_email(self, args: Args) -> Answer:
        wanted = str(args.get("email")).lower()
        for user in self._workspace.users.values():
            if self._workspace.settings.email(user).lower() == wanted and not user.deleted:
                return {"user": self._person(user)}
        raise Refused("users_not_found")

    def _person(self, user: SlackUser) -> Answer:
        settings = self._workspace.settings
        profile = {"display_name": user.display_name, "real_name": user.display_name}
        if "users:read.email" in self._switches.scopes:
            profile["email"] = settings.email(user)
        return {
            "id": user.id,
            "team_id": user.team_id or settings.team_id,
            "name": user.name,
            "real_name": user.display_name,
            "deleted": user.deleted,
            "is_bot": False,
            "is_stranger": user.team_id is not None,
            "tz": user.tz,
            "profile": profile,
        }

    def _groups(self, args: Args) -> Answer:
        groups = [
            g for g in self._paid_groups().values() if is_true(args.get("include_disabled")) or not g.disabled
        ]
        return {"usergroups": [self._group(group, args) for group in groups]}

    def _group(self, group: SlackUserGroup, args: Args) -> Answer:
        shape: Answer = {
            "id": group.id,
            "team_id": self._workspace.settings.team_id,
            "is_usergroup": True,
            "name": group.handle,
            "handle": group.handle,
            "description": "",
            "is_external": False,
            "date_delete": int(group.disabled),
        }
        if is_true(args.get("include_count")):
            shape["user_count"] = len(group.users)
        return {**shape, "users": list(group.users)} if is_true(args.get("include_users")) else shape

    def _group_users(self, args: Args) -> Answer:
        group = self._paid_groups().get(str(args.get("usergroup")))
        if group is None or (group.disabled and not is_true(args.get("include_disabled"))):
            raise Refused("no_such_subteam")
        return {"users": list(group.users)}

    def _paid_groups(self) -> dict[str, SlackUserGroup]:
        if not self._switches.paid_plan:
            raise Refused("plan_upgrade_required")
        return self._workspace.groups
