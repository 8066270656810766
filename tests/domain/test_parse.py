"""What the reader of answers accepts, what it warns of, what it refuses."""

import json
import tracemalloc
from pathlib import Path

import pytest

from pushloss_pipeline.domain.errors import BadPayload
from pushloss_pipeline.domain.model import LossEntry, Stage
from pushloss_pipeline.domain.parse import Status, parse_report, read_status

SAMPLE = Path(__file__).parents[1] / "samples" / "vendor_page_2025-07-17.txt"
OVERALL = ("ReadyToSendLoss", "PostSendDeliveredLoss")
BY_PLATFORM = ("PlatformReadyToSendLoss", "PlatformPostSendDeliveredLoss")
ARRAYS = (*OVERALL, *BY_PLATFORM)
OK = {"ActionStatus": "OK", "ErrorCode": 0, "ErrorInfo": ""}
EMPTY: dict[str, object] = {name: [] for name in ARRAYS}
WIDEST_COUNT = 9_223_372_036_854_775_807
WIDEST_PLATFORM = 2_147_483_647
ABSENT = object()


def as_bytes(answer: object) -> bytes:
    """The answer as the API would send it, half surrogate pairs and all."""
    return json.dumps(answer).encode()


def an_answer(**fields: object) -> bytes:
    """An OK answer with four empty arrays at top level, changed by `fields`."""
    answer = OK | EMPTY | fields
    return as_bytes({k: v for k, v in answer.items() if v is not ABSENT})


def an_entry(**fields: object) -> dict[str, object]:
    """An entry of an overall array, changed by `fields`."""
    entry = {"ErrCode": "410", "ErrCount": 3, "ErrInfo": "Unregistered"} | fields
    return {k: v for k, v in entry.items() if v is not ABSENT}


def a_platform_entry(**fields: object) -> dict[str, object]:
    """An entry of a platform array, changed by `fields`."""
    return an_entry(**({"PushPlatform": 3} | fields))


def read_entry(**fields: object) -> tuple[LossEntry, tuple[str, ...]]:
    """What one overall entry is read as, and the warnings."""
    report = parse_report(an_answer(ReadyToSendLoss=[an_entry(**fields)]))
    return report.entries[0], report.warnings


def read_platform_entry(**fields: object) -> tuple[LossEntry, tuple[str, ...]]:
    """What one platform entry is read as, and the warnings."""
    entry = a_platform_entry(**fields)
    report = parse_report(an_answer(PlatformReadyToSendLoss=[entry]))
    return report.entries[0], report.warnings


def refusal(body: bytes) -> BadPayload:
    """The error this body is refused with."""
    with pytest.raises(BadPayload) as caught:
        parse_report(body)
    return caught.value


@pytest.mark.parametrize(
    ("body", "code", "info"),
    [
        pytest.param(b'{"ErrorCode": 0}', 0, None, id="ok"),
        pytest.param(
            b'{"ErrorCode": 60002, "ErrorInfo": "bad"}', 60002, "bad", id="error"
        ),
        pytest.param(
            b'{"ResultCode": 91000, "ResultInfo": "r"}', 91000, "r", id="result"
        ),
        pytest.param(
            b'{"ErrorCode": 1, "ResultCode": 2, "ErrorInfo": "e", "ResultInfo": "r"}',
            1,
            "e",
            id="error_before_result",
        ),
        pytest.param(
            b'{"ErrorCode": null, "ResultCode": 2}', 2, None, id="null_is_missing"
        ),
        pytest.param(b'{"ErrorCode": "70001"}', 70001, None, id="digits"),
        pytest.param(b'{"ErrorCode": -5}', -5, None, id="negative"),
        pytest.param(b'\xef\xbb\xbf{"ErrorCode": 7}', 7, None, id="bom"),
        pytest.param(
            '{"ErrorCode": 7, "ErrorInfo": "证书"}'.encode(), 7, "证书", id="chinese"
        ),
        pytest.param(b'{"ErrorCode": 0, "ErrorInfo": 5}', 0, None, id="info_not_text"),
        pytest.param(
            rb'{"ErrorCode": 0, "ErrorInfo": "a\ud800"}', 0, "a\\ud800", id="surrogate"
        ),
        pytest.param(
            b'{"ErrorCode": 0, "ReadyToSendLoss": [{"ErrCode": 1, "ErrCode": 2}]}',
            0,
            None,
            id="repeated_key_elsewhere",
        ),
        pytest.param(
            b'{"ErrorCode": 0, "x": %s}' % (b"9" * 5000),
            0,
            None,
            id="long_number_elsewhere",
        ),
    ],
)
def test_status(body: bytes, code: int, info: str | None) -> None:
    """Code and text are found wherever the vendor's pages name them."""
    status = read_status(body)

    assert Status(error_code=code, error_info=info) == status


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>502 Bad Gateway</html>", id="html"),
        pytest.param(b'{"ErrorCode": 0', id="cut_off"),
        pytest.param(b"\xff\xfe", id="not_utf8"),
        pytest.param(b"[0]", id="array"),
        pytest.param(b"null", id="null"),
        pytest.param(b"{}", id="no_code"),
        pytest.param(b"[" * 100_000, id="too_deep"),
        pytest.param(b'{"ErrorCode": true}', id="bool"),
        pytest.param(b'{"ErrorCode": 0.0}', id="fraction"),
        pytest.param(b'{"ErrorCode": "OK"}', id="text"),
        pytest.param(b'{"ErrorCode": "-1"}', id="signed_text"),
        pytest.param('{"ErrorCode": "٣"}'.encode(), id="digits_of_another_script"),
        pytest.param(b'{"ErrorCode": 9223372036854775808}', id="too_wide"),
        pytest.param(b'{"ErrorCode": %s}' % (b"9" * 5000), id="too_long"),
        pytest.param(b'{"ErrorCode": "%s"}' % (b"9" * 5000), id="too_long_text"),
    ],
)
def test_no_status(body: bytes) -> None:
    """A body without a readable code has none."""
    assert Status(error_code=None, error_info=None) == read_status(body)


def test_vendors_sample_as_printed() -> None:
    """The vendor's printed sample is refused with the place of its fault."""
    error = refusal(SAMPLE.read_bytes())

    assert "line 5 column 1" == error.place
    assert (
        "not valid JSON, unreadable from here on: "
        '{ "ReadyToSendLoss": [ { "ErrCode": "-1", "ErrCount": 167, "'
        " (at line 5 column 1)"
    ) == str(error)


def test_byte_order_mark() -> None:
    """A byte order mark in front changes nothing."""
    body = an_answer(ReadyToSendLoss=[an_entry()])

    assert parse_report(body) == parse_report(b"\xef\xbb\xbf" + body)


@pytest.mark.parametrize(
    ("body", "place", "problem"),
    [
        pytest.param(b"", "line 1 column 1", "its end", id="empty"),
        pytest.param(b'{"a": 1', "line 1 column 8", "its end", id="cut_off"),
        pytest.param(b'{\n"a":\x00}', "line 2 column 5", "here on: \ufffd}", id="nul"),
        pytest.param(b'{"a": "\xff"}', "byte 7", "not UTF-8", id="not_utf8"),
        pytest.param(b"[" * 100_000, "$", "nested too deeply", id="too_deep"),
        pytest.param(
            b'{"a": %s}' % (b"[" * 101 + b"]" * 101), "$", "nested too", id="101_deep"
        ),
        pytest.param(b'{"a": [NaN]}', "$.a[0]", "NaN is no number", id="nan"),
        pytest.param(b'{"a": -Infinity}', "$.a", "-Infinity is no", id="infinity"),
        pytest.param(
            b'{"a": [0, {"b": 1, "b": 1}]}', "$.a[1]", '"b" stands twice', id="repeat"
        ),
        pytest.param(
            b'{"a": {"b": %s}}' % (b"9" * 641), "$.a.b", "641 digits", id="too_long"
        ),
        pytest.param(
            b'{"a": {"b": NaN, "b": 1}, "c": NaN}', "$.a", "twice", id="nan_displaced"
        ),
        pytest.param(
            b'{"a": {"b": 1, "b": 2}, "a": 1}',
            "$",
            '"a" stands twice',
            id="repeat_lost",
        ),
        pytest.param(
            b'{"a": [[1], {"b": [NaN, NaN]}]}', "$.a[1].b[0]", "NaN", id="two_nans"
        ),
        pytest.param(b"[]", "$", "the answer is an array, no object", id="array"),
        pytest.param(b"null", "$", "the answer is null, no object", id="null"),
    ],
)
def test_unreadable_text(body: bytes, place: str, problem: str) -> None:
    """A text that is no JSON object, or loses something, is refused with its place."""
    error = refusal(body)

    assert place == error.place
    assert problem in error.problem


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"ErrorInfo": "FAIL: nothing worked"}, id="text_is_not_trusted"),
        pytest.param({"ErrorCode": ABSENT, "ResultCode": 0}, id="result_code"),
        pytest.param({"ResultCode": 0, "ResultInfo": ""}, id="both_codes"),
        pytest.param({"ErrorInfo": ABSENT}, id="no_text"),
    ],
)
def test_ok_answers(fields: dict[str, object]) -> None:
    """An answer is OK by its status and code alone."""
    assert () == parse_report(an_answer(**fields)).warnings


def test_code_as_text() -> None:
    """A code of digits is read, with a warning."""
    report = parse_report(an_answer(ErrorCode="0"))

    assert ("text_number: $.ErrorCode",) == report.warnings


@pytest.mark.parametrize(
    ("fields", "place", "problem"),
    [
        pytest.param(
            {"ActionStatus": "FAIL", "ErrorCode": 90009},
            "$.ErrorCode",
            "ErrorCode is 90009",
            id="failed",
        ),
        pytest.param(
            {"ErrorCode": 90009}, "$.ErrorCode", "ErrorCode is 90009", id="ok_but_code"
        ),
        pytest.param(
            {"ActionStatus": "FAIL"},
            "$.ActionStatus",
            'ErrorCode is 0 but ActionStatus is "FAIL"',
            id="fail_but_0",
        ),
        pytest.param(
            {"ActionStatus": ABSENT},
            "$.ActionStatus",
            "ActionStatus is null",
            id="no_status",
        ),
        pytest.param(
            {"ErrorCode": ABSENT}, "$.ErrorCode", "ErrorCode is missing", id="no_code"
        ),
        pytest.param(
            {"ErrorCode": False}, "$.ErrorCode", "ErrorCode is false", id="bool_code"
        ),
        pytest.param(
            {"ResultCode": 91000},
            "$.ResultCode",
            "ResultCode is 91000",
            id="codes_differ",
        ),
    ],
)
def test_not_ok(fields: dict[str, object], place: str, problem: str) -> None:
    """What is not OK, or contradicts itself, is refused with its code."""
    error = refusal(an_answer(**fields))

    assert place == error.place
    assert problem in error.problem


@pytest.mark.parametrize(
    ("answer", "envelope"),
    [
        pytest.param(OK | EMPTY, "top", id="top"),
        pytest.param(OK | {"Results": EMPTY}, "Results", id="results_object"),
        pytest.param(OK | {"Results": [EMPTY]}, "Results[0]", id="results_list"),
        pytest.param(OK | {"Data": EMPTY}, "$.Data", id="other_object"),
        pytest.param(OK | {"Data": [EMPTY]}, "$.Data[0]", id="other_list"),
        pytest.param(OK | {"": EMPTY}, '$[""]', id="nameless"),
        pytest.param(
            OK | {"Results[0]": EMPTY}, '$["Results[0]"]', id="name_like_a_path"
        ),
    ],
)
def test_envelopes(answer: dict[str, object], envelope: str) -> None:
    """The arrays are read wherever the page may have meant them, and it is recorded."""
    report = parse_report(as_bytes(answer))

    assert envelope == report.envelope
    assert () == report.warnings


@pytest.mark.parametrize(
    ("answer", "place", "problem"),
    [
        pytest.param(OK, "$", "all four absent: ReadyToSendLoss, ", id="none"),
        pytest.param(OK | {"Results": []}, "$", "all four absent", id="empty_list"),
        pytest.param(OK | {"Results": "x"}, "$", "all four absent", id="text"),
        pytest.param(
            OK | {"A": {"B": EMPTY}}, "$", "all four absent", id="two_levels_down"
        ),
        pytest.param(
            OK | {"ErrorInfo": EMPTY}, "$", "all four absent", id="in_the_status"
        ),
        pytest.param(
            OK | EMPTY | {"Results": EMPTY},
            "$",
            "two places: $ and $.Results",
            id="top_and_results",
        ),
        pytest.param(
            OK | {"Results": [EMPTY], "B": EMPTY},
            "$",
            "two places: $.Results[0] and $.B",
            id="results_and_other",
        ),
        pytest.param(
            OK | {"Results": [EMPTY, EMPTY]},
            "$.Results",
            "2 elements where one is due",
            id="two_elements",
        ),
        pytest.param(
            OK | {"Results": [{}, EMPTY]},
            "$.Results",
            "2 elements where one is due",
            id="two_elements_one_without",
        ),
    ],
)
def test_refused_envelopes(answer: object, place: str, problem: str) -> None:
    """No arrays, or arrays that may be one thing or another, are refused."""
    error = refusal(as_bytes(answer))

    assert place == error.place
    assert problem in error.problem


@pytest.mark.parametrize("missing", ARRAYS)
@pytest.mark.parametrize(
    ("value", "what"),
    [
        pytest.param(ABSENT, "absent", id="absent"),
        pytest.param(None, "null", id="null"),
    ],
)
def test_missing_array(missing: str, value: object, what: str) -> None:
    """One array that is absent or null is empty, with a warning."""
    report = parse_report(an_answer(**{missing: value}))

    assert () == report.entries
    assert (f"missing_array: $.{missing} is {what}",) == report.warnings


def test_one_array_alone() -> None:
    """One array is enough, even a null one under another key."""
    report = parse_report(as_bytes(OK | {"Results": {"ReadyToSendLoss": None}}))

    assert () == report.entries
    assert (
        "missing_array: $.Results.PlatformPostSendDeliveredLoss is absent",
        "missing_array: $.Results.PlatformReadyToSendLoss is absent",
        "missing_array: $.Results.PostSendDeliveredLoss is absent",
        "missing_array: $.Results.ReadyToSendLoss is null",
    ) == report.warnings


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param({}, "an object", id="object"),
        pytest.param("", '""', id="text"),
        pytest.param(0, "0", id="number"),
        pytest.param(False, "false", id="bool"),
    ],
)
def test_array_of_another_type(array: str, value: object, shown: str) -> None:
    """An array's name over something else is refused."""
    error = refusal(an_answer(**{array: value}))

    assert f"{array} is {shown}, no array (at $.{array})" == str(error)


def test_unknown_fields() -> None:
    """Fields the page does not know are named once each, at every level."""
    entries = [an_entry(Foo=1), an_entry(Foo=2), an_entry(PushPlatform=1)]
    results = EMPTY | {"TaskID": "t", "PostSendDeliveredLoss": entries}
    report = parse_report(as_bytes(OK | {"RequestId": "r", "Results": [results]}))

    assert 3 == len(report.entries)
    assert (
        "unknown_field: $.RequestId",
        "unknown_field: $.Results[0].PostSendDeliveredLoss[].Foo",
        "unknown_field: $.Results[0].PostSendDeliveredLoss[].PushPlatform",
        "unknown_field: $.Results[0].TaskID",
    ) == report.warnings


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param("平台", "$.平台", id="chinese"),
        pytest.param('a "b"', r'$["a \"b\""]', id="quotes"),
        pytest.param("a\nb", r'$["a\nb"]', id="newline"),
        pytest.param("\ud800", r'$["\ud800"]', id="half_a_surrogate_pair"),
        pytest.param("x" * 99, f'$["{"x" * 59}…]', id="long"),
    ],
)
def test_odd_field_names(name: str, shown: str) -> None:
    """The warning of an oddly named field is one short line that can be stored."""
    (warning,) = parse_report(an_answer(**{name: 1})).warnings

    assert f"unknown_field: {shown}" == warning
    assert warning.encode()


def test_empty_results_beside_the_arrays() -> None:
    """A key that holds no arrays is but an unknown field."""
    report = parse_report(an_answer(Results=[]))

    assert "top" == report.envelope
    assert ("unknown_field: $.Results",) == report.warnings


def test_many_warnings() -> None:
    """Of many oddities of a kind twenty are told and the rest is counted."""
    odd = {f"field_{number:04}": 0 for number in range(1000)}
    warnings = parse_report(an_answer(**odd, ReadyToSendLoss=None)).warnings

    assert (
        "missing_array: $.ReadyToSendLoss is null",
        *(f"unknown_field: $.field_{number:04}" for number in range(20)),
        "unknown_field: 980 more",
    ) == warnings


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            b'{"%s": ' % (b"n" * 60) * 100 + b"NaN" + b"}" * 100, id="a_long_way_down"
        ),
        pytest.param(
            as_bytes(OK | {f"key_{number}": EMPTY for number in range(1000)}),
            id="arrays_in_a_thousand_places",
        ),
        pytest.param(an_answer(ErrorCode="9" * 10_000), id="long_code"),
        pytest.param(b'{"a": "%s' % (b"x" * 10_000), id="cut_off_in_a_long_text"),
        pytest.param(
            an_answer(ReadyToSendLoss=[an_entry(**{"n" * 999: 1}, ErrCount="x" * 999)]),
            id="long_value",
        ),
    ],
)
def test_refusals_are_short(body: bytes) -> None:
    """A refusal is one line that a person can read, however long the answer is."""
    assert len(str(refusal(body))) < 500


def test_status_text_is_cut() -> None:
    """Of an error's text a thousand characters are kept beside the stored answer."""
    status = read_status(as_bytes({"ErrorCode": 1, "ErrorInfo": "x" * 5000}))

    assert "x" * 1000 + "…" == status.error_info


def test_memory_of_a_wide_answer_far_down() -> None:
    """What is read takes memory as the answer is long, not as its paths are."""
    way = b'{"%s": ' % (b"n" * 60)
    wide = way * 90 + b"[%s0]" % (b"0," * 20_000) + b"}" * 90
    tracemalloc.start()
    refusal(wide)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 20 * len(wide)


def test_entries_as_printed() -> None:
    """Entries keep their printed order, duplicates and all."""
    body = as_bytes(
        OK
        | {"PostSendDeliveredLoss": [an_entry(), an_entry()]}
        | {"PlatformPostSendDeliveredLoss": [a_platform_entry(ErrCode="b")]}
        | {"PlatformReadyToSendLoss": [a_platform_entry(ErrCode="a")]}
        | {"ReadyToSendLoss": [an_entry(ErrCode="-1")]}
    )

    assert (
        LossEntry(Stage.POST_SEND_DELIVERED, None, "410", "Unregistered", 3),
        LossEntry(Stage.POST_SEND_DELIVERED, None, "410", "Unregistered", 3),
        LossEntry(Stage.POST_SEND_DELIVERED, 3, "b", "Unregistered", 3),
        LossEntry(Stage.READY_TO_SEND, 3, "a", "Unregistered", 3),
        LossEntry(Stage.READY_TO_SEND, None, "-1", "Unregistered", 3),
    ) == parse_report(body).entries


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        pytest.param("-1", "-1", id="text"),
        pytest.param(-1, "-1", id="number"),
        pytest.param("007", "007", id="leading_zeros"),
        pytest.param(" 1 ", " 1 ", id="blanks"),
        pytest.param("", "", id="empty"),
        pytest.param("regid_invalid", "regid_invalid", id="word"),
        pytest.param(10**30, "1" + "0" * 30, id="wide_number"),
    ],
)
def test_err_code(sent: object, kept: str) -> None:
    """A code is kept as sent, a number as its digits."""
    entry, warnings = read_entry(ErrCode=sent)

    assert kept == entry.err_code
    assert () == warnings


@pytest.mark.parametrize(
    ("sent", "kept", "warnings"),
    [
        pytest.param(0, 0, (), id="zero"),
        pytest.param(2**31, 2**31, (), id="beyond_32_bits"),
        pytest.param(WIDEST_COUNT, WIDEST_COUNT, (), id="widest"),
        pytest.param(
            "0167",
            167,
            ("text_number: $.ReadyToSendLoss[].ErrCount",),
            id="digits",
        ),
    ],
)
def test_err_count(sent: object, kept: int, warnings: tuple[str, ...]) -> None:
    """A count is a whole number; digits as text are read, with a warning."""
    entry, met = read_entry(ErrCount=sent)

    assert kept == entry.err_count
    assert warnings == met


@pytest.mark.parametrize(
    "info",
    [
        pytest.param("证书 id 未设置", id="chinese"),
        pytest.param('say "no"\r\n\t<b>&amp;</b>\u2028', id="quotes_newlines_html"),
        pytest.param("😀\x00", id="astral_and_nul"),
        pytest.param("", id="empty"),
        pytest.param("  ", id="blanks"),
    ],
)
def test_err_info(info: str) -> None:
    """A description is kept to the letter."""
    entry, warnings = read_entry(ErrInfo=info)

    assert info == entry.err_info
    assert () == warnings


@pytest.mark.parametrize(
    "value", [pytest.param(ABSENT, id="absent"), pytest.param(None, id="null")]
)
def test_no_err_info(value: object) -> None:
    """A description that is missing is None, with a warning."""
    entry, warnings = read_entry(ErrInfo=value)

    assert entry.err_info is None
    assert ("missing_field: $.ReadyToSendLoss[].ErrInfo",) == warnings


@pytest.mark.parametrize(
    ("sent", "kept", "warning"),
    [
        pytest.param(0, 0, None, id="zero"),
        pytest.param(8, 8, None, id="last_known"),
        pytest.param("5", 5, "text_number: {} ", id="digits"),
        pytest.param(ABSENT, 0, "missing_field: {}", id="absent"),
        pytest.param(None, 0, "missing_field: {}", id="null"),
        pytest.param(9, 9, "unknown_platform: {} is 9", id="unknown"),
        pytest.param(
            WIDEST_PLATFORM,
            WIDEST_PLATFORM,
            f"unknown_platform: {{}} is {WIDEST_PLATFORM}",
            id="widest",
        ),
    ],
)
def test_push_platform(sent: object, kept: int, warning: str | None) -> None:
    """A platform is kept whatever its number; what is odd about it is warned of."""
    entry, warnings = read_platform_entry(PushPlatform=sent)
    path = "$.PlatformReadyToSendLoss[].PushPlatform"
    expected = () if warning is None else (warning.format(path).rstrip(),)

    assert kept == entry.platform_id
    assert expected == warnings


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("ErrCode", ABSENT, "is null"),
        ("ErrCode", None, "is null"),
        ("ErrCode", True, "is true"),
        ("ErrCode", 1.0, "is 1.0"),
        ("ErrCode", [], "is an array"),
        ("ErrCode", {}, "is an object"),
        ("ErrCode", "\udc00", "holds half a surrogate pair"),
        ("ErrCount", ABSENT, "is null"),
        ("ErrCount", None, "is null"),
        ("ErrCount", -1, "is -1"),
        ("ErrCount", True, "is true"),
        ("ErrCount", 1.0, "is 1.0"),
        ("ErrCount", 1e400, "is "),
        ("ErrCount", "", 'is ""'),
        ("ErrCount", "-1", 'is "-1"'),
        ("ErrCount", "1.5", 'is "1.5"'),
        ("ErrCount", "１", 'is "１"'),
        ("ErrCount", WIDEST_COUNT + 1, "is 9223372036854775808"),
        ("ErrCount", str(WIDEST_COUNT + 1), 'is "9223372036854775808"'),
        ("ErrCount", "9" * 5000, 'is "999'),
        ("ErrCount", [1], "is an array"),
        ("ErrInfo", 5, "is 5"),
        ("ErrInfo", False, "is false"),
        ("ErrInfo", ["x"], "is an array"),
        ("ErrInfo", "\ud800", "holds half a surrogate pair"),
        ("PushPlatform", -1, "is -1"),
        ("PushPlatform", True, "is true"),
        ("PushPlatform", 1.0, "is 1.0"),
        ("PushPlatform", "apns", 'is "apns"'),
        ("PushPlatform", WIDEST_PLATFORM + 1, "is 2147483648"),
    ],
)
def test_refused_fields(name: str, value: object, problem: str) -> None:
    """A field that cannot be read with certainty is refused with its path."""
    good = a_platform_entry()
    bad = a_platform_entry(**{name: value})
    # Python writes the widest float as a word that JSON does not know.
    body = an_answer(PlatformPostSendDeliveredLoss=[good, good, good, bad])
    error = refusal(body.replace(b"Infinity", b"1e400"))

    assert f"$.PlatformPostSendDeliveredLoss[3].{name}" == error.place
    assert error.problem.startswith(f"{name} {problem}")


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        pytest.param(None, "null", id="null"),
        pytest.param("x", '"x"', id="text"),
        pytest.param([an_entry()], "an array", id="array"),
    ],
)
def test_entry_of_another_type(entry: object, shown: str) -> None:
    """An entry that is no object is refused with its path."""
    body = as_bytes(OK | {"Results": {"ReadyToSendLoss": [an_entry(), entry]}})

    assert f"the entry is {shown}, no object (at $.Results.ReadyToSendLoss[1])" == str(
        refusal(body)
    )


def test_repeated_warnings() -> None:
    """A thousand odd entries make one warning of each kind, in a fixed order."""
    odd = a_platform_entry(ErrCount="1", ErrInfo=None, PushPlatform=12)
    report = parse_report(an_answer(PlatformReadyToSendLoss=[odd] * 1000))

    assert (
        "missing_field: $.PlatformReadyToSendLoss[].ErrInfo",
        "text_number: $.PlatformReadyToSendLoss[].ErrCount",
        "unknown_platform: $.PlatformReadyToSendLoss[].PushPlatform is 12",
    ) == report.warnings
