"""What Slack's refusals mean: one answer in, one of our errors out. No I/O.

Source: Slack, error lists of `chat.postMessage`, `chat.update`, `chat.postEphemeral`, `views.open`;
"Rate limits".
"""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.errors import (
    OrchestratorError,
    RejectedError,
    UnavailableError,
    UncertainError,
    UnfamiliarError,
)

DEFAULT_RETRY_SECONDS: Final = 30.0  # after a 429 that does not say how long
LONGEST_RETRY_SECONDS: Final = 3600.0
CREDENTIALS_RETRY_SECONDS: Final = 60.0

BUSY: Final = frozenset({"ratelimited", "rate_limited", "accesslimited"})
UNKNOWN: Final = frozenset(
    {"fatal_error", "internal_error", "request_timeout", "service_unavailable", "update_failed"}
)
"""Slack says no and may have done it all the same."""

CREDENTIALS: Final = frozenset(
    {
        "access_denied",
        "account_inactive",
        "ekm_access_denied",
        "invalid_auth",
        "missing_scope",
        "no_permission",
        "not_allowed_token_type",
        "not_authed",
        "org_login_required",
        "team_access_not_granted",
        "token_expired",
        "token_revoked",
    }
)
DRAWING: Final = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "block_mismatch"}
)
METADATA: Final = frozenset(
    {
        "metadata_must_be_sent_from_app",
        "metadata_too_large",
        "invalid_metadata_format",
        "invalid_metadata_schema",
    }
)
FROZEN: Final = frozenset({"cant_update_message", "edit_window_closed"})
"""The message is there and cannot be changed any more."""

UNTHREADED: Final = frozenset({"thread_not_found", "cannot_reply_to_message", "message_not_found"})
"""The message to reply under is gone."""

_ADVICE: Final = {
    "channel_not_found": "no such channel for this app: check its id, /invite @<the app> if it is private",
    "not_in_channel": "the app is not in the channel: type /invite @<the app> there",
    "is_archived": "the channel is archived: name another one in the workflow's terms",
    "messages_tab_disabled": "direct messages to the app are off: switch on its Messages tab",
    "message_not_found": "the message was deleted",
    "expired_trigger_id": "the press was more than 3 s ago",
    "exchanged_trigger_id": "the press was used before",
    "missing_files_scope": "the app needs the scope files:write: add it and reinstall the app",
    "file_uploads_disabled": "the workspace does not let apps upload files: ask an admin",
    "no_channel": "no Slack channel is set for this approval",
    "message_limit_exceeded": "the workspace's message limit is reached",
}
_FINAL: Final = frozenset(
    {
        "as_user_not_supported",
        "cannot_dm_bot",
        "cant_broadcast_message",
        "deprecated_endpoint",
        "enterprise_is_restricted",
        "exchanged_trigger_id",
        "invalid_arg_name",
        "invalid_arguments",
        "invalid_array_arg",
        "invalid_charset",
        "invalid_form_data",
        "invalid_post_type",
        "is_inactive",
        "method_deprecated",
        "missing_post_type",
        "no_text",
        "not_enabled",
        "plan_upgrade_required",
        "too_many_attachments",
        "two_factor_setup_required",
        "user_disabled",
        "user_not_found",
        "user_not_in_channel",
        "user_not_visible",
    }
).union(DRAWING, METADATA, FROZEN, UNTHREADED, _ADVICE)
"""What stays as it is however often we ask; of any other word nobody here can know."""

UNREADABLE: Final = BUSY | {"missing_scope"}
"""Why a channel's history may be closed to us while posting is not."""


class SlackUnavailableError(UnavailableError):
    """Not now; `code` is Slack's word for why."""

    def __init__(self, code: str, text: str, retry_after: float) -> None:
        super().__init__(text, retry_after=retry_after)
        self.code = code


class SlackRefusalError(RejectedError):
    """A no. `details` are Slack's own remarks about our payload, for the log."""

    def __init__(self, code: str, details: tuple[str, ...] = ()) -> None:
        super().__init__(f"Slack refused ({code}): {advice(code)}", code=code)
        self.details = details


class SlackUnfamiliarError(SlackRefusalError, UnfamiliarError):
    """A no by a word of Slack's that we do not know."""


def advice(code: str) -> str:
    """How a person can mend it."""
    if code.startswith("restricted_action"):
        return "the workspace does not let this app post there: ask an admin, or name another channel"
    return _ADVICE.get(code, "see the error list of the Slack method")


def refusal(status: int, data: Any, headers: Mapping[str, str]) -> OrchestratorError:
    """The error for an answer that is not `ok`; `data` is whatever was in its body."""
    body = data if isinstance(data, dict) else {}
    code = body.get("error") if isinstance(body.get("error"), str) else ""
    if status == 429 or code in BUSY:
        return SlackUnavailableError("ratelimited", "Slack asks to slow down", retry_after(headers))
    if status >= 500 or code in UNKNOWN:
        return UncertainError(f"Slack answered {status} {code}".rstrip())
    if code in CREDENTIALS:
        return _credentials(code, body)
    if code:
        return (SlackRefusalError if _is_final(code) else SlackUnfamiliarError)(code, _details(body))
    if status >= 400:  # a proxy or a wrong address: Slack itself always names its error
        return UnavailableError(
            f"HTTP {status} without an answer of Slack's; check the base URL and the proxy"
        )
    return UncertainError("an answer that is not one of Slack's")


def _is_final(code: str) -> bool:
    return code in _FINAL or code.startswith("restricted_action")


def _credentials(code: str, body: Mapping[str, Any]) -> SlackUnavailableError:
    needed = body.get("needed")
    scope = f"; the app needs the scope {needed}" if isinstance(needed, str) else ""
    text = f"Slack does not accept our credentials ({code}){scope}: check the bot token and reinstall the app"
    return SlackUnavailableError(code, text, CREDENTIALS_RETRY_SECONDS)


def _details(body: Mapping[str, Any]) -> tuple[str, ...]:
    more = body.get("response_metadata")
    messages = more.get("messages") if isinstance(more, dict) else None
    return tuple(str(m)[:500] for m in messages[:20]) if isinstance(messages, list) else ()


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds to wait, from `Retry-After`; bounded, whatever it says."""
    value = headers.get("Retry-After", "")
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        return DEFAULT_RETRY_SECONDS
    return min(max(float(value), 1.0), LONGEST_RETRY_SECONDS)
