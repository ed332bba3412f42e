"""Slots for work, for who needs a claim and cares for nothing else about it."""

from orchestrator.domain.effects import EffectKind


class AnyRoom:
    """`Slots` without an end."""

    def reserve(self, kind: EffectKind) -> bool:
        return True

    def give_back(self, kind: EffectKind) -> None:
        pass
