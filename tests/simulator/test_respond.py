"""From a call to the answer, without a network."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import date, datetime, timedelta

import pytest
from TLSSigAPIv2 import TLSSigAPIv2

from pushloss_pipeline.simulator.respond import (
    Answer,
    Call,
    Envelope,
    render,
    respond,
)
from pushloss_pipeline.simulator.scenario import Scenario, SimulatedApp
from pushloss_pipeline.simulator.truth import DAY_SECONDS, day_start, day_truth

ACall = Callable[..., Call]
START = day_start(date(2026, 3, 11))
ARRAYS = (
    "ReadyToSendLoss",
    "PostSendDeliveredLoss",
    "PlatformReadyToSendLoss",
    "PlatformPostSendDeliveredLoss",
)


@pytest.fixture
def ask(scenario: Scenario, now: datetime) -> Callable[[Call], Answer]:
    """Answer a call at the simulated instant."""
    return lambda call: respond(call, scenario, now=now, signature_now=time.time())


Ask = Callable[[Call], Answer]


def window_body(start_time: object, end_time: object) -> bytes:
    """Write a request body for any two values."""
    return json.dumps({"StartTime": start_time, "EndTime": end_time}).encode()


def test_a_good_call_is_told_the_truth(
    ask: Ask,
    a_call: ACall,
    scenario: Scenario,
    shop: SimulatedApp,
    day: date,
    now: datetime,
) -> None:
    """A good call is answered with the day as known now."""
    answer = ask(a_call())

    assert answer.error_code == 0
    assert answer.error_info == "sucess"
    assert answer.rows == day_truth(scenario, shop.sdk_app_id, day, at=now)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"without": "sdkappid"}, 60012),
        ({"sdkappid": "shop"}, 60006),
        ({"sdkappid": ""}, 60006),
        ({"sdkappid": "９"}, 60006),
        ({"sdkappid": "9" * 5000}, 60006),
        ({"sdkappid": "1400999999"}, 70020),
        ({"without": "identifier"}, 60004),
        ({"without": "usersig"}, 60004),
        ({"usersig": ""}, 70002),
        ({"usersig": "rubbish"}, 70003),
        ({"sdkappid": "1400000778"}, 70014),
        ({"identifier": "someone"}, 70013),
        ({"without": "random"}, 60002),
        ({"random": "-1"}, 60002),
        ({"random": "4294967296"}, 60002),
        ({"random": "abc"}, 60002),
        ({"without": "contenttype"}, 60002),
        ({"contenttype": "xml"}, 60002),
        ({"method": "GET"}, 60009),
    ],
    ids=str,
)
def test_a_wrong_query_is_refused(
    ask: Ask, a_call: ACall, changed: dict[str, str], expected: int
) -> None:
    """Each fault of the URL or the method answers its own code, and no rows."""
    answer = ask(a_call(**changed))

    assert expected == answer.error_code
    assert answer.rows == ()


@pytest.mark.parametrize("random", ["0", "4294967295"])
def test_any_random_of_32_bits_is_taken(ask: Ask, a_call: ACall, random: str) -> None:
    """Both ends of the range of random are good."""
    assert ask(a_call(random=random)).error_code == 0


def test_only_the_administrator_may_ask(
    ask: Ask, a_call: ACall, shop: SimulatedApp
) -> None:
    """A well signed call of an ordinary account answers 90009."""
    usersig = TLSSigAPIv2(shop.sdk_app_id, shop.secret_key).gen_sig("alice", 86400)

    assert ask(a_call(identifier="alice", usersig=usersig)).error_code == 90009


def test_the_signature_has_its_own_clock(
    a_call: ACall, scenario: Scenario, now: datetime
) -> None:
    """A signature expires by the signature clock, whatever the simulated day."""
    answer = respond(a_call(), scenario, now=now, signature_now=time.time() + 2 * 86400)

    assert answer.error_code == 70001


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", 60003),
        (b"StartTime=1", 60003),
        (b"\xff\xfe{", 60003),
        (b"[" * 100_000, 60003),
        (b"[]", 90001),
        (b"null", 90001),
        (b'{"EndTime": 1741795200}', 90100),
        (b'{"StartTime": 1741708800}', 90100),
        (window_body(str(START), START + DAY_SECONDS), 90100),
        (window_body(START, float(START + DAY_SECONDS)), 90100),
        (window_body(True, START), 90100),
        (window_body(None, START), 90100),
        (window_body(-1, START), 90100),
        (window_body(START, 10**30), 90100),
        (window_body(START, START), 90100),
        (window_body(START + 1, START), 90100),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_body_is_refused(
    ask: Ask, a_call: ACall, body: bytes, expected: int
) -> None:
    """Each fault of the body answers its own code."""
    assert expected == ask(a_call(body=body)).error_code


@pytest.mark.parametrize(
    ("start_day", "end_day", "expected"),
    [
        (-7, -6, 0),
        (-8, -7, 90100),
        (-7, 0, 0),
        (-7, 1, 90100),
        (0, 1, 0),
        (1, 2, 90100),
        (0, 2, 90100),
    ],
    ids=[
        "oldest day",
        "day before the oldest",
        "widest window",
        "eight days",
        "today",
        "tomorrow",
        "today and tomorrow",
    ],
)
def test_only_the_last_seven_days_are_told(
    ask: Ask, a_call: ACall, now: datetime, start_day: int, end_day: int, expected: int
) -> None:
    """The window must lie in the last seven days and today, in UTC+8."""
    today = day_start(date(2026, 3, 12))
    body = window_body(today + start_day * DAY_SECONDS, today + end_day * DAY_SECONDS)

    assert expected == ask(a_call(body=body)).error_code


def test_a_second_before_the_oldest_day_is_refused(ask: Ask, a_call: ACall) -> None:
    """The retention begins exactly at a UTC+8 midnight."""
    oldest = day_start(date(2026, 3, 5))

    assert ask(a_call(body=window_body(oldest, oldest + 9))).error_code == 0
    assert ask(a_call(body=window_body(oldest - 1, oldest + 9))).error_code == 90100


@pytest.mark.parametrize(("seconds", "expected"), [(0, 0), (1, 90100)])
def test_what_is_still_to_come_is_refused(
    ask: Ask, a_call: ACall, now: datetime, seconds: int, expected: int
) -> None:
    """A window may begin this very second, but no later."""
    start_time = int(now.timestamp()) + seconds

    answer = ask(a_call(body=window_body(start_time, start_time + 60)))

    assert expected == answer.error_code


def test_the_oldest_day_slides_out_at_midnight(
    a_call: ACall, scenario: Scenario
) -> None:
    """The last instant of the seventh day still tells the day, the next does not."""
    midnight = datetime.fromisoformat("2026-03-19T00:00:00+08:00")
    codes = [
        respond(a_call(), scenario, now=at, signature_now=time.time()).error_code
        for at in (midnight - timedelta(seconds=1), midnight)
    ]

    assert codes == [0, 90100]


def test_a_day_not_over_is_told_in_part(
    ask: Ask, a_call: ACall, scenario: Scenario, shop: SimulatedApp, now: datetime
) -> None:
    """Today is answered with what is known of it."""
    today = date(2026, 3, 12)
    answer = ask(a_call(day=today))

    assert answer.rows
    assert answer.rows == day_truth(scenario, shop.sdk_app_id, today, at=now)


def test_a_call_keeps_its_signature_to_itself(a_call: ACall) -> None:
    """The repr of a call does not show the signature."""
    call = a_call()

    assert call.query["usersig"] not in repr(call)


def test_a_refusal_is_rendered_as_fail() -> None:
    """A refusal holds its code and text, and no arrays."""
    body = json.loads(render(Answer(90100, "why")))

    assert body == {"ActionStatus": "FAIL", "ErrorCode": 90100, "ErrorInfo": "why"}


@pytest.mark.parametrize(
    ("envelope", "path"),
    [
        ("top", ()),
        ("results_object", ("Results",)),
        ("results_list", ("Results", 0)),
        ("other_key", ("Data",)),
    ],
)
def test_an_envelope_holds_the_four_arrays(
    ask: Ask, a_call: ACall, envelope: Envelope, path: tuple[str | int, ...]
) -> None:
    """In each envelope the same arrays lie at its own place."""
    answer = ask(a_call())
    whole = json.loads(render(answer, envelope))
    holder = whole
    for step in path:
        holder = holder[step]

    assert (whole["ActionStatus"], whole["ErrorCode"]) == ("OK", 0)
    assert {name: holder[name] for name in ARRAYS} == arrays_expected(answer)


def arrays_expected(answer: Answer) -> dict[str, list[dict[str, object]]]:
    """Sort the rows of an answer into arrays, in a way of the test's own."""
    arrays: dict[str, list[dict[str, object]]] = {name: [] for name in ARRAYS}
    for row in map(asdict, answer.rows):
        element = {
            "ErrCode": row["err_code"],
            "ErrCount": row["err_count"],
            "ErrInfo": row["err_info"],
        }
        stage = {
            "ready_to_send": "ReadyToSend",
            "post_send_delivered": "PostSendDelivered",
        }
        prefix = ""
        if row["scope"] == "platform":
            prefix, element["PushPlatform"] = "Platform", row["platform_id"]
        arrays[f"{prefix}{stage[row['stage']]}Loss"].append(element)
    return arrays


def test_the_printed_envelope_is_as_broken_as_the_page(ask: Ask, a_call: ACall) -> None:
    """The vendor's sample has an object without a name: no valid JSON."""
    body = render(ask(a_call()), "as_printed")

    assert b'"ErrorInfo":"sucess",{"ReadyToSendLoss":[' in body
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


def test_text_travels_unescaped(ask: Ask, a_call: ACall) -> None:
    """Chinese texts are UTF-8 in the body, not escapes."""
    assert "用户关闭了通知".encode() in render(ask(a_call()))
