"""`orchestrator approvals`: see what waits for a person and answer it, over the running service's own API.

Nothing is approved unseen: a person is shown the card and asked, a program names the digest of what it saw.
"""

from datetime import UTC, datetime

import rich_click as click

from orchestrator.cli import answering, asking_back, cards, client, consent, consoles, deciding

STATUSES = ("pending", "approved", "rejected", "expired", "withdrawn")


@click.group()
def approvals() -> None:
    """See what waits for a person, and answer it.

    Asks the running service; the token needs the scope `read` to look and `decide` to answer, and must
    be named among those who may decide (as `api:NAME`, or as the Slack user it stands for). Whatever
    decides shows what it is about and asks; a program says --yes, and names what it saw where something may
    happen by it.

    \b
    Exit codes
      0  done
      1  the service said no: decided already, changed, or not yours
      2  wrong: the command, its input, a setting or the token
      3  the service could not be asked, or not now
    """


@approvals.command("list")
@click.option(
    "--status",
    type=click.Choice((*STATUSES, "all")),
    default="pending",
    show_default=True,
    help="Only those that stand like that.",
)
@client.limit_option
@client.json_option
@client.over_the_api
def list_(reach: client.Reach, status: str, limit: int, as_json: bool) -> None:
    """What waits for an answer, the newest first."""
    which = {} if status == "all" else {"status": status}
    with reach() as service:
        found, more = client.listed(service, "/v1/approvals", which, limit)
    if as_json:
        consoles.show_lines(found)
    elif not found:
        click.echo("nothing waits for an answer" if status == "pending" else "there is none")
    else:
        now = datetime.now(UTC)
        consoles.show_table(cards.COLUMNS, [cards.row(a, now=now) for a in found], whole=1, more=more)


@approvals.command()
@consent.id_argument
@client.one_json_option
@client.over_the_api
def show(reach: client.Reach, approval: str, as_json: bool) -> None:
    """Everything there is to know before deciding about ID."""
    with reach() as service:
        told = consent.shown(service, approval)
    consent.show(told, as_json=as_json)


@approvals.command()
@click.option("--once", is_flag=True, help="Say what waits now, and end.")
@click.option(
    "--every", type=click.FloatRange(1, 3600), default=2.0, show_default=True, help="Seconds between looks."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per change, for programs.")
@client.over_the_api
def watch(reach: client.Reach, once: bool, every: float, as_json: bool) -> None:
    """What waits for an answer, as it comes and goes, until you press Ctrl-C.

    With --json each line is {"change": "asked" | "changed" | "closed", "approval": {…}}; what waits at the
    start is told as asked.
    """
    from orchestrator.cli import questions

    with reach() as service:
        questions.follow(service, every=every, once=once, as_json=as_json)


approvals.add_command(deciding.approve)
approvals.add_command(deciding.reject)
approvals.add_command(deciding.refine)
approvals.add_command(answering.edit)
approvals.add_command(answering.answer)
approvals.add_command(asking_back.ask)
approvals.add_command(asking_back.reply)
