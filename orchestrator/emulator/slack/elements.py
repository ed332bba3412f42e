"""Text objects and block elements: every field Slack knows on them, and its limits.

Source: Slack, "Block Kit" reference (composition objects, block elements). A field not listed is refused,
as Slack refuses it.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from orchestrator.emulator.slack.shapes import (
    Check,
    Fault,
    at_least_one,
    boolean,
    exactly_one,
    listing,
    matching,
    number,
    one_of,
    record,
    string,
    tagged,
    url,
    whole,
)

TYPE: Final = {"type": string()}
ID: Final = string(255)

DATE: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
TIME: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
INTEGER: Final = re.compile(r"[+-]?\d{1,40}")
DECIMAL: Final = re.compile(r"[+-]?\d{1,40}(\.\d{1,4})?")  # Slack keeps four places


def plain(most: int) -> Check:
    """A `plain_text` object; nothing else is taken here."""
    return tagged({"plain_text": record({**TYPE, "text": string(most)}, {"emoji": boolean})})


def text(most: int) -> Check:
    """A `plain_text` or `mrkdwn` object."""
    return tagged(
        {
            "plain_text": record({**TYPE, "text": string(most)}, {"emoji": boolean}),
            "mrkdwn": record({**TYPE, "text": string(most)}, {"verbatim": boolean}),
        }
    )


CONFIRM: Final = record(
    {"title": plain(100), "text": text(300), "confirm": plain(30), "deny": plain(30)},
    {"style": one_of("primary", "danger")},
)
IMAGE_SOURCE: Final = {
    "image_url": url(),
    "slack_file": record({}, {"id": string(), "url": url()}, exactly_one("id", "url")),
}
DISPATCH: Final = record(
    {"trigger_actions_on": listing(one_of("on_enter_pressed", "on_character_entered"), most=2)}
)


def option(*, rich: bool = False, links: bool = False) -> Check:
    """A choice. `rich` takes mrkdwn (radio buttons, checkboxes), `links` a url (overflow menus)."""
    words = text if rich else plain
    extra = {"url": url()} if links else {}
    return record({"text": words(75), "value": string(150)}, {"description": words(75), **extra})


def chosen(value: Any, at: str) -> Iterator[Fault]:
    """What is chosen to begin with must be among the options offered."""
    offered = [*(value.get("options") or []), *_grouped(value.get("option_groups"))]
    first = value.get("initial_option")
    if first is not None and first not in offered:
        yield Fault(f"{at}/initial_option", "must match one of the options")
    begin = value.get("initial_options")
    for index, one in enumerate(begin if isinstance(begin, list) else []):
        if one not in offered:
            yield Fault(f"{at}/initial_options/{index}", "must match one of the options")


def _grouped(groups: Any) -> Iterator[Any]:
    for group in groups if isinstance(groups, list) else []:
        options = group.get("options") if isinstance(group, dict) else None
        yield from options if isinstance(options, list) else []


def element(required: dict[str, Check], optional: dict[str, Check], *rules: Check) -> Check:
    """An interactive element: any of them may carry an action id and a confirm dialog."""
    return record({**TYPE, **required}, {"action_id": ID, "confirm": CONFIRM, **optional}, *rules)


def picker(optional: dict[str, Check], *rules: Check) -> Check:
    """An element that takes a placeholder and may take the focus."""
    return element({}, {"placeholder": plain(150), "focus_on_load": boolean, **optional}, *rules)


def entry(required: dict[str, Check], optional: dict[str, Check], *rules: Check) -> Check:
    """An element people type into: it has no confirm dialog."""
    common = {"action_id": ID, "placeholder": plain(150), "focus_on_load": boolean}
    return record({**TYPE, **required}, {**common, "dispatch_action_config": DISPATCH, **optional}, *rules)


def lengths_agree(value: Any, at: str) -> Iterator[Fault]:
    """The shortest text is not longer than the longest."""
    low, high = value.get("min_length"), value.get("max_length")
    if isinstance(low, int) and isinstance(high, int) and low > high:
        yield Fault(f"{at}/min_length", "must not be greater than max_length")


def numbers_agree(value: Any, at: str) -> Iterator[Fault]:
    """Bounds and first value are numbers of the kind allowed, the least not above the most."""
    pattern = DECIMAL if value.get("is_decimal_allowed") is True else INTEGER
    given = {key: value.get(key) for key in ("initial_value", "min_value", "max_value")}
    bad = [key for key, one in given.items() if isinstance(one, str) and not pattern.fullmatch(one)]
    yield from (Fault(f"{at}/{key}", "must be a number of the allowed kind") for key in bad)
    low, high = given["min_value"], given["max_value"]
    if not bad and isinstance(low, str) and isinstance(high, str) and Decimal(low) > Decimal(high):
        yield Fault(f"{at}/min_value", "must not be greater than max_value")


_OPTIONS: Final = {
    "options": listing(option(), most=100),
    "option_groups": listing(record({"label": plain(75), "options": listing(option(), most=100)}), most=100),
}
_FILTER: Final = record(
    {},
    {
        "include": listing(one_of("im", "mpim", "private", "public"), most=4),
        "exclude_external_shared_channels": boolean,
        "exclude_bot_users": boolean,
    },
    at_least_one("include", "exclude_external_shared_channels", "exclude_bot_users"),
)
_CONVERSATION: Final = {"default_to_current_conversation": boolean, "filter": _FILTER}
_ONE: Final = {"response_url_enabled": boolean}
_MANY: Final = {"max_selected_items": whole(1, 1000)}
_IDS: Final = listing(string(), least=0)
_TEXT_LENGTHS: Final = {
    "min_length": whole(0, 3000),
    "max_length": whole(1, 3000),
    "initial_value": string(3000, least=0),
}

BUTTON: Final = element(
    {"text": plain(75)},
    {
        "url": url(),
        "value": string(2000),
        "style": one_of("primary", "danger"),
        "accessibility_label": string(75),
        "visible_to_user_ids": listing(string()),
        "agent_prompt": string(4000),
    },
)
_FEEDBACK: Final = record({"text": plain(75), "value": string(2000)}, {"accessibility_label": string(75)})

ELEMENTS: Final[dict[str, Check]] = {
    "button": BUTTON,
    "icon_button": element(
        {"icon": one_of("trash"), "text": plain(75)},
        {"value": string(2000), "accessibility_label": string(75), "visible_to_user_ids": listing(string())},
    ),
    "feedback_buttons": record(
        {**TYPE, "positive_button": _FEEDBACK, "negative_button": _FEEDBACK}, {"action_id": ID}
    ),
    "image": record({**TYPE, "alt_text": string(2000)}, IMAGE_SOURCE, exactly_one("image_url", "slack_file")),
    "overflow": element({"options": listing(option(links=True), most=5)}, {}),
    "checkboxes": element(
        {"options": listing(option(rich=True), most=10)},
        {"initial_options": listing(option(rich=True), most=10), "focus_on_load": boolean},
        chosen,
    ),
    "radio_buttons": element(
        {"options": listing(option(rich=True), most=10)},
        {"initial_option": option(rich=True), "focus_on_load": boolean},
        chosen,
    ),
    "static_select": picker(
        {**_OPTIONS, "initial_option": option()}, exactly_one("options", "option_groups"), chosen
    ),
    "multi_static_select": picker(
        {**_OPTIONS, **_MANY, "initial_options": listing(option(), most=100)},
        exactly_one("options", "option_groups"),
        chosen,
    ),
    "external_select": picker({"initial_option": option(), "min_query_length": whole(0, 1000)}),
    "multi_external_select": picker(
        {**_MANY, "initial_options": listing(option(), most=100), "min_query_length": whole(0, 1000)}
    ),
    "users_select": picker({"initial_user": string()}),
    "multi_users_select": picker({**_MANY, "initial_users": _IDS}),
    "conversations_select": picker({**_ONE, **_CONVERSATION, "initial_conversation": string()}),
    "multi_conversations_select": picker({**_MANY, **_CONVERSATION, "initial_conversations": _IDS}),
    "channels_select": picker({**_ONE, "initial_channel": string()}),
    "multi_channels_select": picker({**_MANY, "initial_channels": _IDS}),
    "datepicker": picker({"initial_date": matching(DATE, "YYYY-MM-DD")}),
    "timepicker": picker({"initial_time": matching(TIME, "HH:mm"), "timezone": string()}),
    "datetimepicker": element({}, {"initial_date_time": whole(10**9, 10**10), "focus_on_load": boolean}),
    "plain_text_input": entry({}, {**_TEXT_LENGTHS, "multiline": boolean}, lengths_agree),
    "email_text_input": entry({}, {"initial_value": string()}),
    "url_text_input": entry({}, {"initial_value": string()}),
    "number_input": entry(
        {"is_decimal_allowed": boolean},
        {"initial_value": string(), "min_value": string(), "max_value": string()},
        numbers_agree,
    ),
    "file_input": record(
        {**TYPE}, {"action_id": ID, "filetypes": listing(string()), "max_files": whole(1, 10)}
    ),
}

SELECTS: Final = frozenset(
    f"{many}{kind}_select"
    for many in ("", "multi_")
    for kind in ("static", "external", "users", "conversations", "channels")
)
PICKERS: Final = frozenset({"checkboxes", "radio_buttons", "datepicker", "timepicker"}) | SELECTS
IN_SECTION: Final = PICKERS | {"button", "overflow", "image"}
IN_ACTIONS: Final = PICKERS | {"button", "overflow", "datetimepicker"}
IN_CONTEXT_ACTIONS: Final = frozenset({"feedback_buttons", "icon_button"})
IN_INPUT: Final = PICKERS | {
    "datetimepicker",
    "plain_text_input",
    "email_text_input",
    "url_text_input",
    "number_input",
    "file_input",
}
"""Rich text input is left out: nothing here can fill it in."""

_STYLE: Final = record({}, dict.fromkeys(("bold", "italic", "strike", "code", "underline"), boolean))
_MENTION_STYLE: Final = record(
    {}, dict.fromkeys(("bold", "italic", "strike", "highlight", "client_highlight", "unlink"), boolean)
)
_INLINE: Final[dict[str, Check]] = {
    "text": record({**TYPE, "text": string()}, {"style": _STYLE}),
    "link": record({**TYPE, "url": url()}, {"text": string(), "unsafe": boolean, "style": _STYLE}),
    "emoji": record({**TYPE, "name": string()}, {"unicode": string(), "skin_tone": number, "style": _STYLE}),
    "user": record({**TYPE, "user_id": string()}, {"style": _MENTION_STYLE}),
    "usergroup": record({**TYPE, "usergroup_id": string()}, {"style": _MENTION_STYLE}),
    "channel": record({**TYPE, "channel_id": string()}, {"style": _MENTION_STYLE}),
    "team": record({**TYPE, "team_id": string()}, {"style": _MENTION_STYLE}),
    "broadcast": record({**TYPE, "range": one_of("here", "channel", "everyone")}, {"style": _STYLE}),
    "date": record(
        {**TYPE, "timestamp": number, "format": string()},
        {"url": url(), "fallback": string(), "style": _STYLE},
    ),
    "color": record({**TYPE, "value": string()}, {"style": _STYLE}),
}
_INLINES: Final = listing(tagged(_INLINE), least=0)
_SECTION: Final = record({**TYPE, "elements": _INLINES})
_RICH: Final[dict[str, Check]] = {
    "rich_text_section": _SECTION,
    "rich_text_preformatted": record(
        {**TYPE, "elements": _INLINES}, {"border": whole(0, 1), "language": string()}
    ),
    "rich_text_quote": record({**TYPE, "elements": _INLINES}, {"border": whole(0, 1)}),
    "rich_text_list": record(
        {
            **TYPE,
            "style": one_of("bullet", "ordered"),
            "elements": listing(tagged({"rich_text_section": _SECTION})),
        },
        {"indent": whole(0, 8), "offset": whole(0, 10**6), "border": whole(0, 1)},
    ),
}
RICH_TEXT_PARTS: Final = listing(tagged(_RICH))
