"""Tiny real films: H.264 in MP4, written byte by byte. Pure: no state, no I/O, no encoder.

Every frame is a key frame of raw macroblocks (`I_PCM`), which any player decodes; no two seeds give the same
file. Sources: ISO/IEC 14496-12 (boxes), 14496-15 (`avc1`), ITU-T H.264 7.3 and 7.4 (syntax), Annex B 7.4.1
(emulation prevention).
"""

import random
import re
import struct
from typing import Final

FRAMES: Final = 3
TIMESCALE: Final = 1000
BLOCK: Final = 16  # pixels of a macroblock's side
SIZES: Final = {"16:9": (64, 36), "9:16": (36, 64)}
PCM_TYPE: Final = 25  # `mb_type` of I_PCM in an I slice
DARKEST: Final = 32  # no sample is small enough to look like a start code
BRIGHTEST: Final = 224
MATRIX: Final = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
START_CODE: Final = re.compile(rb"\x00\x00(?=[\x00-\x03])")


def film(seed: str, *, seconds: float = 8.0, shape: str = "16:9", size: int = 0) -> bytes:
    """A film: a few coloured frames over `seconds`, filled up to `size` bytes where it would be smaller.

    Args:
        seed: What the colours and the filling are drawn from.
        shape: `16:9` or `9:16`.
        size: In bytes; it is met exactly, unless the film alone is larger or within 8 bytes of it.
    """
    rng, (width, height) = random.Random(seed), SIZES.get(shape, SIZES["16:9"])  # noqa: S311 - repeatable
    blocks = -(-width // BLOCK) * -(-height // BLOCK)
    samples = [_sample(_frame(number, blocks, rng)) for number in range(FRAMES)]
    lasts = round(seconds * TIMESCALE)
    head = _box(b"ftyp", b"isom" + struct.pack(">I", 512) + b"isomiso2avc1mp41")
    mark = _box(b"free", seed.encode())
    length = len(head) + len(mark) + len(_moov(samples, lasts, width, height, 0)) + 8
    filling = max(0, size - length - sum(map(len, samples)) - 8)
    free = mark + (_box(b"free", rng.randbytes(filling)) if filling else b"")
    at = length + len(free) - len(mark)
    moov = _moov(samples, lasts, width, height, at)
    return head + moov + free + _box(b"mdat", b"".join(samples))


class _Bits:
    """Bits of a NAL unit, most significant first."""

    def __init__(self) -> None:
        self.text = ""

    def u(self, value: int, width: int) -> "_Bits":
        """A fixed number of bits."""
        self.text += format(value, f"0{width}b")
        return self

    def ue(self, *values: int) -> "_Bits":
        """Exp-Golomb numbers (9.1); for 0, a signed one looks the same."""
        for value in values:
            digits = format(value + 1, "b")
            self.text += "0" * (len(digits) - 1) + digits
        return self

    def aligned(self) -> bytes:
        """The bits so far, filled up with zeros."""
        filled = self.text + "0" * (-len(self.text) % 8)
        return int(filled, 2).to_bytes(len(filled) // 8, "big")

    def ended(self) -> bytes:
        """The bits with the stop bit that closes a unit."""
        return self.u(1, 1).aligned()


def _unit(header: int, payload: bytes) -> bytes:
    return bytes([header]) + START_CODE.sub(b"\x00\x00\x03", payload)


def _sample(unit: bytes) -> bytes:
    return struct.pack(">I", len(unit)) + unit


def _sequence(width: int, height: int) -> bytes:
    across, down = -(-width // BLOCK), -(-height // BLOCK)
    cut = [0, (across * BLOCK - width) // 2, 0, (down * BLOCK - height) // 2]
    bits = _Bits().u(66, 8).u(0xC0, 8).u(10, 8)  # baseline, level 1
    bits.ue(0, 0, 2, 1).u(0, 1).ue(across - 1, down - 1)  # order of output is that of decoding
    bits.u(0b10, 2).u(1, 1).ue(*cut).u(0, 1)  # whole frames, cropped, no further description
    return _unit(0x67, bits.ended())


def _picture() -> bytes:
    bits = _Bits().ue(0, 0).u(0, 2).ue(0, 0, 0).u(0, 3).ue(0, 0, 0)
    return _unit(0x68, bits.u(0b100, 3).ended())  # a slice may switch its deblocking off


def _frame(number: int, blocks: int, rng: random.Random) -> bytes:
    head = _Bits().ue(0, 7, 0).u(0, 4).ue(number % 2).u(0, 2).ue(0, 1)  # neighbours differ in idr_pic_id
    first = head.ue(PCM_TYPE).aligned()
    other = _Bits().ue(PCM_TYPE).aligned()
    body = b"".join((first if n == 0 else other) + _block(rng) for n in range(blocks))
    return _unit(0x65, body + b"\x80")


def _block(rng: random.Random) -> bytes:
    light, blue, red = (rng.randint(DARKEST, BRIGHTEST) for _ in range(3))
    return bytes([light]) * 256 + bytes([blue]) * 64 + bytes([red]) * 64


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def _full(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", flags), *parts)


def _numbers(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def _moov(samples: list[bytes], lasts: int, width: int, height: int, at: int) -> bytes:
    """The table of contents; `at` is where the first sample lies in the file."""
    mvhd = _full(
        b"mvhd",
        _numbers(0, 0, TIMESCALE, lasts, 0x10000),
        struct.pack(">H", 0x100) + bytes(10) + MATRIX + bytes(24),
        _numbers(2),
    )
    place = struct.pack(">hhHH", 0, 0, 0, 0) + MATRIX + _numbers(width << 16, height << 16)
    tkhd = _full(b"tkhd", _numbers(0, 0, 1, 0, lasts), bytes(8), place, flags=3)
    mdhd = _full(b"mdhd", _numbers(0, 0, TIMESCALE, lasts), struct.pack(">HH", 0x55C4, 0))
    hdlr = _full(b"hdlr", bytes(4), b"vide", bytes(12), b"video\x00")
    dinf = _box(b"dinf", _full(b"dref", _numbers(1), _full(b"url ", flags=1)))
    vmhd = _full(b"vmhd", bytes(8), flags=1)
    minf = _box(b"minf", vmhd, dinf, _table(samples, lasts, width, height, at))
    return _box(b"moov", mvhd, _box(b"trak", tkhd, _box(b"mdia", mdhd, hdlr, minf)))


def _table(samples: list[bytes], lasts: int, width: int, height: int, at: int) -> bytes:
    count = len(samples)
    each = lasts // count
    times = _numbers(2, count - 1, each, 1, lasts - each * (count - 1))
    return _box(
        b"stbl",
        _full(b"stsd", _numbers(1), _entry(width, height)),
        _full(b"stts", times),
        _full(b"stsc", _numbers(1, 1, count, 1)),
        _full(b"stsz", _numbers(0, count, *map(len, samples))),
        _full(b"stco", _numbers(1, at)),
    )


def _entry(width: int, height: int) -> bytes:
    sequence, picture = _sequence(width, height), _picture()
    sets = b"\xe1" + struct.pack(">H", len(sequence)) + sequence
    sets += b"\x01" + struct.pack(">H", len(picture)) + picture
    config = _box(b"avcC", b"\x01", sequence[1:4], b"\xff", sets)
    seen = struct.pack(">HHIIIH", width, height, 0x480000, 0x480000, 0, 1)
    return _box(
        b"avc1", bytes(6), struct.pack(">H", 1), bytes(16), seen, bytes(32), b"\x00\x18\xff\xff", config
    )
