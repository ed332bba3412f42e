"""Hidden, re-ordering and look-alike characters become visible; different values look different."""

import json
import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.slack.text import (
    BIDI_NOTE,
    HIDDEN_NOTE,
    UNSHOWABLE,
    doubtful,
    escape,
    line,
    render,
    shorten,
    visible,
    weight,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pay\u202elive", "pay\\u{202E}live"),
        ("a\u200bb", "a\\u{200B}b"),
        ("a\u00adb", "a\\u{AD}b"),
        ("a\u00a0b", "a\\u{A0}b"),
        ("\U000e0041", "\\u{E0041}"),
        ("x\ufe00\ufe0f", "x\\u{FE00}\\u{FE0F}"),
        ("\ud800", "\\u{D800}"),
        ("\u3164", "\\u{3164}"),
        ("\u2028", "\\u{2028}"),
        ("a\u034fb", "a\\u{34F}b"),
        ("\u180bx", "\\u{180B}x"),
        ("\ufffc\U0001d159", "\\u{FFFC}\\u{1D159}"),
        ("\x1b[2J", "\\u{1B}[2J"),
        ("o\u0301\u0302\u0303", "o\u0301\u0302\\u{303}"),
    ],
)
def test_what_cannot_be_seen_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == (shown, True)


@pytest.mark.parametrize("text", ["", "plain\n\ttext", "Zürich", "Привет", "日本語", "שלום", "e\u0301"])
def test_what_can_be_seen_is_left_alone(text: str) -> None:
    assert visible(text) == (text, False)


@given(st.text())
def test_nothing_invisible_survives(text: str) -> None:
    shown, odd = visible(text)
    assert not any(
        unicodedata.category(ch) in ("Cc", "Cf", "Cs", "Co", "Cn") for ch in shown if ch not in "\n\t"
    )
    assert odd == (shown != text)
    shown.encode()


@given(JSON, JSON)
def test_different_values_never_look_the_same(one: object, other: object) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (render({"v": one}).text == render({"v": other}).text) == same


def test_a_spelled_character_cannot_be_imitated() -> None:
    assert render({"v": "\u202e"}).text != render({"v": "\\u{202E}"}).text


def test_a_string_cannot_draw_a_row_of_its_own() -> None:
    rows = render({"note": 'x",\n  "amount": 1'}).text.split("\n")
    assert len(rows) == 3
    assert '"amount"' not in rows[1].replace('\\"', "")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("p\u0430ypal", "Letters of different alphabets in one word: p\\u{430}ypal."),
        ("\U0001d41admin", "Letters of different alphabets in one word: \\u{1D41A}dmin."),
        ("\u0440\u0430\u0443", "Characters that can be mistaken for others: \\u{440}\\u{430}\\u{443}."),
        ("\uff21\uff22", "Characters that can be mistaken for others: \\u{FF21}\\u{FF22}."),
        ("\ufb01x", "Characters that can be mistaken for others: \\u{FB01}x."),
        ("\u22125", "Characters that can be mistaken for others: \\u{2212}."),
        ("=\u0338", "Characters that can be mistaken for others: \\u{338}."),
        ("e\u0301", "Characters that can be mistaken for others: e\\u{301}."),
        ("\u09ea2", "Characters that can be mistaken for others: \\u{9EA}2."),
        ("שלום", BIDI_NOTE),
        ("a\u200db", HIDDEN_NOTE),
    ],
)
def test_what_could_deceive_the_eye_is_said(value: str, said: str) -> None:
    for arguments in ({"k": value}, {value: 1}, {"deep": [{"er": [value]}]}):
        assert said in render(arguments).notes


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        "été",
        "Привет, как дела?\nу нас всё",
        "日本iPhoneを買う",
        "5 µm",
        "“so” – he said…",
        "한국",
        "नमस्ते",
        "น้ำ",
        "1ª",
        "m²",
    ],
)
def test_ordinary_text_of_any_language_is_not_suspected(value: str) -> None:
    assert render({"k": value}).notes == ()


def test_doubtful_lines_come_again_in_ascii() -> None:
    shown = render({"a": "plain", "b": "p\u0430ypal", "c": "Zürich"})
    assert shown.ascii == '  "b": "p\\u{430}ypal",\n  "c": "Z\\u{FC}rich"'
    assert render({"c": "Zürich"}).ascii == ""


def test_many_doubtful_words_are_counted_not_listed() -> None:
    mixed, _ = doubtful([f"{ch}а" for ch in "bcdefg"])
    note = render({"k": " ".join(f"{ch}а" for ch in "bcdefg")}).notes[0]
    assert len(mixed) == 6
    assert note.endswith("and 3 more.")


def test_what_cannot_be_written_down_says_so() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in ({"k": deep}, {"k": {1, 2}}, {"k": object()}):
        shown = render(value)
        assert (shown.text, shown.whole) == (UNSHOWABLE, False)


def test_own_words_in_markup_are_escaped_in_the_right_order() -> None:
    assert escape("<!channel> & <https://x|y>") == "&lt;!channel&gt; &amp; &lt;https://x|y&gt;"
    assert escape("&lt;") == "&amp;lt;"


def test_one_line_is_one_visible_line() -> None:
    assert line("a\n b\u202e", 50) == "a b\\u{202E}"
    assert line("", 50) == "—"
    assert line("x" * 60, 10) == "x" * 9 + "…"


def test_a_line_fits_however_its_characters_are_counted() -> None:
    assert line("\U0001f600" * 5, 10) == "\U0001f600" * 5
    assert line("\U0001f600" * 6, 10) == "\U0001f600" * 4 + "…"
    assert line("a" + "\U0001f600" * 6, 11) == "a" + "\U0001f600" * 4 + "…"


def test_what_is_shortened_uses_its_room() -> None:
    assert shorten("a" * 98 + "\U0001f600" * 2, 100)[0] == "a" * 98 + "\U0001f600"


@pytest.mark.parametrize(("length", "cut"), [(99, False), (100, False), (101, True)])
def test_shortening_says_how_much_is_left_out(length: int, cut: bool) -> None:
    text, said = shorten("x" * length, 100)
    assert len(text) == min(length, 100)
    assert said == (f"Shortened: 100 of {length} characters" if cut else "")


def test_shortening_counts_in_thousands() -> None:
    assert shorten("x" * 18_400, 2_100)[1] == "Shortened: 2 100 of 18 400 characters"


@pytest.mark.parametrize("most", range(1, 9))
def test_shortening_never_halves_a_spelled_character(most: int) -> None:
    assert shorten("ab\\u{202E}c", most)[0] in ("a", "ab")


@given(st.text(), st.integers(1, 50))
def test_what_is_shortened_fits(text: str, most: int) -> None:
    assert weight(shorten(text, most)[0]) <= most


def test_accents_are_not_sorted_to_judge_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """To normalise a text sorts the accents of a letter one by one: of 64 KB of them for seconds."""
    lengths: list[int] = []

    def counted(form: Literal["NFC", "NFD", "NFKC", "NFKD"], text: str) -> str:
        lengths.append(len(text))
        return normalize(form, text)

    normalize = unicodedata.normalize
    monkeypatch.setattr(unicodedata, "normalize", counted)
    shown = render({"a": "a" + "\u0301\u0316" * 50})
    assert max(lengths, default=0) <= 1
    assert any("mistaken for others" in note for note in shown.notes)
