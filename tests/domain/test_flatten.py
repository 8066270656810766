"""How the entries of a report become the rows of a day."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushloss_pipeline.domain.errors import BadPayload
from pushloss_pipeline.domain.flatten import content_hash, flatten
from pushloss_pipeline.domain.model import (
    LossEntry,
    LossReport,
    LossRow,
    Scope,
    Stage,
)
from pushloss_pipeline.domain.parse import parse_report

SAMPLE = Path(__file__).parents[1] / "samples" / "vendor_page_2025-07-17.txt"
READY = Stage.READY_TO_SEND
SENT = Stage.POST_SEND_DELIVERED
OVERALL = Scope.OVERALL
PLATFORM = Scope.PLATFORM
WIDEST_COUNT = 9_223_372_036_854_775_807

PRINTED_ROWS = (
    LossRow(READY, OVERALL, None, None, "-1", "certificate id not set", 167),
    LossRow(READY, OVERALL, None, None, "-2", "token not uploaded", 125),
    LossRow(READY, PLATFORM, 1, "apns", "-1", "certificate id not set", 5),
    LossRow(READY, PLATFORM, 2, "xiaomi", "-1", "certificate id not set", 123),
    LossRow(SENT, OVERALL, None, None, "1", "regid_invalid", 217),
    LossRow(SENT, OVERALL, None, None, "410", "Unregistered", 35),
    LossRow(SENT, PLATFORM, 1, "apns", "1", "regid_invalid", 217),
    LossRow(SENT, PLATFORM, 3, "huawei", "410", "Unregistered", 35),
)


def an_entry(
    stage: Stage = READY,
    platform_id: int | None = None,
    err_code: str = "-1",
    err_info: str | None = "certificate id not set",
    err_count: int = 1,
) -> LossEntry:
    """An entry of a report."""
    return LossEntry(stage, platform_id, err_code, err_info, err_count)


def a_report(*entries: LossEntry) -> LossReport:
    """A report of these entries."""
    return LossReport(envelope="top", entries=entries)


def printed_sample(opening: str, closing: str) -> bytes:
    """The vendor's sample with its nameless object opened and closed like this."""
    head, arrays = SAMPLE.read_text(encoding="utf-8").split('"sucess",\n{\n')
    arrays = arrays.rstrip().removesuffix("}\n}")
    return f'{head}"sucess",\n{opening}{arrays}{closing}}}'.encode()


@pytest.mark.parametrize(
    ("envelope", "opening", "closing"),
    [
        ("top", "", ""),
        ("Results", '"Results": {', "}"),
        ("Results[0]", '"Results": [{', "}]"),
        ("$.LossInfo", '"LossInfo": {', "}"),
        ("$.LossInfo[0]", '"LossInfo": [{', "}]"),
    ],
)
def test_vendors_sample(envelope: str, opening: str, closing: str) -> None:
    """The vendor's sample, made valid in any way, gives the eight rows it prints."""
    report = parse_report(printed_sample(opening, closing))

    assert envelope == report.envelope
    assert () == report.warnings
    assert (PRINTED_ROWS, ()) == flatten(report)


def test_no_entries() -> None:
    """A report without entries has no rows."""
    assert ((), ()) == flatten(a_report())


def test_order() -> None:
    """Rows stand by stage, scope, platform number and code as text."""
    entries = [
        an_entry(SENT, None, "1"),
        an_entry(READY, 10, "1"),
        an_entry(READY, 9, "1"),
        an_entry(READY, 0, "1"),
        an_entry(READY, None, "9"),
        an_entry(READY, None, "10"),
        an_entry(READY, None, "-1"),
    ]
    rows, _ = flatten(a_report(*entries))

    assert [
        (READY, OVERALL, None, "-1"),
        (READY, OVERALL, None, "10"),
        (READY, OVERALL, None, "9"),
        (READY, PLATFORM, 0, "1"),
        (READY, PLATFORM, 9, "1"),
        (READY, PLATFORM, 10, "1"),
        (SENT, OVERALL, None, "1"),
    ] == [(row.stage, row.scope, row.platform_id, row.err_code) for row in rows]


@pytest.mark.parametrize(
    ("platform_id", "platform"),
    [(None, None), (0, "unknown"), (8, "honor"), (9, "platform_9")],
)
def test_platform(platform_id: int | None, platform: str | None) -> None:
    """A platform has its name, an unknown one its number, the overall count none."""
    (row,), _ = flatten(a_report(an_entry(platform_id=platform_id)))

    assert platform == row.platform


def test_one_code_in_many_places() -> None:
    """The same code of another stage or platform is another row."""
    entries = [
        an_entry(stage, platform) for stage in Stage for platform in (None, 0, 1)
    ]
    rows, warnings = flatten(a_report(*entries))

    assert 6 == len(rows)
    assert () == warnings


def test_duplicates() -> None:
    """Entries of one key are added up, with a warning that names the key."""
    entries = [
        an_entry(platform_id=2, err_count=3),
        an_entry(SENT, err_code='a"b'),
        an_entry(platform_id=2, err_count=4),
        an_entry(SENT, err_code='a"b'),
        an_entry(SENT, err_code='a"b'),
    ]
    rows, warnings = flatten(a_report(*entries))

    assert [7, 3] == [row.err_count for row in rows]
    assert (
        r'duplicate_row: post_send_delivered overall code "a\"b" stands 3 times',
        'duplicate_row: ready_to_send platform 2 code "-1" stands 2 times',
    ) == warnings


@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        pytest.param([("few", 1), ("many", 2)], "many", id="largest_count"),
        pytest.param([("b", 1), ("a", 1)], "a", id="tie_by_text"),
        pytest.param([(None, 1), ("z", 1)], "z", id="tie_text_before_none"),
        pytest.param([(None, 2), ("z", 1)], None, id="none_of_largest_count"),
    ],
)
@pytest.mark.parametrize("turned", [False, True], ids=["as_is", "turned"])
def test_text_of_duplicates(
    texts: list[tuple[str | None, int]], kept: str | None, turned: bool
) -> None:
    """Of several texts the one of the largest count stays, whatever the order."""
    entries = [an_entry(err_info=text, err_count=count) for text, count in texts]
    (row,), _ = flatten(a_report(*(entries[::-1] if turned else entries)))

    assert kept == row.err_info


def test_widest_sum() -> None:
    """A sum may be as wide as the column of the table."""
    entries = [an_entry(err_count=WIDEST_COUNT - 1), an_entry(err_count=1)]
    (row,), _ = flatten(a_report(*entries))

    assert WIDEST_COUNT == row.err_count


def test_too_wide_sum() -> None:
    """A sum wider than the column is refused with its key."""
    entries = [an_entry(err_count=WIDEST_COUNT), an_entry(err_count=1)]
    with pytest.raises(BadPayload) as caught:
        flatten(a_report(*entries))

    assert 'ready_to_send overall code "-1"' == caught.value.place
    assert "9223372036854775808" in caught.value.problem


@pytest.mark.parametrize("platform_id", [None, 1], ids=["overall", "platform"])
def test_too_wide_scope(platform_id: int | None) -> None:
    """A day whose losses of one scope fit no column is refused as a whole."""
    entries = [
        an_entry(READY, platform_id, "1", err_count=WIDEST_COUNT),
        an_entry(SENT, platform_id, "2", err_count=1),
    ]
    with pytest.raises(BadPayload) as caught:
        flatten(a_report(*entries))

    assert ("overall" if platform_id is None else "platform") == caught.value.place
    assert "9223372036854775808" in caught.value.problem


def test_long_codes() -> None:
    """A warning names a long code by its beginning."""
    entries = [an_entry(err_code="7" * 5000)] * 2
    (row,), (warning,) = flatten(a_report(*entries))

    assert "7" * 5000 == row.err_code
    assert len(warning) < 200


def test_hash_stays() -> None:
    """The hash of given rows is the same on every machine and version."""
    assert (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        == content_hash(())
    )
    assert (
        "9610e5ef15cc5e21e3abbfbafd87e8664444984103370ca8bc3b376495894704"
        == content_hash(PRINTED_ROWS)
    )


CHANGES: dict[str, Any] = {
    "stage": SENT,
    "scope": OVERALL,
    "platform_id": 2,
    "platform": "xiaomi",
    "err_code": "-2",
    "err_info": None,
    "err_count": 6,
}


@pytest.mark.parametrize("column", [column.name for column in fields(LossRow)])
def test_hash_of_a_change(column: str) -> None:
    """A change of any column changes the hash."""
    row = LossRow(READY, PLATFORM, 1, "apns", "-1", "certificate id not set", 5)
    changed = replace(row, **{column: CHANGES[column]})

    assert content_hash([row]) != content_hash([changed])


@pytest.mark.parametrize(
    ("left", "right"),
    [
        pytest.param(("a", "b"), ('a","b', ""), id="quotes"),
        pytest.param(("a", None), ("a", "null"), id="none_and_null"),
        pytest.param(("a\nb", ""), ("a\\nb", ""), id="newline"),
        pytest.param(("1", ""), ("01", ""), id="leading_zero"),
    ],
)
def test_hash_is_unambiguous(
    left: tuple[str, str | None], right: tuple[str, str | None]
) -> None:
    """Texts that look like the hash's own punctuation stay distinct."""
    one, other = (
        LossRow(READY, OVERALL, None, None, code, info, 1)
        for code, info in (left, right)
    )

    assert content_hash([one]) != content_hash([other])


entry_lists = st.lists(
    st.builds(
        LossEntry,
        stage=st.sampled_from(Stage),
        platform_id=st.none() | st.integers(0, 9),
        err_code=st.sampled_from(["-1", "-2", "410"]) | st.text(max_size=2),
        err_info=st.none() | st.text(max_size=3),
        err_count=st.integers(0, 2**40),
    )
)


@given(st.data(), entry_lists)
def test_hash_ignores_order(data: st.DataObject, entries: list[LossEntry]) -> None:
    """The order of rows does not matter to the hash."""
    rows, _ = flatten(a_report(*entries))
    shuffled = data.draw(st.permutations(rows))

    assert content_hash(rows) == content_hash(shuffled)
