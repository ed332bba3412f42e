"""`approvals ask` and `reply`: a question about a request, and the answer to it."""

import rich_click as click

from orchestrator.cli import cards, client, consent, consoles
from orchestrator.cli.entries import instant


@click.command()
@consent.id_argument
@click.option("--question", required=True, help="What you need to know; at most 3000 characters.")
@client.one_json_option
@client.over_the_api
def ask(reach: client.Reach, approval: str, question: str, as_json: bool) -> None:
    """Ask back: put a question about ID to whoever asked for the run.

    They are told in Slack, where they are there; `show` has their answer. The clock does not stop for it.
    """
    with reach() as service:
        path = f"/v1/approvals/{client.part(approval)}/questions"
        told = client.posted(service, path, {"question": question})
    asked, until = cards.who(told["requester"]), instant(told["expires_at"])
    said = f"{told['id']}: {asked} is asked; the request stays open until {until}"
    consoles.show_one(told, [said], as_json=as_json)


@click.command()
@consent.id_argument
@click.argument("number", metavar="NUMBER", type=click.IntRange(1, 99))
@click.option("--text", required=True, help="Your answer; at most 3000 characters.")
@client.one_json_option
@client.over_the_api
def reply(reach: client.Reach, approval: str, number: int, text: str, as_json: bool) -> None:
    """Answer question NUMBER about ID, which somebody who decides has asked you.

    Only whoever asked for the run can: the token needs the scope `trigger` and must be theirs.
    """
    with reach() as service:
        path = f"/v1/approvals/{client.part(approval)}/questions/{number}/answer"
        answer = client.ask(service, "POST", path, json={"answer": text})
        told = client.sent(answer, "number", "answer")
    consoles.show_one(told, [f"{approval}: question {number} is answered"], as_json=as_json)
