"""Answers, bodies and entries with sane values for all that a test does not name."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pushloss_pipeline.domain.model import Answer, Outcome
from pushloss_pipeline.domain.parse import read_status
from pushloss_pipeline.domain.verdict import Standing, State, judge_all

SHOP_ID = 1400000001
CHAT_ID = 1400000002
DAY = date(2026, 3, 11)
START = datetime(2026, 3, 12, 2, 0, tzinfo=UTC)


def a_body(counts: Mapping[str, int], **fields: Any) -> bytes:
    """An OK answer with these counts by code, all lost on APNs after sending."""
    overall = [
        {"ErrCode": code, "ErrCount": count, "ErrInfo": f"text of {code}"}
        for code, count in counts.items()
    ]
    body = {
        "ActionStatus": "OK",
        "ErrorCode": 0,
        "ErrorInfo": "",
        "ReadyToSendLoss": [],
        "PostSendDeliveredLoss": overall,
        "PlatformReadyToSendLoss": [],
        "PlatformPostSendDeliveredLoss": [{**e, "PushPlatform": 1} for e in overall],
        **fields,
    }
    return json.dumps(body, ensure_ascii=False).encode()


def a_refusal(error_code: int, error_info: str = "no") -> bytes:
    """An answer that says no."""
    body = {"ActionStatus": "FAIL", "ErrorCode": error_code, "ErrorInfo": error_info}
    return json.dumps(body).encode()


A = a_body({"410": 3})
B = a_body({"410": 5, "-1": 2})
NOTHING = a_body({})


def an_answer(
    number: int,
    body: bytes | None = A,
    *,
    http_status: int | None = 200,
    outcome: Outcome = Outcome.ANSWERED,
    error_info: str | None = None,
    **fields: Any,
) -> Answer:
    """The answer that was recorded as the `number`th, so many minutes after START."""
    status = read_status(body or b"")
    answer = Answer(
        response_id=f"{number:032x}",
        sdk_app_id=SHOP_ID,
        app="shop",
        loss_date=DAY,
        window_start=START - timedelta(hours=34),
        window_end=START - timedelta(hours=10),
        attempt=1,
        requested_at=START + timedelta(minutes=number, seconds=-1),
        fetched_at=START + timedelta(minutes=number),
        outcome=outcome,
        http_status=http_status,
        error_code=status.error_code,
        error_info=error_info or status.error_info,
        body=body,
        recorded_at=START + timedelta(minutes=number, milliseconds=5),
    )
    return replace(answer, **fields)


def a_decision(number: int, outcome: Outcome, **fields: Any) -> Answer:
    """What stands in an answer's place: an acceptance, or a day that has expired."""
    return an_answer(number, None, http_status=None, outcome=outcome, **fields)


def no_answer(number: int, error_info: str = "connection refused") -> Answer:
    """A call that the network swallowed."""
    return a_decision(number, Outcome.NO_ANSWER, error_info=error_info)


def folded(*answers: Answer) -> list[Standing]:
    """The entries of a day with these answers."""
    return judge_all(None, answers)


def told(entries: Sequence[Standing]) -> list[tuple[State, int, int]]:
    """State, revision and rows of each entry."""
    return [(entry.state, entry.revision, entry.row_count) for entry in entries]
