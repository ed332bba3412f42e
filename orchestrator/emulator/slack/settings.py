"""What a local Slack workspace is made of: its app, its people, its channels. Values only."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SlackUser:
    """A person in the workspace; `id` is what a mention `<@U…>` and a click carry.

    `email` None takes `name@TEAM_DOMAIN.example`. `tz` is an IANA time zone. `team_id` names another
    company's workspace for a guest over Slack Connect; None is this one. A `deleted` person is deactivated.
    """

    id: str
    name: str
    display_name: str
    email: str | None = None
    tz: str = "UTC"
    team_id: str | None = None
    deleted: bool = False


@dataclass(frozen=True)
class SlackChannel:
    """A channel. `members` is None when everybody in the workspace is in it."""

    id: str
    name: str
    bot_is_member: bool = True
    is_private: bool = False
    is_archived: bool = False
    members: frozenset[str] | None = None

    @property
    def is_direct(self) -> bool:
        """Whether it is between the app and one person."""
        return self.id.startswith("D")


@dataclass(frozen=True)
class SlackUserGroup:
    """A user group, mentioned as `<!subteam^S…>` and shown by its handle."""

    id: str
    handle: str
    users: tuple[str, ...] = ()
    disabled: bool = False


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
SCOPES = (
    "chat:write",
    "commands",
    "users:read",
    "users:read.email",
    "usergroups:read",
    "channels:read",
    "groups:read",
    "im:read",
    "channels:history",
    "groups:history",
    "im:history",
    "im:write",
    "files:write",
)


@dataclass
class Switches:
    """What a workspace's owner or the app's maker may turn while it runs.

    Attributes:
        socket_mode: Interactions, commands and events go over sockets, not to the addresses.
        rate_limits: The published rates hold; too fast is 429 with `Retry-After`.
        history_limited: `conversations.history` and `.replies` once a minute and 15 messages a call, as for
            apps sold or shared outside the marketplace.
        paid_plan: User groups exist; off, asking for them answers `plan_upgrade_required`.
        messages_tab: People have direct channels with the app; off, posting there answers
            `messages_tab_disabled`.
        home_tab: The app has a Home tab; off, `views.publish` answers `not_enabled`.
        metadata: Messages may carry metadata; off, posting it answers `metadata_must_be_sent_from_app`.
        scopes: What the bot token may do; a call outside answers `missing_scope`.
    """

    socket_mode: bool = False
    rate_limits: bool = False
    history_limited: bool = False
    paid_plan: bool = True
    messages_tab: bool = True
    home_tab: bool = True
    metadata: bool = True
    scopes: tuple[str, ...] = SCOPES


@dataclass(frozen=True)
class SlackEmulatorSettings:
    """Everything a local Slack is told before it starts.

    `base_url` is this server's own address, used in `response_url`s, permalinks and socket addresses; None
    learns it from the `Host` of the latest request. The three addresses are where interactions, slash
    commands and events are posted; they may be set later. `answer_seconds` is how long such a post may take
    (Slack: 3 s). `switches` is how it starts; `rate_limits` turns the published rates on as well.
    """

    bot_token: str = "xoxb-local"  # noqa: S105  a local stand-in's token protects nothing
    app_token: str = "xapp-local"  # noqa: S105  same
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
    commands: tuple[str, ...] = ("/approvals",)
    interactivity_url: str | None = None
    commands_url: str | None = None
    events_url: str | None = None
    base_url: str | None = None
    rate_limits: bool = False
    answer_seconds: float = 3.0
    switches: Switches = field(default_factory=Switches)

    def email(self, user: SlackUser) -> str:
        """A person's address for mail."""
        return user.email or f"{user.name}@{self.team_domain}.example"
