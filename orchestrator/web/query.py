"""Query parameters of what is read: one that a route does not know, or is given twice, is refused.

A filter with a slip in its name would answer with everything, and of two values for one name one would be
passed over; nobody would see it.
"""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from litestar.params import QueryParameter

from orchestrator.errors import InvalidError
from orchestrator.web.problems import shown

MOST_NAMED = 10
"""Unknown parameters that one answer names."""


async def known_only(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard of routes that are read.

    Raises:
        InvalidError: A GET has a parameter that its route does not take, which is named, with those it
            does; or two values for one.
    """
    if connection.scope.get("method") != "GET" or not connection.scope["query_string"]:
        return
    taken = _taken(handler)
    unknown = [name for name in dict.fromkeys(connection.query_params) if name not in taken]
    if unknown:
        can = f"is not known here; taken are: {', '.join(taken)}" if taken else "is not known: none is taken"
        fields = [(shown(name)[1:-1], can) for name in unknown[:MOST_NAMED]]
        raise InvalidError("unknown query parameters", fields)
    twice = [name for name in taken if len(connection.query_params.getall(name, [])) > 1]
    if twice:
        raise InvalidError("doubled query parameters", [(name, "is given twice") for name in twice])


def _taken(handler: BaseRouteHandler) -> tuple[str, ...]:
    """The parameters a route declares, as callers write them."""
    # No cache: a guard is given a copy of the handler with each request, and a cache would keep them all.
    declared = [
        (name, field.kwarg_definition) for name, field in handler.parsed_fn_signature.parameters.items()
    ]
    return tuple(sorted(of.name or name for name, of in declared if isinstance(of, QueryParameter)))
