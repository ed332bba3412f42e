"""YAML without surprises, alone and through `load`."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ConfigError
from orchestrator.settings import load
from orchestrator.settings.strict_yaml import MAX_BYTES, MAX_DEPTH, YamlError, parse, scalar


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *[(w, w) for w in ("yes", "no", "on", "off", "y", "n", "Yes", "NO", "True", "FALSE", "Null")],
        *[
            (w, w)
            for w in ("12:30:45", "1:20", "2026-11-21", "2026-11-21T10:00:00Z", "010", "0o17", "0x1f", "0b1")
        ],
        *[(w, w) for w in ("1_000", ".5", "1.", ".inf", ".nan", "1e999", "9" * 19, "<<", "=", "+", "--1")],
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-7", -7),
        ("8080", 8080),
        ("1.10", 1.1),
        ("1e3", 1000.0),
        ("9" * 18, int("9" * 18)),
    ],
)
def test_plain_words(word: str, value: object) -> None:
    read = parse(f"key: {word}\n".encode()).tree["key"]
    assert read == value
    assert type(read) is type(value)


def test_quoted_words_are_text() -> None:
    tree = parse(b"a: 'true'\nb: \"12\"\nc: |\n  7\nd: >-\n  null\n").tree
    assert tree == {"a": "true", "b": "12", "c": "7\n", "d": "null"}


def test_keys_are_text() -> None:
    assert parse(b"no: 1\n7: 2\ntrue: 3\nnull: 4\n1:20: 5\n").tree == {
        "no": 1, "7": 2, "true": 3, "null": 4, "1:20": 5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: &x 2\n", 2, "anchors"),
        ("a: &x [1]\nb: *x\n", 1, "anchors"),
        ("b: *x\n", 1, "anchors"),
        ("&k a: 1\n", 1, "anchors"),
        ("a: 1\nb: !!python/object/apply:os.system [ls]\n", 2, "tags"),
        ("b: !!int '3'\n", 1, "tags"),
        ("b: !mine 3\n", 1, "tags"),
        ("b: ! 3\n", 1, "tags"),
        ("!!map {a: 1}\n", 1, "tags"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a: 1\n? [x]\n: 2\n", 2, "plain word"),
        ("a: 1\n? {x: 1}\n: 2\n", 2, "plain word"),
        ("a: 1\nb: [\n", 3, "not YAML"),
        ("a: 1\n\tb: 2\n", 2, "not YAML"),
        ("a: b: c\n", 1, "not YAML"),
        ("a: 1\nb: @x\n", 2, "not YAML"),
        ('a: "\\0"\n', 1, "no text"),
    ],
)
def test_refused_documents(text: str, line: int, says: str) -> None:
    with pytest.raises(YamlError, match=says) as caught:
        parse(text.encode())
    assert caught.value.line == line


def test_text_that_is_none_is_told_by_its_key() -> None:
    with pytest.raises(YamlError, match=r"^a\.b\[1\]: holds a character that is no text"):
        parse(b'a:\n  b: [x, "\\0"]\n')


def test_control_characters_and_broken_utf8() -> None:
    with pytest.raises(YamlError, match=r"control characters|not YAML"):
        parse(b"a: 1\nb: \x00\n")
    with pytest.raises(YamlError, match="UTF-8") as caught:
        parse(b"a: 1\nb: \xff\n")
    assert caught.value.line == 2


def test_a_byte_order_mark_and_an_empty_document() -> None:
    assert parse(b"\xef\xbb\xbfa: 1\n").tree == {"a": 1}
    assert parse(b"").tree is None
    assert parse(b"# nothing yet\n").tree is None
    assert parse(b"---\n").tree is None


@pytest.mark.parametrize("size", [MAX_BYTES - 1, MAX_BYTES, MAX_BYTES + 1])
def test_size(size: int) -> None:
    text = b"a: 1\n#".ljust(size, b"x")
    if size <= MAX_BYTES:
        assert parse(text).tree == {"a": 1}
    else:
        with pytest.raises(YamlError, match="256 KB"):
            parse(text)


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 100_000])
def test_yaml_nested_too_deeply_is_refused(depth: int) -> None:
    text = b"[" * depth + (b"]" * depth if depth < 1000 else b"")
    # the innermost list is empty, so `depth` lists are `depth` levels
    if depth <= MAX_DEPTH:
        parse(text)
    else:
        with pytest.raises(YamlError, match="deeper" if depth < 1000 else r"deeper|not YAML"):
            parse(text)


def test_twice_at_every_level() -> None:
    document = parse(b"a: 1\nb:\n  - c: 1\n    d: 2\n    c: 3\na: 2\na: 3\n")
    assert document.faults == [
        (5, "b[0].c: is given twice, first on line 3"),
        (6, "a: is given twice, first on line 1"),
        (7, "a: is given twice, first on line 1"),
    ]


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(YamlError):
        assert parse(raw).lines is not None


@given(st.text(max_size=30))
def test_a_word_is_itself_or_a_plain_value(word: str) -> None:
    value = scalar(word)
    assert value == word or value is None or isinstance(value, bool | int | float)


@pytest.mark.parametrize("text", ["- a\n", "just words\n", "7\n"])
def test_top_level_must_be_a_mapping(text: str, load_text: Any) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml:1: the top level must be a mapping"):
        load_text(text)


def test_words_that_would_turn_into_other_types(load_text: Any) -> None:
    text = "slack: {enabled: no, channel: C0APPR}\nserver: {port: 1:20}\nworkflows: {a: {model: 1.10}}\n"
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    said = str(caught.value)
    assert "config.yaml:1: slack.enabled: must be true or false" in said
    assert "config.yaml:2: server.port: must be a whole number" in said
    assert "config.yaml:3: workflows.a.model: must be text" in said


def test_a_section_with_nothing_below_it_is_at_its_defaults(load_text: Any) -> None:
    settings = load_text("server:\nslack: {channel: C0APPR}\nworkflows:\n")
    assert settings.server.port == 8080
    assert settings.workflows == {}


def test_files_that_cannot_be_read(tmp_path: Path, secrets: dict[str, str]) -> None:
    with pytest.raises(
        ConfigError, match=r"missing\.yaml: cannot be read: No such file.*ORCHESTRATOR_CONFIG"
    ):
        load(tmp_path / "missing.yaml", secrets)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, secrets)


def test_where_the_file_is(tmp_path: Path, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, port in (("config.yaml", 1), ("other.yaml", 2), ("given.yaml", 3)):
        (tmp_path / name).write_text(f"server: {{port: {port}}}\nslack: {{channel: C0APPR}}\n")
    assert load(environ=secrets).server.port == 1
    assert load(environ={**secrets, "ORCHESTRATOR_CONFIG": ""}).server.port == 1
    other = {**secrets, "ORCHESTRATOR_CONFIG": str(tmp_path / "other.yaml")}
    assert load(environ=other).server.port == 2
    assert load(tmp_path / "given.yaml", other).server.port == 3


def test_a_tab_is_called_a_tab() -> None:
    with pytest.raises(YamlError, match=r"is not YAML: .* \(a tab; lines are indented by blanks\)") as caught:
        parse(b"tools:\n\tfolder: tools\n")
    assert caught.value.line == 2
