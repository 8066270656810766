"""What an answer does to a day."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushloss_pipeline.domain.model import Answer, Outcome
from pushloss_pipeline.domain.verdict import (
    Standing,
    State,
    judge,
    judge_all,
    may_be_unready,
    missing_entries,
)
from tests.builders import (
    NOTHING,
    START,
    A,
    B,
    a_body,
    a_decision,
    a_refusal,
    an_answer,
    folded,
    no_answer,
    told,
)

LOADED, EMPTY, HELD = State.LOADED, State.EMPTY, State.HELD
REFUSED, FAILED, EXPIRED = State.REFUSED, State.FAILED, State.EXPIRED
LATER = START + timedelta(days=30)
REORDERED = a_body({"-1": 2, "410": 5})

Move = Callable[[int], Answer]


def ok(body: bytes) -> Move:
    """An OK answer with this body."""
    return lambda number: an_answer(number, body)


def refusal(number: int) -> Answer:
    """The API knows no such app."""
    return an_answer(number, a_refusal(70020, "SDKAppID not found"))


def acceptance(number: int) -> Answer:
    """A person accepts the held answer."""
    return a_decision(number, Outcome.ACCEPTED)


def restoration(number: int) -> Answer:
    """A person takes the acceptance back: the answer A counts again."""
    return replace(an_answer(number, A), outcome=Outcome.RESTORED)


def expiry(number: int) -> Answer:
    """The API has forgotten the day."""
    return a_decision(number, Outcome.EXPIRED, error_info="forgotten")


def answers_of(moves: Sequence[Move]) -> list[Answer]:
    """Answers of calls that were tried once each."""
    return [move(number) for number, move in enumerate(moves, 1)]


def last_of(*moves: Move) -> Standing:
    """What stands after these answers."""
    return folded(*answers_of(moves))[-1]


MOVES = {
    "nothing, rows": ([ok(A)], (LOADED, 1, 2)),
    "nothing, no rows": ([ok(NOTHING)], (EMPTY, 1, 0)),
    "nothing, no answer": ([no_answer], (FAILED, 0, 0)),
    "nothing, refusal": ([refusal], (REFUSED, 0, 0)),
    "nothing, expiry": ([expiry], (EXPIRED, 0, 0)),
    "loaded, other rows": ([ok(A), ok(B)], (LOADED, 2, 4)),
    "loaded, no rows": ([ok(A), ok(NOTHING)], (HELD, 1, 2)),
    "loaded, no answer": ([ok(A), no_answer], (FAILED, 1, 2)),
    "loaded, refusal": ([ok(A), refusal], (REFUSED, 1, 2)),
    "empty, rows": ([ok(NOTHING), ok(A)], (LOADED, 2, 2)),
    "empty, no answer": ([ok(NOTHING), no_answer], (FAILED, 1, 0)),
    "empty, refusal": ([ok(NOTHING), refusal], (REFUSED, 1, 0)),
    "held, same rows": ([ok(A), ok(NOTHING), ok(A)], (LOADED, 1, 2)),
    "held, other rows": ([ok(A), ok(NOTHING), ok(B)], (LOADED, 2, 4)),
    "held, acceptance": ([ok(A), ok(NOTHING), acceptance], (EMPTY, 2, 0)),
    "failed, rows": ([no_answer, ok(A)], (LOADED, 1, 2)),
    "failed, no rows": ([no_answer, ok(NOTHING)], (EMPTY, 1, 0)),
    "failed, refusal": ([no_answer, refusal], (REFUSED, 0, 0)),
    "failed, expiry": ([no_answer, expiry], (EXPIRED, 0, 0)),
    "failed rows, same rows": ([ok(A), no_answer, ok(A)], (LOADED, 1, 2)),
    "failed rows, other rows": ([ok(A), no_answer, ok(B)], (LOADED, 2, 4)),
    "failed rows, no rows": ([ok(A), no_answer, ok(NOTHING)], (HELD, 1, 2)),
    "failed rows, expiry": ([ok(A), no_answer, expiry], (LOADED, 1, 2)),
    "failed empty, no rows": ([ok(NOTHING), no_answer, ok(NOTHING)], (EMPTY, 1, 0)),
    "failed empty, expiry": ([ok(NOTHING), no_answer, expiry], (EMPTY, 1, 0)),
    "refused, rows": ([refusal, ok(A)], (LOADED, 1, 2)),
    "refused, no answer": ([refusal, no_answer], (FAILED, 0, 0)),
    "refused, expiry": ([refusal, expiry], (EXPIRED, 0, 0)),
    "refused rows, expiry": ([ok(A), refusal, expiry], (LOADED, 1, 2)),
    "expired, rows": ([expiry, ok(A)], (LOADED, 1, 2)),
    "expired, no rows": ([expiry, ok(NOTHING)], (EMPTY, 1, 0)),
    "expired, no answer": ([expiry, no_answer], (FAILED, 0, 0)),
    "accepted, taken back": (
        [ok(A), ok(NOTHING), acceptance, restoration],
        (HELD, 3, 2),
    ),
    "taken back, rows": (
        [ok(A), ok(NOTHING), acceptance, restoration, ok(A)],
        (LOADED, 3, 2),
    ),
    "taken back, accepted": (
        [ok(A), ok(NOTHING), acceptance, restoration, acceptance],
        (EMPTY, 4, 0),
    ),
    "accepted, failed, taken back": (
        [ok(A), ok(NOTHING), acceptance, no_answer, restoration],
        (HELD, 3, 2),
    ),
    "accepted, rows": ([ok(A), ok(NOTHING), acceptance, ok(B)], (LOADED, 3, 4)),
}


@pytest.mark.parametrize(("moves", "expected"), MOVES.values(), ids=MOVES.keys())
def test_move(moves: Sequence[Move], expected: tuple[State, int, int]) -> None:
    """Every move of the state machine ends where its picture says."""
    last = last_of(*moves)

    assert expected == (last.state, last.revision, last.row_count)


STAYS = {
    "same rows": [ok(A), ok(A)],
    "same rows in another order": [ok(B), ok(REORDERED)],
    "still empty": [ok(NOTHING), ok(NOTHING)],
    "held again": [ok(A), ok(NOTHING), ok(NOTHING)],
    "held, then no answer": [ok(A), ok(NOTHING), no_answer],
    "held, then refused": [ok(A), ok(NOTHING), refusal],
    "held, then expired": [ok(A), ok(NOTHING), expiry],
    "failed likewise": [no_answer, no_answer],
    "refused likewise": [refusal, refusal],
    "expired twice": [expiry, expiry],
    "loaded, then expired": [ok(A), expiry],
    "empty, then expired": [ok(NOTHING), expiry],
    "accepted unasked": [acceptance],
    "loaded, then accepted": [ok(A), acceptance],
    "accepted twice": [ok(A), ok(NOTHING), acceptance, acceptance],
    "taken back unasked": [restoration],
    "loaded, then taken back": [ok(A), restoration],
    "empty, then taken back": [ok(NOTHING), restoration],
    "taken back twice": [ok(A), ok(NOTHING), acceptance, restoration, restoration],
    "taken back, then still empty": [
        *(ok(A), ok(NOTHING), acceptance, restoration, ok(NOTHING)),
    ],
    "accepted, then still empty": [ok(A), ok(NOTHING), acceptance, ok(NOTHING)],
}


@pytest.mark.parametrize("moves", STAYS.values(), ids=STAYS.keys())
def test_stays(moves: Sequence[Move]) -> None:
    """An answer that says nothing new changes nothing."""
    *before, last = answers_of(moves)
    entries = judge_all(None, before)

    assert judge(entries[-1] if entries else None, last) is None


def test_back_and_forth() -> None:
    """Content that comes back is a revision of its own."""
    entries = folded(*answers_of([ok(A), ok(B), ok(A)]))

    assert [1, 2, 3] == [entry.revision for entry in entries]
    assert entries[0].content_hash == entries[2].content_hash
    assert entries[0].content_hash != entries[1].content_hash


def test_revision_is_its_answers() -> None:
    """A revision names its answer, its times and its rows."""
    answer = an_answer(1, B)

    (entry,) = folded(answer)

    assert (answer.response_id, answer.fetched_at, answer.recorded_at) == (
        entry.response_id,
        entry.fetched_at,
        entry.recorded_at,
    )
    assert (4, 7) == (len(entry.rows), entry.overall_count)
    assert ("top", (), None, None) == (
        entry.envelope,
        entry.warnings,
        entry.error_code,
        entry.error_info,
    )


def test_warnings_come_along() -> None:
    """What was odd about an answer stands with its revision."""
    body = a_body({"1": 1}, Novel=1, PlatformReadyToSendLoss=None)

    assert (
        "missing_array: $.PlatformReadyToSendLoss is null",
        "unknown_field: $.Novel",
    ) == last_of(ok(body)).warnings


def test_a_restoration_that_cannot_be_read_is_refused() -> None:
    """Rows that nobody can read any more do not come back as none."""
    broken = replace(an_answer(4, b"{"), outcome=Outcome.RESTORED)
    entries = folded(*answers_of([ok(A), ok(NOTHING), acceptance]), broken)

    assert (REFUSED, 2, 0) == told(entries)[-1]


@pytest.mark.parametrize(
    ("state", "revision", "hours", "expected"),
    [
        (EMPTY, 1, 10, True),
        (EMPTY, 1, 24, False),
        (EMPTY, 2, 10, False),
        (LOADED, 1, 10, False),
        (FAILED, 1, 10, False),
        (None, 0, 10, False),
    ],
    ids=["soon", "a day later", "accepted", "loaded", "failed", "never asked"],
)
def test_an_early_empty_day_may_be_unready(
    state: State | None, revision: int, hours: int, expected: bool
) -> None:
    """Only a first answer without rows, soon after the day's end, is doubted."""
    now = START + timedelta(hours=hours)

    assert expected == may_be_unready(state, revision, ended_at=START, now=now)


def test_acceptance_keeps_the_answers_time() -> None:
    """The revision of an acceptance was fetched when the held answer came."""
    entries = folded(*answers_of([ok(A), ok(NOTHING), acceptance]))

    assert START + timedelta(minutes=2) == entries[-1].fetched_at
    assert START + timedelta(minutes=3, milliseconds=5) == entries[-1].recorded_at
    assert entries[-1].is_revision


def test_held_says_why() -> None:
    """A held day tells how many rows the empty answer would take away."""
    held = last_of(ok(A), ok(NOTHING))

    assert held.error_info is not None
    assert "2 rows are loaded (revision 1)" in held.error_info
    assert held.error_code is None


TROUBLES = {
    "code and text": (
        an_answer(1, a_refusal(70020, "unknown app")),
        (REFUSED, 70020, "unknown app"),
    ),
    "code without text": (an_answer(1, a_refusal(60008, "")), (FAILED, 60008, None)),
    "code of no list": (an_answer(1, a_refusal(12345)), (FAILED, 12345, "no")),
    "daily cap": (an_answer(1, a_refusal(60028)), (FAILED, 60028, "no")),
    "too fast": (an_answer(1, a_refusal(60011)), (FAILED, 60011, "no")),
    "HTTP status": (
        an_answer(1, b"bad gateway", http_status=502),
        (FAILED, None, "HTTP 502"),
    ),
    "HTTP status over code 0": (
        an_answer(1, A, http_status=500),
        (FAILED, None, "HTTP 500, although ErrorCode is 0"),
    ),
    "nothing at all": (an_answer(1, b""), (FAILED, None, "the answer was empty")),
    "no JSON": (
        an_answer(1, b"<html>"),
        (REFUSED, None, "not valid JSON, unreadable from here on: <html> "),
    ),
    "OK, but no report": (
        an_answer(1, b'{"ActionStatus":"OK","ErrorCode":0}'),
        (REFUSED, None, "all four absent"),
    ),
    "too large": (
        a_decision(1, Outcome.TOO_LARGE, error_info="larger than 1 byte"),
        (REFUSED, None, "larger than 1 byte"),
    ),
    "no network": (no_answer(1), (FAILED, None, "connection refused")),
}


@pytest.mark.parametrize(("answer", "expected"), TROUBLES.values(), ids=TROUBLES.keys())
def test_trouble(answer: Answer, expected: tuple[State, int, str | None]) -> None:
    """A day that failed says how, with the API's code where there is one."""
    (entry,) = folded(answer)
    state, code, info = expected

    assert (state, code) == (entry.state, entry.error_code)
    assert (entry.error_info or "").startswith(info or "")
    assert bool(entry.error_info) == bool(info)
    assert not entry.is_revision


def test_other_trouble() -> None:
    """A day that fails in another way says the new one."""
    entry = last_of(no_answer, lambda number: no_answer(number, "host name not found"))

    assert "host name not found" == entry.error_info


def test_retried_attempt() -> None:
    """An attempt that was tried again says nothing: its retry does."""
    first = an_answer(1, A)
    failed = an_answer(2, a_refusal(60008), attempt=1)
    again = an_answer(3, A, attempt=2)

    assert [first.response_id] == [e.response_id for e in folded(first, failed, again)]


def test_passing_states() -> None:
    """Of states that follow each other at once only the last one is an entry."""
    entries = folded(*answers_of([refusal, no_answer, ok(A), no_answer, refusal]))

    assert [(LOADED, 1, 2), (REFUSED, 1, 2)] == told(entries)


def test_unrecorded_answer() -> None:
    """An answer is judged only once it is in the record."""
    with pytest.raises(ValueError, match="was not recorded"):
        judge(None, an_answer(1, recorded_at=None))


@st.composite
def calls(draw: st.DrawFn) -> list[list[Answer]]:
    """Some calls for one day, one to three attempts each, numbered in their order."""
    moves = [ok(A), ok(B), ok(REORDERED), ok(NOTHING), no_answer, refusal]
    decisions = [acceptance, restoration, expiry]
    plan = draw(
        st.lists(
            st.one_of(
                st.lists(st.sampled_from(moves), min_size=1, max_size=3),
                st.sampled_from(decisions).map(lambda decision: [decision]),
            ),
            max_size=9,
        )
    )
    found, number = [], 0
    for attempts in plan:
        call = []
        for attempt, move in enumerate(attempts, 1):
            number += 1
            call.append(replace(move(number), attempt=attempt))
        found.append(call)
    return found


def loaded_in_batches(
    some_calls: Sequence[Sequence[Answer]], cuts: Sequence[bool]
) -> list[Standing]:
    """The entries that a record gains when calls are judged in batches."""
    recorded: list[Standing] = []
    batch: list[Answer] = []
    for call, is_cut in zip(some_calls, cuts, strict=False):
        batch += call
        if is_cut:
            recorded += judge_all(recorded[-1] if recorded else None, batch)
            batch = []
    return recorded + judge_all(recorded[-1] if recorded else None, batch)


def revisions_of(entries: Sequence[Standing]) -> list[tuple[object, ...]]:
    """The revisions, but for their numbers in the record."""
    return [
        (e.revision, e.content_hash, e.response_id, e.fetched_at, e.recorded_at, e.rows)
        for e in entries
        if e.is_revision
    ]


def newest_of(entries: Sequence[Standing]) -> Standing | None:
    """What stands, but for its number in the record."""
    return replace(entries[-1], sequence=0) if entries else None


@given(calls(), st.lists(st.booleans(), min_size=9, max_size=9))
def test_batches(some_calls: list[list[Answer]], cuts: list[bool]) -> None:
    """However answers come in batches, revisions and state are those of one fold."""
    recorded = loaded_in_batches(some_calls, cuts)
    fold = folded(*(answer for call in some_calls for answer in call))

    assert revisions_of(fold) == revisions_of(recorded)
    assert newest_of(fold) == newest_of(recorded)
    assert sorted(e.sequence for e in recorded) == [e.sequence for e in recorded]


@given(calls(), st.lists(st.booleans(), min_size=9, max_size=9), st.data())
def test_judged_again(
    some_calls: list[list[Answer]], cuts: list[bool], data: st.DataObject
) -> None:
    """Judging again all that came after what stands changes nothing."""
    recorded = loaded_in_batches(some_calls, cuts)
    standing = recorded[-1] if recorded else None
    later = [
        answer
        for call in some_calls
        for answer in call
        if standing is None or answer.recorded_at > standing.recorded_at
    ]

    assert [] == judge_all(standing, later)


@given(calls(), st.lists(st.booleans(), min_size=9, max_size=9), st.integers(0, 20))
def test_replay_of_what_was_lost(
    some_calls: list[list[Answer]], cuts: list[bool], kept: int
) -> None:
    """A replay gives back whatever entries the record has lost at its end."""
    recorded = loaded_in_batches(some_calls, cuts)
    fold = folded(*(answer for call in some_calls for answer in call))
    left = recorded[:kept]

    mended = [*left, *missing_entries(left, fold, now=LATER)]

    assert revisions_of(fold) == revisions_of(mended)
    assert newest_of(fold) == newest_of(mended)
    assert [] == missing_entries(mended, fold, now=LATER)


def test_replay_of_a_good_record() -> None:
    """A replay adds nothing to a record that says what its answers say."""
    fold = folded(*answers_of([ok(A), ok(B), ok(NOTHING)]))

    assert [] == missing_entries(fold, fold, now=LATER)


def test_replay_without_answers() -> None:
    """Without answers a replay leaves the record alone."""
    assert [] == missing_entries(folded(an_answer(1)), [], now=LATER)
    assert [] == missing_entries([], [], now=LATER)


def test_replay_keeps_the_acceptance() -> None:
    """An acceptance is replayed with the answers around it."""
    fold = folded(*answers_of([ok(A), ok(NOTHING), acceptance]))

    assert [(LOADED, 1, 2), (EMPTY, 2, 0)] == told(missing_entries([], fold, now=LATER))


def test_replay_after_another_reading() -> None:
    """Content that is read in another way now becomes one more revision, now."""
    recorded = folded(an_answer(1, A))
    fold = folded(an_answer(1, B), an_answer(2, B))

    (added,) = missing_entries(recorded, fold, now=LATER)

    assert (2, 4, LATER) == (added.revision, added.row_count, added.recorded_at)
    assert [] == missing_entries([*recorded, added], fold, now=LATER)


def test_replay_with_the_clock_set_back() -> None:
    """A revision that a replay adds is later than all that is recorded."""
    recorded = folded(an_answer(1, A))
    fold = folded(an_answer(1, B), an_answer(2, NOTHING), an_answer(3, B))

    added = missing_entries(recorded, fold, now=START - timedelta(days=1))

    assert {START + timedelta(minutes=3, milliseconds=5, microseconds=1)} == {
        entry.recorded_at for entry in added
    }


def test_replay_after_a_state_was_misread() -> None:
    """An answer that was refused and can be read now gives the day its state back."""
    misread = an_answer(2, b"what is that?")
    recorded = folded(an_answer(1, A), misread)
    fold = folded(an_answer(1, A), replace(misread, body=A, error_code=0))

    (added,) = missing_entries(recorded, fold, now=LATER)

    assert (LOADED, 1, 2, False) == (
        added.state,
        added.revision,
        added.row_count,
        added.is_revision,
    )
    assert [] == missing_entries([*recorded, added], fold, now=LATER)


def test_replay_that_reads_nothing() -> None:
    """Rows stand with their counts where no answer can be read any more."""
    recorded = folded(an_answer(1, A))
    fold = folded(an_answer(1, b"what is that?"))

    (added,) = missing_entries(recorded, fold, now=LATER)

    assert (REFUSED, 1, 2, 3, recorded[0].content_hash) == (
        added.state,
        added.revision,
        added.row_count,
        added.overall_count,
        added.content_hash,
    )
    assert [] == missing_entries([*recorded, added], fold, now=LATER)


def test_replay_of_a_longer_record() -> None:
    """A record with more revisions than its answers give keeps them all."""
    recorded = folded(*answers_of([ok(A), ok(B), ok(A)]))
    fold = folded(an_answer(3, A))

    assert [] == missing_entries(recorded, fold, now=LATER)
