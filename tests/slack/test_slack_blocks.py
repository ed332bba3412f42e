"""What people see of an approval, state by state, and what strangers' text can not do to it."""

import itertools
import json
import random
import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.slack_cards import ALICE, DIGEST, ID, LINK, NOW, card, decided, on, states, under
from support.slack_limits import faults, markup
from support.slack_messages import actions, block, shown

from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Actor, ApprovalStatus, Stage, Terms, Vote
from orchestrator.domain.model import CallStatus, Outcome, OutcomeKind, RunStatus
from orchestrator.domain.values import replace
from orchestrator.emulator.slack.validation import text_length, validate_blocks
from orchestrator.slack.blocks import TEXT_BUDGET, draw, plain
from orchestrator.slack.looks import Look, look, sentence
from orchestrator.slack.message import Message, whisper

S, C, K = ApprovalStatus, CallStatus, OutcomeKind
HOSTILE = "<!channel> <https://evil.example|Approve here> `*_~ :white_check_mark: <@U0BOB> @here https://evil.example"


def arguments_shown(message: Message) -> str:
    parts = block(message, "a")["elements"]
    return str(next(p for p in parts if p["type"] == "rich_text_preformatted")["elements"][0]["text"])


@pytest.mark.parametrize("name", states())
def test_every_state_is_a_message_slack_takes(name: str) -> None:
    message = draw(states()[name], now=NOW)
    assert faults(message.blocks) == []
    assert validate_blocks(message.blocks) == ()
    assert text_length(message.blocks) <= TEXT_BUDGET
    assert 0 < len(message.text.encode()) <= 3_500
    assert message.metadata == {
        "event_type": "approval_request",
        "event_payload": {"request_id": ID, "delivery_id": f"dlv_{ID[4:]}_1", "rev": 1},
    }


@pytest.mark.parametrize(
    ("name", "headline", "words"),
    [
        ("approved", "Approved", "Approved. It has not started yet."),
        ("running", "Approved and running", "Approved. The tool is running now."),
        ("running a job", "Approved and running", "Approved. Gemini is at work on it."),
        (
            "running, run cancelled",
            "Approved and running",
            "Approved. The tool is running now. The run was cancelled.",
        ),
        ("done", "Done", "Approved, and the tool has finished."),
        ("failed", "Failed after approval", "Approved, but the tool failed. The agent is told so."),
        (
            "in doubt",
            "In doubt",
            "Started, then cut off: nobody knows whether it took effect. An operator has to say.",
        ),
        (
            "changed",
            "In doubt",
            "What was approved is not what would run now. Nothing was run; an operator has to say what now.",
        ),
        (
            "lapsed",
            "Lapsed",
            "Approved, but it did not start in time. It does not run. The agent is told so.",
        ),
        (
            "refused",
            "Not run",
            "Approved, but refused before it started. It did not run. The agent is told so.",
        ),
        ("rejected", "Rejected", "Rejected. It does not run. The agent is told so."),
        ("expired", "Expired", "No decision in time. It does not run. The agent is told so."),
        ("withdrawn", "Withdrawn", "The run was cancelled. It does not run."),
        (
            "withdrawn while it ran",
            "Withdrawn",
            "The run was cancelled. The tool had started; its result is not used.",
        ),
    ],
)
def test_a_decided_message_says_what_became_of_it_and_keeps_only_its_details(
    name: str, headline: str, words: str
) -> None:
    message = draw(states()[name], now=NOW)
    assert block(message, "h")["text"]["text"] == f"{headline}: refund_order"
    assert block(message, "state")["text"]["text"] == words
    assert message.text == f"{headline}: refund_order (workflow support)."
    assert actions(message) == ["details"]
    assert '"order": 4711' in arguments_shown(message)


@pytest.mark.parametrize("name", ["replaced", "replaced by what ran"])
def test_a_question_that_was_replaced_has_nothing_to_press(name: str) -> None:
    """Its details would be those of another; what becomes of the call is told there."""
    message = draw(states()[name], now=NOW)
    assert message.text == "Replaced: refund_order (workflow support)."
    said = "Another question about the same call has taken the place of this one."
    assert block(message, "state")["text"]["text"] == said
    assert actions(message) == []
    assert '"order": 4711' in arguments_shown(message)
    assert "gone on" not in json.dumps(message.blocks)


@pytest.mark.parametrize("address", ["javascript:alert(1)", "https://a.example/|x> <!channel>", ""])
def test_a_question_that_was_replaced_leads_to_the_one_in_its_place(address: str) -> None:
    there = "https://acme.slack.com/archives/C0APPR/p1795290000000100?thread_ts=1.1&cid=C0APPR"
    shown = [
        f["text"]
        for f in block(draw(replace(states()["replaced"], replaced_link=there), now=NOW), "m")["fields"]
    ]
    assert f"*In its place*\n<{there.replace('&', '&amp;')}|the new message>" in shown
    without = draw(replace(states()["replaced"], replaced_link=address), now=NOW)
    assert without == draw(states()["replaced"], now=NOW)


def test_the_pending_message_holds_all_that_is_needed_to_decide() -> None:
    message = draw(card(), now=NOW)
    assert message.text == ("Approval needed: refund_order (workflow support). Expires 2026-11-21 15:00 UTC.")
    assert block(message, "h")["text"]["text"] == "Approval needed: refund_order"
    assert block(message, "d")["text"]["text"] == "Refund an order to the card it was paid with."
    assert [f["text"] for f in block(message, "m")["fields"]] == [
        "*Workflow*\nsupport",
        f"*Run*\n<{LINK}|run_9>",
        "*Asked for by*\n<@U0DANA>",
    ]
    assert arguments_shown(message) == '{\n  "note": "twice",\n  "order": 4711\n}'
    until = int((NOW + timedelta(hours=1)).timestamp())
    assert [e["text"] for e in block(message, "c")["elements"]] == [
        "may decide: <@U0ALICE> <@U0BOB>",
        "and api:ci",
        f"expires <!date^{until}^{{date_short_pretty}} {{time}}|2026-11-21 15:00 UTC> · "
        f"`{ID}` rev 1 · sha256 `9f2c41aa`",
    ]
    approve, reject, details = block(message, "decide")["elements"]
    assert actions(message) == ["approve", "reject_reason", "details"]
    assert [b["text"]["text"] for b in (approve, reject, details)] == ["Approve", "Reject…", "Details"]
    assert approve["value"] == reject["value"] == details["value"] == f"{ID}|1|{DIGEST[:16]}"
    assert approve["confirm"]["title"]["text"] == "Run refund_order?"
    assert "confirm" not in reject


def test_who_asked_for_the_run_is_not_named_under_four_eyes() -> None:
    """Neither is who asked for the work it takes up. Where nobody else is named, the card says so."""
    eyes = under(card(), four_eyes=True)
    alice = replace(eyes, requester=ALICE)
    both = replace(eyes, asked_before=("U0ALICE", "U0BOB"))
    assert deciders(alice) == ["may decide: <@U0BOB>", "and api:ci"]
    assert deciders(both) == ["may decide: api:ci"]
    assert deciders(under(alice, approvers=("U0ALICE",))) == [
        "nobody is named who may decide, other than who asked for the run"
    ]
    stages = (Stage("risk", ("U0BOB",)), Stage("legal", ("U0ALICE",)))
    votes = (Vote(Actor("U0BOB"), NOW, 0),)
    legal = under(alice, stages=stages)
    legal = replace(legal, approval=replace(legal.approval, votes=votes))
    assert [e["text"] for e in block(draw(legal, now=NOW), "votes")["elements"]][2:] == [
        "nobody is named who may decide, other than who asked for the run"
    ]


def deciders(shown: Card) -> list[str]:
    """What the card says of them."""
    return [e["text"] for e in block(draw(shown, now=NOW), "c")["elements"][:-1]]


def test_by_whom_and_when_takes_the_place_of_the_buttons() -> None:
    at = f"<!date^{int(NOW.timestamp())}^{{date_short_pretty}} {{time}}|2026-11-21 14:00 UTC>"
    fields = [f["text"] for f in block(draw(states()["approved"], now=NOW), "m")["fields"]]
    assert fields[3:5] == ["*Approved by*\n<@U0ALICE>", f"*When*\n{at}, in Slack"]
    assert fields[5].startswith("*Starts by*\n<!date^")
    rejected = draw(states()["rejected"], now=NOW)
    assert "*Rejected by*\n<@U0BOB>" in shown(rejected)
    assert block(rejected, "r")["elements"][1]["type"] == "rich_text_preformatted"


def test_a_decision_by_api_is_shown_as_text() -> None:
    base = states()["approved"]
    verdict = replace(base.approval.verdict, by=Actor("api:ci", "Deploy *bot* <!here>", "api"))  # type: ignore[type-var]
    message = draw(replace(base, approval=replace(base.approval, verdict=verdict)), now=NOW)
    field = block(message, "m")["fields"][3]
    assert field["type"] == "plain_text"
    assert field["text"] == "Approved by\napi:ci (Deploy *bot* <!here>)"
    assert ", by the HTTP API" in shown(message)


def test_what_the_tool_said_is_quoted_and_short() -> None:
    message = draw(states()["done"], now=NOW)
    label, quote = block(message, "o")["elements"]
    assert label["elements"][0]["text"] == "What the tool said (not checked)"
    assert quote["type"] == "rich_text_preformatted"
    assert "<@U0BOB> ok" in quote["elements"][0]["text"]
    assert "*Took*\n2.5 s" in shown(message)
    long = decided(S.APPROVED, C.SETTLED, outcome=Outcome(K.SUCCEEDED, "x" * 50_000), started=True)
    assert "Shortened: 600 of 50 000 characters." in shown(draw(long, now=NOW))


@pytest.mark.parametrize("name", states())
def test_block_ids_carry_revision_and_state(name: str) -> None:
    base = states()[name]
    newer = replace(base, approval=replace(base.approval, revision=7))
    ids = {b["block_id"] for b in draw(base, now=NOW).blocks}
    assert all(re.fullmatch(r"[a-z]+:[0-9a-f]{8}:1:[a-z_]+", i) for i in ids)
    assert ids.isdisjoint(b["block_id"] for b in draw(newer, now=NOW).blocks)
    if name != "pending":
        assert ids.isdisjoint(b["block_id"] for b in draw(card(), now=NOW).blocks)


def test_a_block_that_is_drawn_otherwise_is_a_new_one() -> None:
    base = under(card(progress="1 of 2"), quorum=2)
    votes = (Vote(ALICE, NOW),)
    later = replace(on(base, lambda approval: replace(approval, votes=votes)), progress="2 of 2")
    before = {b["block_id"]: b for b in draw(base, now=NOW).blocks}
    after = {b["block_id"]: b for b in draw(later, now=NOW).blocks}
    kept = before.keys() & after.keys()
    assert all(before[i] == after[i] for i in kept)
    assert {i.split(":")[0] for i in before.keys() - kept} == {"m", "votes", "decide"}


# --- the clock only takes away ----------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "state"), [(-1, Look.PENDING), (0, Look.EXPIRED), (1, Look.EXPIRED)])
def test_an_overdue_question_has_nothing_to_decide_with(seconds: int, state: Look) -> None:
    at = card().approval.expires_at + timedelta(seconds=seconds)
    assert look(card(), at) is state
    assert (actions(draw(card(), now=at)) == ["details"]) == (state is not Look.PENDING)


@pytest.mark.parametrize(("seconds", "state"), [(-1, Look.APPROVED), (0, Look.APPROVED), (1, Look.LAPSED)])
def test_an_approval_that_was_not_used_in_time_has_lapsed(seconds: int, state: Look) -> None:
    base = states()["approved"]
    assert base.approval.start_by is not None
    assert look(base, base.approval.start_by + timedelta(seconds=seconds)) is state


def test_a_question_of_an_ended_run_is_never_drawn_as_open() -> None:
    for run in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED):
        assert look(replace(card(), run_status=run), NOW) is Look.WITHDRAWN
        assert look(replace(states()["approved"], run_status=run), NOW) is Look.WITHDRAWN


@pytest.mark.parametrize("call", [c for c in C if c is not C.AWAITING_APPROVAL])
def test_buttons_need_a_call_that_waits(call: CallStatus) -> None:
    base = card()
    left = [] if call is C.PREVIEWING else ["details"]  # another question takes its place
    assert actions(draw(replace(base, call=replace(base.call, status=call)), now=NOW)) == left


@pytest.mark.parametrize("approval", S)
@pytest.mark.parametrize("call", C)
def test_every_combination_of_statuses_has_a_look(approval: ApprovalStatus, call: CallStatus) -> None:
    for run, kind in itertools.product(RunStatus, [None, *K]):
        base = decided(approval, call, outcome=Outcome(kind, "x") if kind else None, run=run)
        message = draw(base, now=NOW)
        assert faults(message.blocks) == []
        state = look(base, NOW)
        assert ("approve" in actions(message)) == (state is Look.PENDING)
        assert bool(sentence(base, state)) == (state is not Look.PENDING)
        if state is Look.PENDING:
            assert (approval, call) == (S.PENDING, C.AWAITING_APPROVAL)
        else:
            assert actions(message) == ([] if call is C.PREVIEWING else ["details"])


def test_a_call_that_went_on_without_its_request_is_not_said_to_rest() -> None:
    went_on = decided(S.WITHDRAWN, C.EXECUTING, started=True)
    assert (
        sentence(went_on, Look.WITHDRAWN)
        == "The request was taken back. The call went on without this request."
    )


# --- text of strangers ------------------------------------------------------------------------------


def hostile(name: str) -> Card:
    base = states()[name]
    verdict = base.approval.verdict and replace(
        base.approval.verdict, by=Actor(HOSTILE, HOSTILE, "slack"), reason=HOSTILE
    )
    outcome = base.call.outcome and replace(base.call.outcome, result=HOSTILE)
    return replace(
        base,
        approval=replace(
            base.approval,
            verdict=verdict,
            terms=Terms(("U0ALICE", HOSTILE, "U0EVIL|y> <!here", "<!everyone>"), "C0APPR"),
        ),
        call=replace(base.call, arguments={HOSTILE: HOSTILE}, outcome=outcome),
        requester=Actor(HOSTILE, HOSTILE, "api"),
        run_reason=HOSTILE,
        description=HOSTILE,
        run_id=f"run_9 {HOSTILE}",
        link=f"https://hitl.example.com/{HOSTILE}",
    )


@pytest.mark.parametrize("name", states())
def test_no_text_of_others_is_ever_markup(name: str) -> None:
    message = draw(hostile(name), now=NOW)
    assert faults(message.blocks) == []
    live = "\n".join([*markup(message.blocks), message.text, plain(hostile(name), now=NOW).text])
    assert "evil" not in live
    assert "!channel" not in live
    assert "white_check_mark" not in live
    assert set(re.findall(r"<@[^>]*>", live)) <= {"<@U0ALICE>"}
    links = [p for b in message.blocks for p in b.get("elements", []) if "url" in p]
    assert links == []
    every = [t for b in message.blocks for t in _objects(b) if t.get("type") == "plain_text"]
    assert every
    assert all(t["emoji"] is False for t in every)
    assert all(t["verbatim"] for b in message.blocks for t in _objects(b) if t.get("type") == "mrkdwn")


def _objects(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [o for entry in value for o in _objects(entry)]
    return [value, *(o for v in value.values() for o in _objects(v))] if isinstance(value, dict) else []


def test_arguments_stay_out_of_the_notification() -> None:
    secret = card({"iban": "DE02120300000000202051"})
    assert "DE02" not in draw(secret, now=NOW).text + plain(secret, now=NOW).text
    assert "DE02" not in json.dumps(draw(secret, now=NOW).metadata)


def test_own_names_are_escaped_where_they_are_markup() -> None:
    odd = replace(card(), workflow="R&D <x>")
    assert "R&amp;D &lt;x&gt;" in draw(odd, now=NOW).text
    assert {"type": "plain_text", "emoji": False, "text": "Workflow\nR&D <x>"} in block(
        draw(odd, now=NOW), "m"
    )["fields"]


@pytest.mark.parametrize(
    "link",
    ["", "javascript:alert(1)", "https://x/|y", "https://x/ y", "https://x/>", "ftp://x", "https://x/\u202e"],
)
def test_only_a_proper_address_becomes_a_link(link: str) -> None:
    message = draw(replace(card({"k": "x" * 200_000}), link=link), now=NOW)
    assert actions(message) == ["reject_reason", "ask"]
    assert "Review…" not in shown(message)
    assert "*Run*\nrun_9" in shown(message)


def test_doubt_is_said_beside_the_arguments() -> None:
    message = draw(card({"to": "p\u0430ypal", "note": "שלום\u200b"}), now=NOW)
    text = shown(message)
    assert "Contains hidden characters, shown as \\u{…}." in text
    assert "Contains right-to-left letters" in text
    assert "Letters of different alphabets in one word: p\\u{430}ypal." in text
    assert "The same in ASCII" in text
    assert '"to": "p\\u{430}ypal"' in text
    assert actions(message) == ["approve", "reject_reason", "details"]


# --- no blind approval ----------------------------------------------------------------------------------


def test_arguments_that_do_not_fit_are_never_approved_here() -> None:
    message = draw(card({"k": "x" * 18_387}), now=NOW)
    assert "Shortened: 2 000 of 18 400 characters." in shown(message)
    assert actions(message) == ["details", "reject_reason"]
    review = block(message, "decide")["elements"][0]
    assert (review["text"]["text"], review["style"]) == ("Review…", "primary")
    assert "the decision to approve is made there." in shown(message)
    assert faults(message.blocks) == []


def test_what_fits_into_no_window_is_reviewed_on_our_page() -> None:
    message = draw(card({"k": "x" * 200_000}), now=NOW)
    assert actions(message) == ["review", "reject_reason", "ask"]
    review = block(message, "decide")["elements"][0]
    assert (review["url"], review["text"]["text"]) == (LINK, "Review…")
    assert "the decision to approve is made there." in shown(message)
    assert faults(message.blocks) == []


def test_without_a_page_the_words_name_the_other_doors() -> None:
    message = draw(replace(card({"k": "x" * 200_000}), link=""), now=NOW)
    assert actions(message) == ["reject_reason", "ask"]
    assert "HTTP API or on the command line" in shown(message)


def test_approve_goes_exactly_where_the_arguments_stop_fitting() -> None:
    def whole(size: int) -> bool:
        message = draw(card({"k": "x" * size}), now=NOW)
        complete = arguments_shown(message) == json.dumps({"k": "x" * size}, indent=2)
        assert complete == ("approve" in actions(message)) == ("Shortened" not in shown(message))
        assert text_length(message.blocks) <= TEXT_BUDGET
        return complete

    low, high = 7_000, 10_000
    assert whole(low)
    assert not whole(high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if whole(middle) else (low, middle)


def test_what_cannot_be_written_down_cannot_be_approved() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    message = draw(card({"k": deep}), now=NOW)
    assert actions(message) == ["review", "reject_reason", "ask"]
    assert "cannot be shown" in arguments_shown(message)


def test_wide_characters_take_their_full_share() -> None:
    message = draw(card({"k": "😀" * 8_000}), now=NOW)
    assert "approve" not in actions(message)


ALPHABET = st.sampled_from(
    [*'ab19 <>&*_`~|:"\\\n{}', "\u202e", "\u200b", "\u0430", "\u0301", "\ufe0f", "ש", "\ud800", "😀"]
)
VALUES = st.one_of(
    st.text(ALPHABET, max_size=30),
    st.integers(),
    st.booleans(),
    st.none(),
    st.text(ALPHABET, min_size=1, max_size=4).map(lambda t: (t * 9_000)[:9_000]),
)
ARGUMENTS = st.dictionaries(st.text(ALPHABET, max_size=8), VALUES, max_size=6)


@settings(max_examples=60)
@given(ARGUMENTS)
def test_any_arguments_make_a_message_slack_takes(arguments: dict[str, Any]) -> None:
    message = draw(card(arguments), now=NOW)
    assert faults(message.blocks) == []
    assert text_length(message.blocks) <= TEXT_BUDGET
    json.dumps(message.blocks, ensure_ascii=False).encode()
    assert ("approve" in actions(message)) == ("Shortened" not in shown(message))


def pairs() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """500 pairs of arguments that differ in one hostile detail (seeded)."""
    dice = random.Random(20261121)
    # fmt: off
    tricks: list[tuple[Any, Any]] = [
        ("payee", "pay\u200bee"), ("payee", "p\u0430yee"), ("abc", "abc\u202e"), ("abc", "abc "),
        ("abc", "abc\u00a0"), ("e\u0301", "é"), ("A", "Α"), ("1", 1), (1, 1.0), (1, True), (0, False),
        (None, "null"), ("", None), ("a\nb", "a\\nb"), ("\u202e", "\\u{202E}"), ("\\", "\\\\"),
        ("*x*", "x"), ("<!channel>", "&lt;!channel&gt;"), ("a\u2028b", "a\nb"), ("\ud800", "\ufffd"),
        ("x", "x\ufe0f"), ("x", "x\u00ad"), ("-5", "\u22125"), (0.1, 0.10000001), ("\u3164", ""),
        ("x", "x\u0301\u0302\u0303"), ([], {}), (["a", "b"], ["a, b"]), ("\t", "    "), ("ﬁ", "fi"),
    ]
    # fmt: on

    def one() -> tuple[dict[str, Any], dict[str, Any]]:
        left, right = dice.choice(tricks)
        shape = dice.randrange(5)
        if shape == 0:
            return {"v": left}, {"v": right}
        if shape == 1:
            filler = {f"field_{i:03}": dice.randrange(10**6) for i in range(200)}
            return {**filler, "v": left}, {**filler, "v": right}
        if shape == 2:
            big = "".join(dice.choice("abc <>&") for _ in range(9_000))
            return {"big": big, "v": left}, {"big": big, "v": right}
        if shape == 3 and isinstance(left, str) and isinstance(right, str):
            return {left: 1}, {right: 1}
        at = dice.randrange(9_000)
        text = "x" * 9_000
        return {"v": text[:at] + str(left) + text[at:], "w": left}, {
            "v": text[:at] + str(right) + text[at:],
            "w": right,
        }

    return [one() for _ in range(500)]


def in_ascii(message: Message) -> str:
    return "".join(ch for ch in shown(message) if ch.isascii())


def test_500_pairs_of_different_arguments_are_told_apart_or_not_approvable() -> None:
    apart = shortened = 0
    for left, right in pairs():
        drawn = [draw(card(arguments), now=NOW) for arguments in (left, right)]
        if arguments_shown(drawn[0]) != arguments_shown(drawn[1]):
            apart += 1
            assert in_ascii(drawn[0]) != in_ascii(drawn[1])  # not only to a machine: also to the eye
            continue
        for message in drawn:
            assert "Shortened: " in shown(message)
            assert "approve" not in actions(message)
        shortened += 1
    assert apart + shortened == 500
    assert apart >= 250


# --- the other two messages -------------------------------------------------------------------------------


def test_the_plain_variant_has_nothing_to_refuse_and_nothing_to_approve() -> None:
    message = plain(card({"k": "v"}), now=NOW)
    assert message.blocks == []
    assert message.text.endswith(f"<{LINK}|Review it here>")
    assert "HTTP API" in plain(replace(card(), link=""), now=NOW).text
    assert plain(states()["done"], now=NOW).text.endswith(f" <{LINK}|See the run>")
    assert plain(replace(states()["done"], link=""), now=NOW).text == "Done: refund_order (workflow support)."


def test_a_whisper_knows_mentions_and_nothing_else() -> None:
    message = whisper("Already approved by <@U0ALICE> at 14:05. <!channel> <https://evil.example|x> <@bad>")
    parts = message.blocks[0]["elements"][0]["elements"]
    assert parts[1] == {"type": "user", "user_id": "U0ALICE"}
    assert parts[2]["text"] == " at 14:05. <!channel> <https://evil.example|x> <@bad>"
    assert faults(message.blocks) == []
    assert validate_blocks(message.blocks) == ()
    assert "<" not in message.text
