"""Modals and Home tabs: who has which open, what they typed, and which answer belongs to which."""

import copy
import secrets
from dataclasses import dataclass, field
from typing import Any

from orchestrator.emulator.slack.settings import SlackEmulatorSettings
from orchestrator.emulator.slack.tickets import Refused
from orchestrator.emulator.slack.validation import VIEW_BYTES, validate_view, view_bytes
from orchestrator.emulator.slack.workspace import initial_state, with_ids

MOST_OPEN = 3
"""Modals one person can have on top of each other."""


@dataclass
class View:
    """An open modal or a published Home tab. `errors` are by block id, as the last submission got them."""

    id: str
    user: str
    definition: dict[str, Any]
    hash: str
    root: str
    previous: str | None = None
    state: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    trouble: str | None = None

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The view's blocks, every one with an id."""
        blocks: list[dict[str, Any]] = self.definition["blocks"]
        return blocks


class Views:
    """Every view in the workspace, by id, and each person's stack of modals, topmost last."""

    def __init__(self, settings: SlackEmulatorSettings) -> None:
        self._settings = settings
        self._stacks: dict[str, list[View]] = {}
        self._homes: dict[str, View] = {}

    def stack(self, user: str) -> list[View]:
        """A person's open modals, topmost last."""
        return self._stacks.setdefault(user, [])

    def home(self, user: str) -> View | None:
        """A person's Home tab, once published."""
        return self._homes.get(user)

    def all(self) -> list[View]:
        """Every open modal and published Home tab."""
        return [*(view for stack in self._stacks.values() for view in stack), *self._homes.values()]

    def find(self, view_id: object = None, external_id: object = None) -> View:
        """An open view.

        Raises:
            Refused: `not_found`.
        """
        for view in self.all():
            named = external_id and view.definition.get("external_id") == external_id
            if view.id == view_id or named:
                return view
        raise Refused("not_found")

    def open(self, user: str, definition: Any, *, push: bool = False) -> View:
        """Show a person a modal: in place of those they have open, or with `push` on top of them.

        Raises:
            Refused: `invalid_arguments` with a pointer per fault, `view_too_large`, `push_limit_reached`,
                `duplicate_external_id`.
        """
        checked = self._checked(definition, "modal")
        stack = self.stack(user)
        if not push:
            stack.clear()
        if len(stack) >= MOST_OPEN:
            raise Refused("push_limit_reached")
        view = self._made(user, checked)
        if stack:
            view.root, view.previous = stack[0].root, stack[-1].id
        stack.append(view)
        return view

    def redraw(self, view: View, definition: Any, *, expected_hash: object = None) -> View:
        """Replace what a view shows, keeping what was typed where block and action ids stay.

        Raises:
            Refused: as `open`, and `hash_conflict`.
        """
        if expected_hash is not None and expected_hash != view.hash:
            raise Refused("hash_conflict")
        kind = view.definition["type"]
        view.definition = self._checked(definition, kind, besides=view)
        view.hash, view.errors, view.trouble = _hash(), {}, None
        fresh = initial_state(view.blocks)
        for block_id, row in fresh.items():
            kept = view.state.get(block_id, {})
            row.update({a: kept[a] for a in row if a in kept and kept[a]["type"] == row[a]["type"]})
        view.state = fresh
        return view

    def publish(self, user: str, definition: Any, *, expected_hash: object = None) -> View:
        """Set a person's Home tab.

        Raises:
            Refused: as `redraw`.
        """
        old = self._homes.get(user)
        if old is not None:
            return self.redraw(old, definition, expected_hash=expected_hash)
        self._homes[user] = self._made(user, self._checked(definition, "home"))
        return self._homes[user]

    def close(self, view: View) -> None:
        """Take a modal off its person's stack."""
        stack = self.stack(view.user)
        if view in stack:
            stack.remove(view)

    def clear(self, user: str) -> None:
        """Close all modals of a person."""
        self.stack(user).clear()

    def wire(self, view: View) -> dict[str, Any]:
        """A view as the Web API and the interactivity payloads show it."""
        shown = {"callback_id": "", "private_metadata": "", "external_id": "", "submit": None, "close": None}
        return {
            **shown,
            "clear_on_close": False,
            "notify_on_close": False,
            **copy.deepcopy(view.definition),
            "id": view.id,
            "team_id": self._settings.team_id,
            "app_id": self._settings.app_id,
            "bot_id": self._settings.bot_id,
            "hash": view.hash,
            "root_view_id": view.root,
            "previous_view_id": view.previous,
            "state": {"values": copy.deepcopy(view.state)},
        }

    def _made(self, user: str, definition: dict[str, Any]) -> View:
        view_id = f"V{secrets.token_hex(5).upper()}"
        return View(view_id, user, definition, _hash(), view_id, state=initial_state(definition["blocks"]))

    def _checked(self, definition: Any, kind: str, besides: View | None = None) -> dict[str, Any]:
        faults = validate_view(definition, kinds=(kind,))
        if faults:
            lines = [f"[ERROR] {fault}" for fault in faults]
            raise Refused("invalid_arguments", response_metadata={"messages": lines})
        if view_bytes(definition) > VIEW_BYTES:
            raise Refused("view_too_large")
        external = definition.get("external_id")
        if external and any(
            v.definition.get("external_id") == external for v in self.all() if v is not besides
        ):
            raise Refused("duplicate_external_id")
        return {**definition, "blocks": with_ids(definition["blocks"], secrets.token_hex(3))}


def _hash() -> str:
    return secrets.token_hex(8)
