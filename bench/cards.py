"""Pictures of every card and every window, as the local Slack page shows them.

    python -m bench.cards --out FOLDER [--only WORD]

Each state is posted and redrawn by the real gateway, each window opened by a signed press; then a headless
Chromium looks at the page. It needs a Chromium on the PATH and nothing else, and exits 2 without one.
"""

import argparse
import asyncio
import json
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from litestar import Litestar, Request, Response, post

from bench.scene import Scene
from bench.scenes import scenes
from orchestrator.domain.cards import Card, Overview, Picture
from orchestrator.domain.consent import Place
from orchestrator.domain.inquiries import Telling
from orchestrator.domain.model import RunStatus
from orchestrator.domain.values import replace
from orchestrator.emulator.serving import running
from orchestrator.emulator.slack.app import build
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.slack.action import Click, Submission
from orchestrator.slack.gateway import SlackGateway
from orchestrator.slack.interactivity import parse
from orchestrator.slack.signature import verify
from tests.support.slack_cards import NOW, C, S
from tests.support.slack_people import Person

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER_SECONDS: Final = 60.0


class Desk:
    """The service's door for presses: it opens what the scene says, and believes only what is signed."""

    def __init__(self, secret: str, gateway: SlackGateway) -> None:
        self._secret = secret
        self._gateway = gateway
        self.scene: Scene | None = None

    def app(self) -> Litestar:
        """The door as an application."""

        @post("/slack", status_code=200)
        async def door(request: Request[Any, Any, Any]) -> Response[bytes]:
            body = await request.body()
            verify(request.scope["headers"], body, secrets=[self._secret], now=NOW)
            return Response(await self._answer(parse(body)), media_type="application/json")

        return Litestar([door], openapi_config=None, logging_config=None)

    async def _answer(self, taken: object) -> bytes:
        scene = self.scene
        if scene is not None and isinstance(taken, Click):
            await self._gateway.open_view(
                taken.trigger_id, scene.views[taken.kind], push=bool(taken.view_id) and not taken.home
            )
        if scene is not None and isinstance(taken, Submission):
            return json.dumps({"response_action": "errors", "errors": scene.errors}).encode()
        return b""


class Studio:
    """One local Slack, one gateway, one browser; a fresh workspace for every picture."""

    def __init__(self, slack: LocalSlack, page: str, gateway: SlackGateway, desk: Desk, browser: str) -> None:
        self._slack = slack
        self._page = page
        self._gateway = gateway
        self._desk = desk
        self._browser = browser
        self._profile = tempfile.mkdtemp(prefix="cards-")

    def close(self) -> None:
        """Forget what the browser kept."""
        shutil.rmtree(self._profile, ignore_errors=True)

    async def picture(self, scene: Scene, file: Path) -> None:
        """Play the scene and take its picture.

        Raises:
            RuntimeError: A press was not taken, or the browser made no picture.
        """
        await self._taken(await self.played(scene), scene.size, file)

    async def played(self, scene: Scene) -> str:
        """Play the scene in a fresh workspace; gives the address at which it is to be seen.

        Raises:
            RuntimeError: A press was not taken.
        """
        self._slack.reset()
        self._desk.scene = scene
        return f"{self._page}{await self._shown(scene)}"

    async def _shown(self, scene: Scene) -> str:
        where = {"as": scene.viewer, "channel": "C0APPR"}
        if scene.home is not None:
            await self._gateway.publish(scene.viewer, scene.home)
            await self._pressed(scene)
            return "/?" + urlencode({"as": scene.viewer, "home": "true"})
        place = await self._posted(scene)
        if scene.direct:
            where["channel"] = place.channel
        if scene.confirm:
            return "/ui/confirm?" + urlencode(self._element(place, scene.confirm) | where)
        await self._pressed(scene)
        return "/?" + urlencode(where)

    async def _posted(self, scene: Scene) -> Place:
        if not isinstance(scene.shown, Card):
            return await self._overview(scene.shown)
        if scene.direct and not scene.told:
            return await self._gateway.copy(scene.shown, scene.viewer, seen_before=False)
        now = await self._stands(scene.shown)
        if scene.remind:
            others = [await self._stands(other) for other in scene.reminded_with]
            await self._gateway.remind(now, what=scene.remind, last=False, seen_before=False, others=others)
        await self._pictured(now, scene.pictures)
        return await self._told(now, scene.told) or Place(now.approval.channel, now.approval.ts)

    async def _stands(self, card: Card) -> Card:
        """As it was posted, then as it is."""
        channel, ts = await self._gateway.post(_asked(card), seen_before=False)
        now = replace(card, approval=replace(card.approval, channel=channel, ts=ts))
        await self._gateway.update(now)
        return now

    async def _overview(self, shown: Overview) -> Place:
        """As it was posted with every question open, then as it is."""
        asked = replace(shown, cards=tuple(map(_asked, shown.cards)))
        place = await self._gateway.post_batch(asked, seen_before=False)
        for under in shown.cards:
            card = replace(_asked(under), thread=place.ts)
            channel, ts = await self._gateway.post(card, seen_before=False)
            placed = replace(under.approval, channel=channel, ts=ts)
            await self._gateway.update(replace(under, approval=placed, thread=place.ts))
        await self._gateway.update_batch(replace(shown, place=place))
        return place

    async def _pictured(self, card: Card, pictures: Sequence[tuple[str, bytes]]) -> None:
        files = []
        for number, (title, content) in enumerate(pictures, 1):
            files.append((await self._gateway.send_picture(Picture(number, content)), title))
        if files:
            await self._gateway.show_pictures(card, files, seen_before=False)

    async def _told(self, card: Card, told: Sequence[Telling]) -> Place | None:
        """What was asked back, as it was said at first and as it is; where the last of it stands."""
        place = None
        for telling in told:
            first = card if telling.answer else _unanswered(card)
            place = await self._gateway.ask_back(first, telling, seen_before=False)
            if not telling.answer:
                await self._gateway.redraw_asked_back(card, telling.number, place)
        return place

    async def _pressed(self, scene: Scene) -> None:
        """As a person does it: the first button stands on the message, the others in the window."""
        person = Person(self._slack, scene.viewer)
        for number, button in enumerate(scene.press):
            if number == 0 and scene.home is not None:
                await person.press_at_home(button)
                await person.sees(lambda: self._slack.modal(scene.viewer), "a window")
            elif number == 0:
                await person.open(button)
            elif (click := await person.press_in_modal(button)).failed:
                raise RuntimeError(f"{button} was not taken: {click.error}")
        if scene.submit is not None:
            await person.submit(**scene.submit)

    def _element(self, place: Place, action_id: str) -> dict[str, str]:
        message = self._slack.workspace.find(place.channel, place.ts)
        blocks = message.blocks if message is not None else []
        holder = next(b for b in blocks if any(e.get("action_id") == action_id for e in _elements(b)))
        return {"ts": place.ts, "block_id": holder["block_id"], "action_id": action_id}

    async def _taken(self, address: str, size: tuple[int, int], file: Path) -> None:
        await asyncio.to_thread(file.unlink, missing_ok=True)  # an older picture is none of this one
        arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--no-first-run",
            f"--user-data-dir={self._profile}",
            f"--window-size={size[0]},{size[1]}",
            f"--screenshot={file}",
            address,
        ]
        quiet = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(self._browser, *arguments, stdout=quiet, stderr=quiet)
        try:
            async with asyncio.timeout(BROWSER_SECONDS):
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode or not await asyncio.to_thread(file.exists):
            raise RuntimeError(f"{self._browser} made no picture of {address}")


def _elements(block: dict[str, Any]) -> Iterable[dict[str, Any]]:
    return block["elements"] if block["type"] == "actions" else ()


def _asked(shown: Card) -> Card:
    """The same request when it was first asked, for a message that is then redrawn."""
    approval = replace(shown.approval, status=S.PENDING, verdict=None, votes=())
    call = replace(shown.call, status=C.AWAITING_APPROVAL)
    return replace(shown, approval=approval, call=call, run_status=RunStatus.WAITING)


def _unanswered(card: Card) -> Card:
    """Before anybody answered what was asked back."""
    questions = tuple(replace(q, answer="", answered_by=None) for q in card.approval.questions)
    return replace(card, approval=replace(card.approval, questions=questions))


@asynccontextmanager
async def studio(browser: str) -> AsyncIterator[Studio]:
    """A local Slack and its app on loopback while the block runs."""
    app = build(clock=NOW.timestamp)
    slack: LocalSlack = app.state.slack
    async with running(app) as page:
        gateway = SlackGateway(
            slack.settings.bot_token,
            clock=lambda: NOW,
            base_url=f"{page}/api/",
            response_hosts=("127.0.0.1",),
        )
        desk = Desk(slack.settings.signing_secret, gateway)
        made = Studio(slack, page, gateway, desk, browser)
        try:
            async with running(desk.app()) as ours:
                slack.set_interactivity_url(f"{ours}/slack")
                yield made
        finally:
            made.close()
            await gateway.aclose()


async def main(out: Path, browser: str, only: str = "") -> None:
    """Take the pictures whose name holds `only`, and print where they are."""
    async with studio(browser) as made:
        for name, scene in scenes().items():
            file = out / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.png"
            if only in name:
                await made.picture(scene, file)
                print(f"{name}: {file}", flush=True)


def found() -> str | None:
    """A Chromium on the PATH."""
    return next((where for name in BROWSERS if (where := shutil.which(name))), None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.cards", description="Pictures of every card.")
    parser.add_argument("--out", type=Path, required=True, help="the folder they go to")
    parser.add_argument("--only", default="", help="only those whose name holds this")
    chosen = parser.parse_args()
    if (chromium := found()) is None:
        print(f"There is no Chromium on the PATH: looked for {', '.join(BROWSERS)}.", file=sys.stderr)
        raise SystemExit(2)
    chosen.out.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(chosen.out.resolve(), chromium, chosen.only))
