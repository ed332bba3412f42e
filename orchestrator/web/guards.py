"""Who is calling, how often, and whether they may: one gatekeeper before every route of the API.

A handler says what it asks for in `opt["scope"]`; one that says nothing lets nobody in.
"""

import hashlib
import hmac
import math
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.exceptions import (
    NotAuthorizedException,
    PermissionDeniedException,
    TooManyRequestsException,
)
from litestar.handlers.base import BaseRouteHandler

from orchestrator.engine.ports import Clock
from orchestrator.web.doors import Token

REALM: Final = 'Bearer realm="gemini-orchestrator"'
SCOPES: Final = ("trigger", "read", "decide", "operate")
_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9._~+/=-]{1,512})", re.ASCII | re.IGNORECASE)


class Pace:
    """A bucket per token: full it holds a minute's requests, and fills up again evenly."""

    def __init__(self, per_minute: int) -> None:
        self._most = float(per_minute)
        self._per_second = per_minute / 60
        self._left: dict[str, tuple[float, datetime]] = {}

    def take(self, name: str, now: datetime) -> float:
        """Take one request out; how many seconds are missing, 0 when it was there."""
        left, since = self._left.get(name, (self._most, now))
        passed = max(0.0, (now - since).total_seconds())  # the clock may be set back
        left = min(self._most, left + passed * self._per_second)
        granted = left >= 1
        self._left[name] = (left - 1 if granted else left, now)
        return 0.0 if granted else (1 - left) / self._per_second


class Gatekeeper:
    """Knows the tokens. `admit` is what a Litestar guard does; afterwards `caller` gives the token.

    Args:
        per_minute: Requests of one token, in this process.
    """

    def __init__(self, tokens: Sequence[Token], *, per_minute: int, clock: Clock) -> None:
        self._tokens = tuple(tokens)
        self._pace = Pace(per_minute)
        self._clock = clock

    async def admit(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Raises 401 without a good token, 429 over its pace, 403 without the route's scope.

        Litestar's own answer to OPTIONS names methods only, for any token.
        """
        now = self._clock()
        token = self._known(connection.headers.getall("authorization", []), now)
        if missing := self._pace.take(token.name, now):
            wait = {"Retry-After": str(math.ceil(missing))}
            raise TooManyRequestsException("too many requests with this token", headers=wait)
        scope = handler.opt.get("scope")
        if scope not in token.scopes and connection.scope.get("method") != "OPTIONS":
            challenge = {"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{scope}"'}
            raise PermissionDeniedException(f"this token lacks the scope {scope}", headers=challenge)
        connection.scope["auth"] = token

    def _known(self, headers: list[str], now: datetime) -> Token:
        match = _BEARER.fullmatch(headers[0]) if len(headers) == 1 else None
        if match is None:
            challenge = {"WWW-Authenticate": REALM}
            raise NotAuthorizedException("send a token: Authorization: Bearer <token>", headers=challenge)
        digest = hashlib.sha256(match[1].encode()).hexdigest()
        # Every one is compared, so that the time taken does not tell which is there.
        found = [t for t in self._tokens if hmac.compare_digest(t.sha256.encode(), digest.encode())]
        if not found or (found[0].expires is not None and now >= found[0].expires):
            challenge = {"WWW-Authenticate": f'{REALM}, error="invalid_token"'}
            raise NotAuthorizedException("this token is unknown or has expired", headers=challenge)
        return found[0]


async def caller(request: Request[Any, Token, Any]) -> Token:
    """The token that `admit` let in."""
    return request.auth
