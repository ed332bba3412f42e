"""Pictures of the files people choose among, shown under their question in Slack. Nothing waits for them.

make them ── send each to Slack ── write down their names there ── show them ── done
                 (nobody sees)                                       └─ no answer: look, show the same again
   └─ cannot be made or shown ──► the question says so, and is decided all the same

Before the names are written down, a crash costs only files at Slack that nobody sees and Slack drops.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import structlog
from sqlalchemy.orm import Session

from orchestrator.domain import choosing
from orchestrator.domain.cards import Card, Picture
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.jobs import StoredFile
from orchestrator.domain.values import replace
from orchestrator.engine.commits import Commits
from orchestrator.engine.ports import PicturesPort, SlackPort
from orchestrator.engine.posting import not_posted
from orchestrator.engine.tickets import Act
from orchestrator.errors import RejectedError, UnavailableError, UncertainError
from orchestrator.store import claims, locking, outbox, uploads
from orchestrator.store.claims import Claimed
from orchestrator.store.uploads import Upload

MOST_TRIES: Final = 10
"""After so many it is left, and the question says so: about three minutes."""
NOT_SHOWN: Final = "No picture could be shown"
FORGOTTEN: Final = frozenset({"file_not_found", "file_deleted", "file_update_failed"})
"""Slack's words for files it has dropped before they were shown."""

log = structlog.get_logger(__name__)


class Media:
    """Performs the effect that shows pictures.

    Args:
        card: What is to be shown of an approval, by its id, as it is at this moment.
        pictures: Who makes them; None where none are made.
    """

    def __init__(
        self,
        commits: Commits,
        slack: SlackPort | None,
        card: Callable[[Session, Claimed, str], Card | None],
        pictures: PicturesPort | None,
    ) -> None:
        self._commit = commits
        self._slack = slack
        self._card = card
        self._pictures = pictures

    def show(self, s: Session, effect: Claimed) -> Act | None:
        """Show them under a question that is open and stands in its channel; once."""
        card, slack, pictures = self._card(s, effect, effect.subject), self._slack, self._pictures
        if card is not None and slack is not None and pictures is not None and _worth_showing(card):
            kept = uploads.standing(s, effect.subject)
            if kept.files and not kept.shown:
                return partial(self._share, effect, card, kept, slack, seen_before=True)
            if not kept.shown:
                files = uploads.recorded(s, choosing.paths(card.call.arguments))
                return partial(self._send, effect, card, files, slack, pictures)
        claims.done(s, effect)
        return None

    async def _send(
        self,
        effect: Claimed,
        card: Card,
        files: Mapping[str, StoredFile],
        slack: SlackPort,
        pictures: PicturesPort,
    ) -> None:
        """One after the other, so that only one of them is in memory."""
        names: list[tuple[str, str]] = []
        missing: list[str] = []
        titles = choosing.names(card.call.arguments)
        try:
            for number, path in enumerate(choosing.paths(card.call.arguments), 1):
                try:
                    content = await _made(pictures, files.get(path))
                except RejectedError as e:
                    missing.append(f"of {number}: {e}")
                    continue
                if content is not None:
                    names.append((await slack.send_picture(Picture(number, content)), titles[number - 1]))
        except RejectedError as e:
            await self._end(effect, Upload(trouble=f"{NOT_SHOWN}: {e}"))
            return
        except (UnavailableError, UncertainError) as e:
            await self._later(effect, e)
            return
        trouble = f"{NOT_SHOWN} {'; '.join(missing)}" if missing else ""
        if not names:
            await self._end(effect, Upload(trouble=trouble))
            return
        kept = await self._commit.write(_sent, effect, names, trouble)
        await self._share(effect, card, kept, slack, seen_before=False)

    async def _share(
        self, effect: Claimed, card: Card, kept: Upload, slack: SlackPort, *, seen_before: bool
    ) -> None:
        if not await self._commit.renewed(effect):
            return  # whoever has it now shows the same
        try:
            await slack.show_pictures(card, kept.files, seen_before=seen_before)
        except (UnavailableError, UncertainError) as e:
            await self._later(effect, e)
        except RejectedError as e:
            if e.code in FORGOTTEN and effect.attempts < MOST_TRIES:
                await self._commit.write(uploads.put, effect.subject, Upload())
                await self._commit.again(effect, str(e))
            else:
                await self._end(effect, Upload(kept.files, trouble=f"{NOT_SHOWN}: {e}"))
        else:
            await self._end(effect, replace(kept, shown=True))

    async def _later(self, effect: Claimed, error: UnavailableError | UncertainError) -> None:
        if effect.attempts >= MOST_TRIES:
            await self._end(effect, Upload(trouble=f"{NOT_SHOWN}: {error}"))
        else:
            await not_posted(self._commit, effect, error, counts=True)

    async def _end(self, effect: Claimed, upload: Upload) -> None:
        if upload.trouble:
            log.warning("pictures_not_shown", approval=effect.subject, why=upload.trouble)
        await self._commit.write(self._over, effect, upload)

    def _over(self, s: Session, effect: Claimed, upload: Upload) -> None:
        """They are shown, or will not be; the question is drawn anew where it has to say so."""
        locking.run(s, effect.run_id)
        before = uploads.standing(s, effect.subject)
        uploads.put(s, effect.subject, upload)
        if upload.trouble or before.trouble:
            redraw = Effect(EffectKind.UPDATE_APPROVAL, effect.subject, self._commit.now())
            outbox.add(s, effect.run_id, [redraw])
        claims.done(s, effect)


def _sent(s: Session, effect: Claimed, names: Sequence[tuple[str, str]], trouble: str) -> Upload:
    """Of two that sent pictures at the same time both show those of the first."""
    locking.run(s, effect.run_id)
    return uploads.sent(s, effect.subject, names, trouble)


def _worth_showing(card: Card) -> bool:
    """A channel that is shown no arguments is shown no pictures either."""
    approval = card.approval
    here = bool(approval.open and approval.ts and not approval.terms.discreet)
    return here and choosing.is_choosing(card.call)


async def _made(pictures: PicturesPort, file: StoredFile | None) -> bytes | None:
    if file is None:
        raise RejectedError("no job of ours has made such a file", code="unknown_file")
    return await pictures.of(file)
