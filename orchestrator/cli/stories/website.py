"""A small website for the demo: a feed to read, and a CMS that takes posts and keeps to idempotency keys."""

from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from typing import Any
from xml.sax.saxutils import escape

from litestar import Litestar, Request, Response, get, post

Json = dict[str, Any]

ITEM = "<item><guid>{link}</guid><title>{title}</title><link>{link}</link>{more}</item>"


@dataclass
class Website:
    """What it has heard.

    Args:
        entry: Of its feed: `title`, `link`, `summary`.
        lose: So many answers to posts get lost after the post was published.

    Attributes:
        posts: What was published, by idempotency key.
        calls: How often somebody published or tried to.
    """

    entry: Json
    published: datetime
    lose: int = 0
    posts: dict[str, Json] = field(default_factory=dict)
    calls: int = 0

    def feed(self) -> str:
        """RSS 2.0 with the one entry."""
        told = {name: escape(text) for name, text in self.entry.items()}
        more = f"<description>{told['summary']}</description>"
        more += f"<pubDate>{format_datetime(self.published)}</pubDate>"
        item = ITEM.format(link=told["link"], title=told["title"], more=more)
        return f'<rss version="2.0"><channel><title>News</title>{item}</channel></rss>'

    def publish(self, key: str, wanted: Json) -> tuple[int, Json]:
        """HTTP status and answer; the same key again is the same post."""
        self.calls += 1
        made = self.posts.setdefault(key, wanted | {"id": f"post-{len(self.posts) + 1}"})
        if self.calls <= self.lose:
            return 503, {"error": "the answer got lost on its way"}
        return 201, {"id": made["id"], "address": f"/posts/{made['id']}"}

    def app(self) -> Litestar:
        """The site as an ASGI app."""

        @get("/feed.xml", media_type="application/rss+xml", sync_to_thread=False)
        def feed() -> str:
            return self.feed()

        @post("/posts")
        async def posts(request: Request[Any, Any, Any]) -> Response[Json]:
            key = request.headers.get("idempotency-key", "")
            status, answer = self.publish(key, await request.json())
            return Response(answer, status_code=status)

        return Litestar([feed, posts], openapi_config=None, logging_config=None)
