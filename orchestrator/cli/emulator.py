"""`orchestrator emulator`: the stand-in Gemini and the local Slack, for trying things."""

import asyncio
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import rich_click as click

# Standard library only, and their tables are the help.
from orchestrator.emulator.gemini import faults as kinds
from orchestrator.emulator.gemini import jobkinds
from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from orchestrator.emulator.gemini.settings import EmulatorSettings
    from orchestrator.emulator.slack.settings import SlackEmulatorSettings

HELP_WIDTH: Final = 74
GROUPS: Final[tuple[tuple[str, Mapping[str, str]], ...]] = (
    (
        "Any request (create, get, cancel, delete, webhooks.*, videos.create, videos.get, batches.*, "
        "files.upload, .put, .get, .list, .delete, .download, jwks)",
        kinds.REQUEST,
    ),
    ("create, get, cancel", kinds.INTERACTION),
    ("create", kinds.CREATE),
    ("get", {**kinds.GET, **kinds.CALLS}),
    ("cancel", kinds.CANCEL),
    ("videos.create, batches.create", jobkinds.START),
    ("videos.create", jobkinds.VIDEO),
    ("batches.create", jobkinds.BATCH),
    ("videos.get, batches.get", {**jobkinds.READ, **jobkinds.BATCH_READ}),
    ("batches.cancel", jobkinds.CANCEL),
    ("files.download", jobkinds.DOWNLOAD),
    ("jwks (the key set)", kinds.KEY_SET),
    ("deliver (webhooks)", kinds.DELIVERY),
)


@click.group()
def emulator() -> None:
    """Run a stand-in Gemini or a local Slack on this machine.

    They speak the documented wire to the real client libraries. Each says at its start which variables
    point the service at it.
    """


def _table() -> str:
    """The kinds of fault, a paragraph to a group; `\\b` keeps the lines as they are."""
    width = max(len(kind) for _, group in GROUPS for kind in group) + 2
    paragraphs = []
    for title, group in GROUPS:
        lines = textwrap.wrap(f"{title}:", HELP_WIDTH)
        for kind, says in group.items():
            lines += textwrap.wrap(
                f"{kind:<{width}}{says}",
                HELP_WIDTH,
                initial_indent="  ",
                subsequent_indent=" " * (width + 2),
            )
        paragraphs.append("\b\n" + "\n".join(lines))
    return "\n\n".join(paragraphs)


GEMINI_HELP: Final = f"""The Interactions API with webhooks, and the long jobs: videos, batches, files.

Without --scenarios the model improvises from the declared tools. With them
it says what you wrote down, turn by turn:

\b
  scenarios:
    - name: late order
      match: {{input_contains: late}}     # or model, agent, metadata
      turns:
        - calls: [{{name: lookup_order, arguments: {{order_id: A-17}}}}]
        - text: "Order ${{results.lookup_order.order_id}} is late."
          text_refused: "I was not allowed to look."
  jobs:                                 # how videos and batches go
    - {{match: {{kind: video}}, end: filtered, seconds: 60}}

\b
Webhooks, two modes:
  static   registered: --webhook and --secret (repeat both for more), or over
           the API; v1 HMAC, rotation, switched off after failures
  dynamic  a request's own webhook_config.uris; v1a Ed25519 under the keys at
           /.well-known/jwks.json, or the documented token with
           --signature jwt

\b
Control, beside Gemini's own paths:
  GET  /_emulator/stats                what was asked, made and delivered
  GET  /_emulator/ledger               starts, gets, downloads of each job
  POST /_emulator/scenarios            turns and jobs to come
  POST /_emulator/clock/advance        with --clock virtual
  GET, POST, DELETE /_emulator/faults  what goes wrong next
  POST /_emulator/deliver, /release    webhooks now, right or wrong
  POST /_emulator/interactions/ID/status, /batches/ID/state,
       /operations/ID/end
  POST /_emulator/keys/rotate, /reset

\b
Faults: --fault operation:kind and options, for example
  --fault create:status,status=429,retry_after=5,times=3
  --fault get:not_found,for_seconds=20
  --fault deliver:duplicate,probability=0.2,times=forever
Options: times (a number or forever), skip, probability, for_seconds,
subject (an id), event (a type), status, code, message, retry_after, shape
(new, classic, list), seconds, copies.

{_table()}
"""


def _faults(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> list[dict[str, Any]]:
    try:
        return [kinds.parse(text) for text in given]
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _retention(_: click.Context, __: click.Parameter, given: str) -> float:
    from orchestrator.emulator.gemini.settings import RETENTION_SECONDS

    try:
        return RETENTION_SECONDS[given] if given in RETENTION_SECONDS else float(given)
    except ValueError as error:
        raise click.BadParameter("expected paid, free or a number of seconds") from error


def _secrets(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    from orchestrator.emulator.gemini.signing import check_secret

    try:
        return tuple(map(check_secret, given))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _address(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
    from urllib.parse import urlsplit

    parts = urlsplit(given or "")
    if given is not None and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise click.BadParameter("must be http:// or https:// and a host")
    return given


SECONDS: Final = click.FloatRange(min=0)
PORT: Final = click.IntRange(0, 65535)


@emulator.command(help=GEMINI_HELP)
@click.option(
    "--port", type=PORT, default=8090, show_default=True, help="Port on 127.0.0.1; 0 takes a free one."
)
@click.option(
    "--scenarios",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file of scripted turns.",
)
@click.option("--think", type=SECONDS, default=0.5, show_default=True, help="Seconds each turn takes.")
@click.option(
    "--video-seconds", type=SECONDS, default=5.0, show_default=True, help="From a video's start to its end."
)
@click.option(
    "--video-bytes",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Smallest size of a video's file.",
)
@click.option(
    "--batch-seconds", type=SECONDS, default=10.0, show_default=True, help="From a batch's start to its end."
)
@click.option("--webhook", "uris", multiple=True, help="Address to deliver static webhooks to.")
@click.option("--secret", "secrets", multiple=True, callback=_secrets, help="Its signing secret, whsec_…")
@click.option("--key", "keys", multiple=True, help="An API key that is taken, KEY or KEY=PROJECT; else any.")
@click.option(
    "--metadata",
    type=click.Choice(["data", "top", "none"]),
    default="data",
    show_default=True,
    help="Where events carry user_metadata.",
)
@click.option(
    "--signature",
    type=click.Choice(["v1a", "jwt"]),
    default="v1a",
    show_default=True,
    help="Of dynamic deliveries.",
)
@click.option("--audience", default="gemini-webhooks", show_default=True, help="Of a jwt signature.")
@click.option(
    "--disable-after",
    type=click.IntRange(min=1),
    help="Failed attempts in a row that switch a webhook off.",
)
@click.option(
    "--retention",
    default="paid",
    show_default=True,
    callback=_retention,
    help="How long interactions live: paid (55 days), free (1 day) or seconds.",
)
@click.option(
    "--clock",
    type=click.Choice(["real", "virtual"]),
    default="real",
    show_default=True,
    help="A virtual one stands still until it is advanced.",
)
@click.option("--seed", type=int, help="Makes ids, secrets and invented values repeatable.")
@click.option("--fault", "faults", multiple=True, callback=_faults, help="A fault, as above; repeatable.")
@click.option("--storm", is_flag=True, help="Every fault at once, for good: 30 % refused, 5 % answers lost.")
@click.option(
    "--fault-seed", default=0, show_default=True, help="Makes faults with a probability repeatable."
)
def gemini(
    *,
    port: int,
    uris: tuple[str, ...],
    secrets: tuple[str, ...],
    keys: tuple[str, ...],
    clock: str,
    faults: list[dict[str, Any]],
    storm: bool,
    **options: Any,
) -> None:
    """Run it; the help is `GEMINI_HELP`."""
    from orchestrator.emulator.gemini.app import build
    from orchestrator.emulator.gemini.errors import ApiError
    from orchestrator.emulator.gemini.scenarios import ScenarioError

    if len(uris) != len(secrets):
        raise click.UsageError("give as many --secret as --webhook: each address has its own")
    hooks = tuple(zip(uris, secrets, strict=True))
    settings = _gemini_settings(hooks, keys, clock, [*faults, *(kinds.storm() if storm else [])], options)
    try:
        app = build(settings)
    except ScenarioError as error:
        raise ConfigError(f"--scenarios: {error}") from error
    except ApiError as error:  # all that Gemini itself would refuse at the start
        raise ConfigError(f"--webhook: {error}") from error
    variables = [f"GEMINI_API_KEY={next(iter(settings.accepted_keys), 'local')}"]
    if not uris:  # nobody else tells the service that something happened
        variables.append("ORCHESTRATOR_WEBHOOKS__MODE=poll")
    _run("Gemini", app, port, "/_emulator/stats", "ORCHESTRATOR_GEMINI__BASE_URL={}", *variables)


def _gemini_settings(
    hooks: Sequence[tuple[str, str]],
    keys: Sequence[str],
    clock: str,
    faults: list[dict[str, Any]],
    options: Mapping[str, Any],
) -> "EmulatorSettings":
    from orchestrator.emulator.gemini.clock import VirtualClock
    from orchestrator.emulator.gemini.settings import EmulatorSettings, StaticWebhook

    return EmulatorSettings(
        scenarios=options["scenarios"],
        think_seconds=options["think"],
        video_seconds=options["video_seconds"],
        video_bytes=options["video_bytes"],
        batch_seconds=options["batch_seconds"],
        webhooks=[StaticWebhook(uri, secret) for uri, secret in hooks],
        accepted_keys={key: project or key for key, _, project in (k.partition("=") for k in keys)},
        metadata=options["metadata"],
        dynamic_signature=options["signature"],
        token_audience=options["audience"],
        disable_after_failures=options["disable_after"],
        retention_seconds=options["retention"],
        clock=VirtualClock() if clock == "virtual" else None,
        seed=options["seed"],
        faults=faults,
        fault_seed=options["fault_seed"],
    )


SLACK_HELP: Final = """The Web API methods the service uses, and a page to read and click as anybody.

\b
Where what people do goes:
  --service URL     posts to URL/slack/interactivity, /slack/commands and
                    /slack/events; --interactivity alone sets the first
  --socket-mode     over sockets instead: apps.connections.open with
                    --app-token, as Slack's own client does

\b
Control, beside Slack's own paths (POST takes JSON):
  GET  /_emulator/messages, /clicks, /calls, /views, /notifications, /sockets
  POST /_emulator/click, /submit, /close    a button, a modal, as a person
  POST /_emulator/home, /command, /shortcut
  GET, POST /_emulator/groups; DELETE /_emulator/groups/ID
  POST /_emulator/users, /channels
  GET, POST /_emulator/switches             rates, plan, tabs, scopes, sockets
  POST /_emulator/urls                      addresses; events are verified
  POST /_emulator/event, /event/again       an event; one sent once more
  POST /_emulator/sockets/disconnect        reason: warning,
                                            refresh_requested, link_disabled
  POST /_emulator/faults, /reset
"""


@emulator.command(help=SLACK_HELP)
@click.option(
    "--port", type=PORT, default=8091, show_default=True, help="Port on 127.0.0.1; 0 takes a free one."
)
@click.option("--service", callback=_address, help="The service's address; its paths are added.")
@click.option(
    "--interactivity", callback=_address, help="Where clicks go, the service's /slack/interactivity."
)
@click.option(
    "--signing-secret", default="local-signing-secret", show_default=True, help="What it signs clicks with."
)
@click.option("--bot-token", default="xoxb-local", show_default=True, help="The one it takes.")
@click.option("--app-token", default="xapp-local", show_default=True, help="For Socket Mode.")
@click.option("--socket-mode", is_flag=True, help="Deliver over sockets.")
@click.option("--rate-limits", is_flag=True, help="Hold the published call rates.")
@click.option(
    "--command",
    "commands",
    multiple=True,
    default=["/approvals"],
    show_default=True,
    help="A slash command it knows; repeatable.",
)
def slack(*, port: int, service: str | None, interactivity: str | None, **options: Any) -> None:
    """Run it; the help is `SLACK_HELP`."""
    from orchestrator.emulator.slack.app import build
    from orchestrator.emulator.slack.settings import SlackEmulatorSettings, Switches

    base = service.rstrip("/") if service else None
    settings = SlackEmulatorSettings(
        bot_token=options["bot_token"],
        app_token=options["app_token"],
        signing_secret=options["signing_secret"],
        commands=tuple(options["commands"]),
        interactivity_url=interactivity or (f"{base}/slack/interactivity" if base else None),
        commands_url=f"{base}/slack/commands" if base else None,
        events_url=f"{base}/slack/events" if base else None,
        switches=Switches(socket_mode=options["socket_mode"], rate_limits=options["rate_limits"]),
    )
    variables = [f"SLACK_BOT_TOKEN={settings.bot_token}", f"SLACK_SIGNING_SECRET={settings.signing_secret}"]
    if settings.switches.socket_mode:
        variables[1:] = ["ORCHESTRATOR_SLACK__SOCKET_MODE=true", f"SLACK_APP_TOKEN={settings.app_token}"]
    click.echo(_whom(settings))
    _run("Slack", build(settings), port, "/", "ORCHESTRATOR_SLACK__API_URL={}/api/", *variables)


def _whom(settings: "SlackEmulatorSettings") -> str:
    """The ids that `config.yaml` may name: any other channel is unknown there."""
    channels = ", ".join(c.id for c in settings.channels if c.bot_is_member)
    people = [*(user.id for user in settings.users), *(group.id for group in settings.user_groups)]
    return f"for config.yaml: slack.channel {channels}; approvals.approvers of {', '.join(people)}"


def _run(name: str, app: Any, port: int, page: str, *variables: str) -> None:
    """Serve until Ctrl-C; says where, and with which `variables` a service finds it ({}: the address)."""
    asyncio.run(_serve(name, app, port, page, variables))


async def _serve(name: str, app: Any, port: int, page: str, variables: tuple[str, ...]) -> None:
    from orchestrator.emulator.serving import running

    async with AsyncExitStack() as stack:
        try:
            address = await stack.enter_async_context(running(app, port=port))
        except OSError as error:
            raise ConfigError(
                f"--port: {port} of 127.0.0.1 cannot be listened on: {error.strerror}"
            ) from error
        click.echo(f"{name} stand-in at {address} (look at {address}{page}), stop with Ctrl-C")
        click.echo(f"for the service: {' '.join(variables).replace('{}', address)}")
        await asyncio.Event().wait()
