"""What a local Slack workspace is made of: its app, its people, its channels. Values only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SlackUser:
    """A person in the workspace; `id` is what a mention `<@U…>` and a click carry."""

    id: str
    name: str
    display_name: str


@dataclass(frozen=True)
class SlackChannel:
    """A channel. `members` is None when everybody in the workspace is in it."""

    id: str
    name: str
    bot_is_member: bool = True
    is_private: bool = False
    is_archived: bool = False
    members: frozenset[str] | None = None


@dataclass(frozen=True)
class SlackUserGroup:
    """A user group, mentioned as `<!subteam^S…>` and shown by its handle."""

    id: str
    handle: str
    users: tuple[str, ...] = ()


PEOPLE = (
    SlackUser("U0ALICE", "alice", "Alice Approver"),
    SlackUser("U0BOB", "bob", "Bob Reviewer"),
    SlackUser("U0DANA", "dana", "Dana Requester"),
)
CHANNELS = (
    SlackChannel("C0APPR", "approvals"),
    SlackChannel("C0GENERAL", "general", bot_is_member=False),
)
GROUPS = (SlackUserGroup("S0APPROVERS", "approvers", ("U0ALICE", "U0BOB")),)


@dataclass(frozen=True)
class SlackEmulatorSettings:
    """Everything a local Slack is told before it starts.

    `base_url` is this server's own address, used in `response_url`s and permalinks; None learns it from
    the `Host` of the latest request. `interactivity_url` may be set later. `answer_seconds` is how long
    an interactivity post may take (Slack: 3 s); `rate_limits` turns the published tiers on.
    """

    bot_token: str = "xoxb-local"  # noqa: S105  a local stand-in's token protects nothing
    signing_secret: str = "local-signing-secret"  # noqa: S105  same
    team_id: str = "T0LOCAL"
    team_domain: str = "local"
    app_id: str = "A0LOCAL"
    app_name: str = "Approvals"
    bot_user_id: str = "U0BOT"
    bot_id: str = "B0BOT"
    users: tuple[SlackUser, ...] = PEOPLE
    channels: tuple[SlackChannel, ...] = CHANNELS
    user_groups: tuple[SlackUserGroup, ...] = GROUPS
    interactivity_url: str | None = None
    base_url: str | None = None
    rate_limits: bool = False
    answer_seconds: float = 3.0
