"""`orchestrator demo`: the whole job, on real wire traffic, on this machine."""

import sys

import rich_click as click

STORIES = ("refund", "overnight", "content", "review")


@click.command()
@click.argument("story", type=click.Choice(STORIES), default=STORIES[0], metavar="[STORY]")
@click.option(
    "--auto/--ask",
    default=None,
    envvar="DEMO_AUTO",
    help="Press people's buttons by itself, or wait for you. Without a terminal it presses by itself.",
)
@click.option("--reject", is_flag=True, help="With --auto: reject instead.")
def demo(story: str, auto: bool | None, reject: bool) -> None:
    """See the whole job: a refund that a person must approve, or another story.

    \b
    Stories
      refund     an agent asks for a refund; a person decides
      overnight  fifty films, ordered at dusk, picked in the morning
      content    from an entry of a feed to a published film
      review     research, then risk, then legal, then a receipt

    Starts a stand-in Gemini, a local Slack and the service itself on free ports of 127.0.0.1, with a
    database in a temporary folder, plays the workflow of that name of ./config.yaml and tells what happens.
    Leaves nothing behind. Exit code 0 when the record closed as it should and the world outside agrees.
    """
    import asyncio

    from orchestrator.cli.stories import play
    from orchestrator.cli.stories.telling import Teller

    teller = Teller(
        auto=not sys.stdin.isatty() if auto is None else auto, verdict="reject" if reject else "approve"
    )
    try:
        sys.exit(asyncio.run(play(story, teller)))
    except asyncio.CancelledError:
        sys.exit(143)  # as a shell reports SIGTERM
