"""What can go wrong, sorted by what the caller can do about it.

    OrchestratorError
    ├── InputError            my mistake
    │   ├── ConfigError       config.yaml, environment, a tool module
    │   ├── InvalidError      a request that does not fit; names its fields
    │   │   └── OversizeError more than is taken; names the bound
    │   ├── NotFoundError     no such thing, or not yours
    │   └── ConflictError     the thing has moved on
    ├── TrustError            not to be believed
    │   ├── SignatureError    unsigned, forged, stale
    │   └── ForbiddenError    known, but not entitled
    ├── UnavailableError      nothing happened; worth another try
    │   ├── UnreachedError    nothing was sent
    │   └── StorageError      it is our own files' place that takes or gives nothing
    ├── UncertainError        it may have happened; look before trying again
    │   └── UnreadAnswerError it said yes, and no more that can be read
    ├── RejectedError         final: trying again will not help
    │   └── UnfamiliarError   by a word we do not know: it may pass
    └── UnreadableError       what we kept says what cannot be; an operator has to see to it

`ToolError` stands apart: it is a tool's honest "no", told to the model.
"""

from collections.abc import Sequence


class OrchestratorError(Exception):
    """Root of everything this package raises on purpose."""


class InputError(OrchestratorError):
    """The caller can mend it."""


class ConfigError(InputError):
    """A setting, a secret or a tool module is wrong; the text names file, line and key."""


class InvalidError(InputError):
    """A request does not fit what was declared.

    `fields` holds (path, message) pairs, the path in dotted form, for example `order.id`.
    """

    def __init__(self, message: str, fields: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.fields = tuple(fields)


class OversizeError(InvalidError):
    """It would fit, and is more than is taken; the text names the bound."""


class NotFoundError(InputError):
    """No such thing; a foreign one answers alike."""


class ConflictError(InputError):
    """The thing is not in the state this asks for.

    `fields` as in `InvalidError`: what the request lacks in this state.
    """

    def __init__(self, message: str, fields: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.fields = tuple(fields)


class TrustError(OrchestratorError):
    """Not to be believed."""


class SignatureError(TrustError):
    """A body without a valid signature of ours, now. `malformed` tells bad headers from a bad signature."""

    def __init__(self, message: str, *, malformed: bool = False) -> None:
        super().__init__(message)
        self.malformed = malformed


class ForbiddenError(TrustError):
    """We know who it is, and they may not."""


class UnavailableError(OrchestratorError):
    """Nothing happened on the other side; try again after `retry_after` seconds, if it said so."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnreachedError(UnavailableError):
    """No connection came about, so that not a byte of it is there."""


class StorageError(UnavailableError):
    """The place of our own files cannot be written to, or read, now; it says nothing about anybody else."""


class UncertainError(OrchestratorError):
    """The answer got lost: it may have happened. Never repeat before looking."""


class UnreadAnswerError(UncertainError):
    """It was taken, by an answer that cannot be read: too large, or not what it should be."""


class RejectedError(OrchestratorError):
    """The other side refused for good. `code` is its own word for why, for example `not_found`."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class UnfamiliarError(RejectedError):
    """Refused by a word that we do not know; it may be for now only, so a few more tries are worth it."""


class UnreadableError(OrchestratorError):
    """Rows of ours that nothing of ours wrote like that; the text names the run."""


class ToolError(Exception):
    """Raise it in a tool to tell the model, in your words, that the call did not work.

    The text reaches the model and the run's record. Any other exception is logged here and
    the model hears only that the tool failed.
    """
