"""Text of strangers, made safe to look at. No I/O, no Slack objects, only strings.

Two rules keep it simple: text we did not write never meets Slack's markup (that is what `blocks` is for),
and two different values never look the same (that is what this file is for).

Sources: Slack, "Formatting text for app surfaces" (escapes); Unicode Standard Annex 9 (bidirectional text);
Unicode Technical Standard 39 (mixed scripts, characters that can be mistaken for others).
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from orchestrator.domain.legible import unseen

_HARMLESS: Final = re.compile(r"[\n\t -~]*")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+( [A-Za-z0-9_.-]+)*", re.ASCII)
_SHORT: Final = 200  # characters of a value that stands above the longer ones
_MOST_MARKS: Final = 2  # accents on one letter, before they cover what is around them

_EAST_ASIAN: Final = frozenset(
    {"Cjk", "Hiragana", "Katakana", "Katakana-Hiragana", "Halfwidth", "Hangul", "Bopomofo", "Ideographic"}
)
_UNITS: Final = frozenset("µªº")  # letters by category, used beside Latin ones by everybody
_LIKE_LATIN: Final = frozenset(
    "аеорсухѕіїјһӏԁԛԝүёАВЕЁЅІЇЈКМНОРСТУХԌԚԜҮӀ" + "αικνορυχϲϳΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹ" + "սցոօհԼՕՍ"
)
_LIKE_PUNCTUATION: Final = frozenset(
    "\u01c0\u01c3\u02b9\u02ba\u02bc\u02c8\u02d0\u02d7\u0589\u05c3\u066a\u066b\u066c\u06d4\u2010\u2011\u2012"
    "\u2043\u2044\u204e\u2212\u2215\u2216\u2217\u2219\u2223\u2236\u223c\u2571\u2572\u29f5\u29f8\ua4fa\ua78c\ua789"
)

HIDDEN_NOTE: Final = "Contains hidden characters, shown as \\u{…}."
BIDI_NOTE: Final = "Contains right-to-left letters: a line may be drawn in another order than it is stored."
UNSHOWABLE: Final = "(cannot be shown: too deeply nested, or not plain JSON)"


def visible(text: str) -> tuple[str, bool]:
    """`text` with every invisible or re-ordering character spelled `\\u{…}`, and whether there was one.

    Newline and tab stay. A third accent on one letter is spelled out too. Right-to-left letters stay.
    """
    if _HARMLESS.fullmatch(text):
        return text, False
    kinds = set(text)  # far fewer than the text is long
    if not any(unicodedata.category(ch) in ("Mn", "Me") for ch in kinds):
        hidden = {ord(ch): _code(ch) for ch in kinds if unseen(ch)}
        return text.translate(hidden), bool(hidden)
    return _marked(text)


def _marked(text: str) -> tuple[str, bool]:
    """The same, character by character, for accents count by what stands before them."""
    out: list[str] = []
    odd, marks = False, 0
    for ch in text:
        marks = marks + 1 if unicodedata.category(ch) in ("Mn", "Me") else 0
        hide = unseen(ch) or marks > _MOST_MARKS
        out.append(_code(ch) if hide else ch)
        odd = odd or hide
    return "".join(out), odd


def _code(ch: str) -> str:
    return f"\\u{{{ord(ch):X}}}"


def spelled(text: str) -> str:
    """`text` in ASCII: every other character as `\\u{…}`."""
    return "".join(ch if ch.isascii() else _code(ch) for ch in text)


def escape(text: str) -> str:
    """Our own words, fit for a mrkdwn text object. Never enough for anybody else's."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def line(text: str, most: int) -> str:
    """`text` as one visible line of at most `most` units, as `weight` has them; empty text becomes a dash."""
    flat = visible(" ".join(text.split()))[0] or "—"
    return flat if weight(flat) <= most else _cut(flat, most - 1) + "…"


def weight(text: str) -> int:
    """How much of a limit of Slack's, or of a message's budget, `text` takes.

    Slack does not say what it counts; UTF-16 units are never fewer than characters: the safe guess.
    """
    return len(text) if text.isascii() else len(text) + sum(ch > "\uffff" for ch in text)


def shorten(text: str, most: int) -> tuple[str, str]:
    """The first part of `text`, and words that say how much that is; no words when nothing was left out."""
    if weight(text) <= most:
        return text, ""
    part = _cut(text, most)
    return part, f"Shortened: {grouped(len(part))} of {grouped(len(text))} characters"


def _cut(text: str, most: int) -> str:
    units = text[:most].encode("utf-16-le", "surrogatepass")[: 2 * most]
    part = units.decode("utf-16-le", "ignore")  # half a character at its end is left out
    return re.sub(r"\\(u(\{[0-9A-F]*)?)?\Z", "", part)  # half a `\u{…}` would read as something else


def grouped(count: int) -> str:
    """A number with a space between thousands."""
    return f"{count:,}".replace(",", " ")


@dataclass(frozen=True, slots=True)
class Shown:
    """A value as a person may see it.

    Args:
        text: JSON with hidden characters spelled out; different values give different texts.
        notes: Our own sentences about what could deceive the eye.
        ascii: Those lines of `text` that hold more than ASCII, spelled out; empty when no note asks for it.
        whole: Whether `text` really holds the value; False when it could not be written down.
    """

    text: str
    notes: tuple[str, ...] = ()
    ascii: str = ""
    whole: bool = True


def render(value: Any) -> Shown:
    """A plain JSON value, or a mapping of them, made safe to look at.

    JSON keeps every string on one line and doubles a backslash, so a value can neither draw a row of its
    own nor pretend to be a spelled-out character.
    """
    plain = dict(value) if isinstance(value, Mapping) else value
    try:
        raw = json.dumps(plain, ensure_ascii=False, indent=2, sort_keys=True)
    except (RecursionError, TypeError, ValueError):
        return Shown(UNSHOWABLE, whole=False)
    text, hidden = visible(raw)
    return _shown(text, _notes(plain, hidden=hidden))


def least_of(value: Any) -> int:
    """How many bytes what `render` makes of it takes as JSON at least; 0 where that is not known.

    Only a hidden character beyond 16 bits is longer in plain JSON, by one part in six.
    """
    try:
        return len(json.dumps(value)) * 5 // 6
    except (RecursionError, TypeError, ValueError):
        return 0


def first_of(value: Any, most: int) -> str:
    """The beginning of a JSON value as one visible line of at most `most` units; empty for what is none."""
    try:
        raw = json.dumps(value, ensure_ascii=False, sort_keys=True)
    except (RecursionError, TypeError, ValueError):
        return ""
    flat = re.sub("[ \n]+", " ", raw)[: 2 * most]
    return line(visible(flat)[0], most)


def facts(values: Mapping[str, Any]) -> Shown:
    """Named values, short ones first: a text as it is written, anything else as JSON.

    A value is indented, so that none of its lines passes for a name, and JSON says that it is some: different
    values never look the same.
    """
    told = {name: prose(value) if isinstance(value, str) else render(value) for name, value in values.items()}
    if not told or not all(shown.whole for shown in told.values()):
        return render(values)
    order = sorted(told, key=lambda name: (_long(told[name].text), name))
    parts = [_headed(name, told[name].text, isinstance(values[name], str)) for name in order]
    hidden = any(HIDDEN_NOTE in shown.notes for shown in told.values())
    return _shown("\n".join(parts), _notes(values, hidden=hidden or any(visible(n)[1] for n in values)))


def _long(text: str) -> bool:
    return len(text) > _SHORT or "\n" in text


def _headed(name: str, text: str, is_text: bool) -> str:
    clear = name if _NAME.fullmatch(name) else visible(json.dumps(name, ensure_ascii=False))[0]
    body = "\n".join(f"  {row}" for row in text.split("\n"))
    return f"{clear}{'' if is_text else ' (JSON)'}:\n{body}"


def prose(text: str) -> Shown:
    """A text of several lines, readable as it is and safe to look at.

    Where it holds anything spelled out, or what looks like that, backslashes are doubled: different texts
    never look the same.
    """
    clear, hidden = visible(text)
    shown = visible(text.replace("\\", "\\\\"))[0] if "\\u{" in clear else clear
    return _shown(shown, _notes(text, hidden=hidden))


def _shown(text: str, notes: tuple[str, ...]) -> Shown:
    deceptive = any(note != HIDDEN_NOTE for note in notes)
    rows = [spelled(row) for row in text.split("\n") if not row.isascii()]
    return Shown(text, notes, "\n".join(rows) if deceptive else "")


def _notes(value: Any, *, hidden: bool) -> tuple[str, ...]:
    texts = [text for text in _strings(value) if not text.isascii()]
    mixed, alike = doubtful(texts)
    notes = [HIDDEN_NOTE] if hidden else []
    if any(unicodedata.bidirectional(ch) in ("R", "AL") for ch in set().union(*texts)):
        notes.append(BIDI_NOTE)
    if mixed:
        notes.append(f"Letters of different alphabets in one word: {_some(mixed)}.")
    if alike:
        notes.append(f"Characters that can be mistaken for others: {_some(alike)}.")
    return tuple(notes)


def _strings(value: Any) -> Iterator[str]:
    """Every key and string of a JSON value. A stack, because strangers choose the depth."""
    stack = [value]
    while stack:
        top = stack.pop()
        if isinstance(top, str):
            yield top
        elif isinstance(top, Mapping):
            stack.extend((*top.keys(), *top.values()))
        elif isinstance(top, list | tuple):
            stack.extend(top)


def doubtful(texts: list[str]) -> tuple[list[str], list[str]]:
    """Words that mix alphabets, and words that look like others; each spelled in ASCII, each once."""
    mixed: dict[str, None] = {}
    alike: dict[str, None] = {}
    for text in texts:
        words = dict.fromkeys(word for word in _words(text) if not word.isascii())
        foreign = any(_alphabet(ch) not in ("", "Latin") and ch not in _LIKE_LATIN for ch in set(text))
        for word in words:
            if len({_alphabet(ch) for ch in set(word)} - {""} - _EAST_ASIAN) > 1:
                mixed[word] = None
            elif _copies(word) or (not foreign and _disguised(word)):
                alike[word] = None
    return [spelled(word) for word in mixed], [spelled(word) for word in alike]


def _words(text: str) -> Iterator[str]:
    """Runs of letters, accents and digits; punctuation that copies ASCII comes one by one."""
    between = [ch for ch in set(text) if not _in_words(ch)]
    if not between:
        return iter((text,))
    alone = "".join(ch for ch in between if _copies_ascii(ch))
    single = f"|[{re.escape(alone)}]" if alone else ""
    return iter(re.findall(f"[^{re.escape(''.join(between))}]+{single}", text))


def _in_words(ch: str) -> bool:
    return unicodedata.category(ch)[0] in "LMN" and ch not in _LIKE_PUNCTUATION


@lru_cache(maxsize=4096)
def _alphabet(ch: str) -> str:
    """The script of a letter, from its Unicode name; empty for anything that is used with every script."""
    if ch.isascii():
        return "Latin" if ch.isalpha() else ""
    if unicodedata.category(ch)[0] != "L" or ch in _UNITS:
        return ""
    return unicodedata.name(ch, "?").split(" ")[0].title()


@lru_cache(maxsize=4096)
def _copies_ascii(ch: str) -> bool:
    if ch.isascii():
        return False
    folded = unicodedata.normalize("NFKC", ch)
    kind = unicodedata.category(ch)[0]  # "…" and "²" fold too, and look like nothing else
    return ch in _LIKE_PUNCTUATION or (
        folded.isascii() and (kind == "L" or (kind in "PS" and len(folded) == 1))
    )


def _copies(word: str) -> bool:
    """Copies of ASCII, other scripts' digits, accents as characters of their own, or on no letter."""
    if unicodedata.category(word[0])[0] == "M":
        return True
    foreign = [ch for ch in set(word) if not ch.isascii() and ch not in _UNITS]
    if any(unicodedata.category(ch) == "Nd" or _copies_ascii(ch) for ch in foreign):
        return True
    letters = "".join(ch for ch in word if unicodedata.category(ch)[0] in "LM")
    return not unicodedata.is_normalized("NFC", letters)  # to sort accents takes the square of their number


def _disguised(word: str) -> bool:
    """Nothing but letters that look Latin and are not; odd where the text is not in that alphabet anyway."""
    letters = [ch for ch in set(word) if ch.isalpha()]
    return bool(letters) and all(ch in _LIKE_LATIN for ch in letters)


def _some(words: list[str]) -> str:
    first = ", ".join(_cut(word, 40) for word in words[:3])
    return first if len(words) <= 3 else f"{first} and {len(words) - 3} more"
