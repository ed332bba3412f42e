"""What a file is, by what is in it: neither a name nor a header is believed."""

import codecs
from typing import Final

MP4: Final = "video/mp4"
WEBM: Final = "video/webm"
MOV: Final = "video/quicktime"
PNG: Final = "image/png"
JPEG: Final = "image/jpeg"
WEBP: Final = "image/webp"
JSONL: Final = "application/jsonl"
TEXT: Final = "text/plain"

VIDEOS: Final = frozenset({MP4, WEBM, MOV})
SUFFIX: Final = {
    MP4: ".mp4",
    WEBM: ".webm",
    MOV: ".mov",
    PNG: ".png",
    JPEG: ".jpg",
    WEBP: ".webp",
    JSONL: ".jsonl",
    TEXT: ".txt",
}
HEAD_BYTES: Final = 512
"""As much of a beginning as `type_of` needs, where the file has as much."""

_BRANDS: Final = frozenset(
    {b"isom", b"mp41", b"mp42", b"mp71", b"avc1", b"av01", b"dash", b"M4V ", b"M4VH", b"M4VP", b"MSNV"}
    | {b"iso%d" % n for n in range(2, 10)}
)
_PICTURES: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis"})
_CONTROLS: Final = frozenset(range(32)) - {0x09, 0x0A, 0x0C, 0x0D}


def type_of(head: bytes) -> str:
    """The media type of what begins so; empty for anything we do not know.

    Source: the file signatures of ISO 14496-12 (`ftyp`), Matroska, PNG, JFIF, RIFF; JSON Lines as text
    whose first line is an object.
    """
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return WEBM if b"\x42\x82\x84webm" in head[:64] else ""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WEBP
    if not head or not _is_text(head):
        return ""
    return JSONL if head.lstrip(b" \t\r\n").startswith(b"{") else TEXT


def _by_brand(head: bytes) -> str:
    """Of the family of MP4: QuickTime's own, pictures in the same box, and the rest."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    major, others = head[8:12], {head[i : i + 4] for i in range(16, end, 4)}
    if major == b"qt  ":
        return MOV
    return MP4 if major not in _PICTURES and _BRANDS & {major, *others} else ""


def _is_text(head: bytes) -> bool:
    return _CONTROLS.isdisjoint(head) and Text().take(head)


class Text:
    """Whether bytes that come in pieces are UTF-8 without NUL."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def take(self, piece: bytes, *, last: bool = False) -> bool:
        """Whether it still may be."""
        try:
            self._decoder.decode(piece, last)
        except UnicodeDecodeError:
            return False
        return b"\0" not in piece
