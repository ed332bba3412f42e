"""What people can see of a text: which characters nobody sees, and whether there is anything to read.

Sources: Unicode 16, DerivedCoreProperties, "Default_Ignorable_Code_Point"; the letters and symbols that are
drawn as nothing (Hangul fillers, the empty braille cell, the musical null notehead, the object replacement).
"""

import unicodedata
from functools import lru_cache
from typing import Final

_SILENT: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
_BLANK: Final = frozenset({0x115F, 0x1160, 0x2800, 0x3164, 0xFFA0, 0xFFFC, 0x1D159})
_IGNORED: Final = (  # of the marks; every other ignorable character is silent by its category
    *(range(0x034F, 0x0350), range(0x17B4, 0x17B6), range(0x180B, 0x1810)),
    *(range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0)),
)
_READ: Final = frozenset("LNPS")  # letters, numbers, punctuation and symbols; a mark alone says nothing


@lru_cache(maxsize=4096)
def unseen(ch: str) -> bool:
    """Whether nobody sees this character, or takes it for another blank; space, newline and tab are seen."""
    point, category = ord(ch), unicodedata.category(ch)
    return (
        (category in _SILENT and ch not in "\n\t")
        or (category == "Zs" and ch != " ")
        or point in _BLANK
        or any(point in marks for marks in _IGNORED)
    )


def legible(text: str) -> bool:
    """Whether there is anything to read in it: blanks and characters nobody sees give no reason."""
    return any(unicodedata.category(ch)[0] in _READ and not unseen(ch) for ch in text)
