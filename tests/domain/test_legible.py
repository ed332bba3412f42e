"""What nobody sees gives no reason, and no value its look."""

import pytest

from orchestrator.domain.legible import legible, unseen

IGNORABLE = [  # Unicode's Default_Ignorable_Code_Point, first and last of each range
    *(0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180F, 0x200B, 0x200F, 0x202A, 0x202E),
    *(0x2060, 0x206F, 0x3164, 0xFE00, 0xFE0F, 0xFEFF, 0xFFA0, 0xFFF0, 0xFFF8, 0x1BCA0, 0x1BCA3, 0x1D173),
    *(0x1D17A, 0xE0000, 0xE00FF, 0xE0100, 0xE01EF, 0xE0FFF),
]
DRAWN_AS_NOTHING = [0x2800, 0x1D159, 0xFFFC]


@pytest.mark.parametrize("point", IGNORABLE + DRAWN_AS_NOTHING)
def test_what_is_drawn_as_nothing_is_not_seen_and_says_nothing(point: int) -> None:
    assert unseen(chr(point))
    assert not legible(f" {chr(point)}\n")


@pytest.mark.parametrize("text", ["", " \n\t", "\u00a0\u3000", "\u0301", "\u200b\u0301 "])
def test_blanks_and_accents_on_nothing_say_nothing(text: str) -> None:
    assert not legible(text)


@pytest.mark.parametrize("text", ["no", "?", "1", "👎", "нет", "否", "\u200bno", "לא", "נ\u05b4"])
def test_anything_else_says_something(text: str) -> None:
    assert legible(text)
    assert not unseen(text[-1])
