"""What is an alarm, which are new, and how they read."""

import zlib
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pushloss_pipeline.domain.alarm_texts import BODY_BYTES, Message, messages
from pushloss_pipeline.domain.alarms import (
    Alarm,
    CodeAlarm,
    DayAlarm,
    Kind,
    Memory,
    OpenDay,
    RunAlarm,
    alarms_of_day,
    one_of_each_cause,
    read_memory,
)
from pushloss_pipeline.domain.verdict import State

DAY = date(2026, 3, 5)
SHOP, CHAT = 1400000001, 1400000002
ZONE = ZoneInfo("Asia/Shanghai")
DUE_AT = datetime(2026, 3, 6, 4, 30, tzinfo=UTC)
FORGOTTEN_AT = datetime(2026, 3, 12, 16, 0, tzinfo=UTC)
EARLY = FORGOTTEN_AT - timedelta(days=5)
REPORT = "https://intranet.example/push/"


def a_day(state: State | None = State.FAILED, **fields: Any) -> OpenDay:
    """A day of the shop that is not done."""
    return replace(OpenDay(SHOP, "shop", DAY, state, DUE_AT, FORGOTTEN_AT), **fields)


def a_code(kind: Kind = Kind.NEW_CODE, **fields: Any) -> CodeAlarm:
    """A code that is new on a day."""
    return replace(
        CodeAlarm(
            kind=kind,
            sdk_app_id=SHOP,
            app="shop",
            loss_date=DAY,
            stage="post_send_delivered",
            platform="apns",
            err_code="403",
            meaning="Certificate rejected",
            owner="console admin",
            action="Upload a valid certificate",
            lost_count=1234,
            expected_count=200,
        ),
        **fields,
    )


def told(*alarms: Alarm) -> Message:
    """The one message that tells these."""
    (message,) = messages(alarms, zone=ZONE, report_url=REPORT)
    return message


def kinds(day: OpenDay, now: datetime) -> list[Kind]:
    """What is told of a day at a moment."""
    return [alarm.kind for alarm in alarms_of_day(day, now)]


@pytest.mark.parametrize(
    ("state", "told_kinds"),
    [
        (State.REFUSED, [Kind.REFUSED]),
        (State.FAILED, [Kind.FAILED]),
        (State.EXPIRED, [Kind.EXPIRED]),
        (None, []),
    ],
)
def test_a_state_is_told(state: State | None, told_kinds: list[Kind]) -> None:
    """Long before it is forgotten, a day is told by its state alone."""
    assert told_kinds == kinds(a_day(state), EARLY)


@pytest.mark.parametrize(
    ("left", "told_kinds"),
    [
        (timedelta(days=3, seconds=1), []),
        (timedelta(days=3), [Kind.EXPIRES_SOON]),
        (timedelta(days=1, seconds=1), [Kind.EXPIRES_SOON]),
        (timedelta(days=1), [Kind.EXPIRES_TOMORROW]),
        (timedelta(seconds=1), [Kind.EXPIRES_TOMORROW]),
        (timedelta(), [Kind.EXPIRED]),
    ],
    ids=str,
)
def test_time_is_told_as_it_runs_out(left: timedelta, told_kinds: list[Kind]) -> None:
    """Three days before the API forgets a day, one day before, and when it has."""
    assert told_kinds == kinds(a_day(None), FORGOTTEN_AT - left)


def test_a_day_whose_rows_stand_is_not_lost() -> None:
    """Only a day without any accepted answer can be lost for good."""
    failed = a_day(State.FAILED, has_losses=True)
    held = a_day(State.HELD, has_losses=True)

    assert [Kind.FAILED] == kinds(failed, FORGOTTEN_AT - timedelta(hours=1))
    assert [Kind.FAILED] == kinds(failed, FORGOTTEN_AT - timedelta(days=2))
    assert [] == kinds(failed, FORGOTTEN_AT)
    assert [Kind.HELD] == kinds(held, FORGOTTEN_AT + timedelta(days=9))


def test_a_day_runs_out_only_after_its_daily_load() -> None:
    """Where the API forgets soon, a day is not in danger before anybody could ask."""
    day = a_day(None, expires_at=DUE_AT + timedelta(hours=11))
    before = DUE_AT - timedelta(seconds=1)

    assert [] == kinds(day, before)
    assert [Kind.EXPIRES_TOMORROW] == kinds(day, DUE_AT)
    failed = replace(day, state=State.FAILED)
    assert [Kind.FAILED, Kind.EXPIRES_TOMORROW] == kinds(failed, before)


def test_a_new_name_makes_no_new_alarm() -> None:
    """An app that is renamed is told nothing again."""
    for named in (
        lambda app: DayAlarm(Kind.FAILED, a_day(app=app)),
        lambda app: a_code(app=app),
        lambda app: a_code(Kind.ANOMALY, app=app),
    ):
        assert named("shop").key == named("store").key


def test_a_new_code_is_no_anomaly_too() -> None:
    """One cause is told once; what else is unusual that day is told."""
    new, same = a_code(), a_code(Kind.ANOMALY)
    other = a_code(Kind.ANOMALY, err_code="410")

    assert [new, other] == one_of_each_cause([new, same, other])


def test_an_anomaly_is_told_once_for_its_day() -> None:
    """An answer that moves it to another level makes no new alarm; a code does."""
    anomaly = a_code(Kind.ANOMALY)
    moved = replace(anomaly, err_code="", lost_count=9)

    assert anomaly.key == moved.key
    assert a_code().key != a_code(err_code="410").key


def test_what_was_told_is_no_news() -> None:
    """Each service hears of each alarm once; a memory survives as text."""
    alarm = DayAlarm(Kind.FAILED, a_day())
    memory = Memory().with_told("slack", [alarm.key], DAY)
    memory = memory.with_runs_after("slack", EARLY)
    read = read_memory(memory.as_text())

    assert memory == read
    assert [] == read.news("slack", [alarm], DAY)
    assert [alarm] == read.news("e-mail", [alarm], DAY)


def test_what_holds_is_told_once_and_what_comes_back_on_another_day() -> None:
    """Also weeks later nothing is repeated that was wrong all the time."""
    alarm = DayAlarm(Kind.HELD, a_day(State.HELD))
    memory = Memory().with_told("slack", [alarm.key], DAY)

    def after(holding: list[Alarm], days: int) -> list[Alarm]:
        today = DAY + timedelta(days=days)
        kept = memory.only(["slack"], holding=holding, today=today)
        return kept.news("slack", [alarm], today)

    assert [] == after([alarm], days=90)
    assert [] == after([], days=0)
    assert [alarm] == after([], days=1)


def test_runs_are_remembered_for_a_week() -> None:
    """No state says that a run is still failed."""
    run = RunAlarm("1a2b", "daily_push_loss", "disk full")
    memory = Memory().with_told("slack", [run.key], DAY)

    for days, news in ((7, []), (8, [run])):
        today = DAY + timedelta(days=days)
        kept = memory.only(["slack"], holding=[], today=today)
        assert news == kept.news("slack", [run], today)


def test_a_lasting_cause_is_told_once_a_day() -> None:
    """However many runs fail by it; the next day it is told again."""
    runs = [
        RunAlarm(run_id, "daily_push_loss", "no key", lasting_cause="chat: no key")
        for run_id in ("1a2b", "3c4d")
    ]
    memory = Memory()
    assert runs[1:] == memory.news("slack", runs, DAY)

    memory = memory.with_told("slack", [runs[0].key], DAY)
    assert [] == memory.news("slack", runs[1:], DAY)
    assert runs[1:] == memory.news("slack", runs[1:], DAY + timedelta(days=1))


def test_services_that_are_gone_are_forgotten() -> None:
    """What they were told, and up to which run."""
    alarm = DayAlarm(Kind.FAILED, a_day())
    memory = Memory().with_told("slack", [alarm.key], DAY)
    memory = memory.with_runs_after("slack", EARLY)

    assert Memory() == memory.only(["email"], holding=[alarm], today=DAY)


def test_the_memory_of_a_bad_week_is_small() -> None:
    """It is written 720 times a day: 7 bad days of 1,000 apps take less than 64 kB."""
    keys = [
        DayAlarm(
            Kind.FAILED,
            a_day(sdk_app_id=SHOP + 7919 * app, loss_date=DAY + timedelta(days=day)),
        ).key
        for app in range(1000)
        for day in range(7)
    ]

    assert len(Memory().with_told("slack", keys, DAY).as_text()) < 64_000


@pytest.mark.parametrize(
    "told",
    [
        *("not json", "[]", "3", "{}", '{"told": [1], "runs_after": {}}'),
        '{"told": {"a": 3}, "runs_after": {}}',
        '{"told": {"a": {"b": "x"}}, "runs_after": {}}',
        '{"told": {}, "runs_after": {"a": 7}}',
    ],
)
def test_an_unreadable_memory_starts_anew(told: str) -> None:
    """A broken cursor costs a repeated message, not the alarms."""
    packed = b64encode(zlib.compress(told.encode())).decode()

    assert [Memory()] * 4 == list(map(read_memory, (packed, told, "", None)))


def test_a_refusal_says_whose_move_it_is() -> None:
    """What the API said, what to do, who can, and where the report is."""
    days = [
        a_day(State.REFUSED, error_code=60010, error_info="ip\n not allowed"),
        a_day(
            State.REFUSED,
            loss_date=date(2026, 3, 6),
            error_code=60010,
            error_info="ip not allowed",
        ),
    ]
    message = told(*(DayAlarm(Kind.REFUSED, day) for day in days))

    assert message.title == "[pushloss] shop: the API refuses (60010)"
    assert message.body == (
        "shop, 5 and 6 March: the API says no: 60010 ip not allowed\n"
        "→ add this machine's address to the app's IP allow list in the console; then"
        " `pushloss load 2026-03-05 2026-03-06 --app shop --missing`, or wait for the"
        " next load\n"
        "Whose move: an administrator of the app in the Chat console\n\n"
        f"Report: {REPORT}"
    )
    assert message.keys == (
        f"refused {SHOP} 2026-03-05",
        f"refused {SHOP} 2026-03-06",
    )


def test_a_day_that_runs_out_has_its_command() -> None:
    """Until when, in local time, and what to run."""
    message = told(DayAlarm(Kind.EXPIRES_TOMORROW, a_day(None)))

    assert message.title == "[pushloss] shop: 5 March not loaded, lost within a day"
    assert message.body.splitlines()[:2] == [
        (
            "shop, 5 March: never asked; the API forgets it at 2026-03-13 00:00"
            " (Asia/Shanghai)"
        ),
        "→ run `pushloss load 2026-03-05 2026-03-05 --app shop`",
    ]


def test_a_held_day_has_its_command() -> None:
    """Somebody must decide; how is in the message."""
    message = told(DayAlarm(Kind.HELD, a_day(State.HELD, has_losses=True)))

    assert message.title == "[pushloss] shop: 1 day held, somebody must decide"
    assert "`pushloss accept 2026-03-05 --app shop`" in message.body


def test_a_new_code_has_meaning_and_owner() -> None:
    """Code, platform, stage, count, meaning, action, owner."""
    message = told(a_code())

    assert message.title == "[pushloss] shop: new: APNs 403 after sending"
    assert message.body.splitlines()[:3] == [
        (
            "shop, 5 March: APNs 403 after sending was never met before: 1,234 lost."
            " Certificate rejected"
        ),
        "→ Upload a valid certificate",
        "Whose move: console admin",
    ]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "APNs 403 after sending rose to 1,234, about 200 expected"),
        ({"err_code": "", "is_drop": True}, "losses of APNs after sending fell to"),
        ({"err_code": "", "platform": ""}, "losses of the app after sending rose to"),
        (
            {"err_code": "", "platform": "", "stage": "", "meaning": ""},
            "losses of the app rose to 1,234, about 200 expected\n",
        ),
    ],
    ids=["code", "platform", "stage", "app"],
)
def test_an_anomaly_tells_count_against_expected(
    fields: dict[str, Any], words: str
) -> None:
    """At each level it is said what moved, and how far."""
    message = told(a_code(Kind.ANOMALY, **fields))

    assert message.title == "[pushloss] shop: unusual losses on 5 March"
    assert words in message.body


def test_a_failed_run_is_told_in_few_lines() -> None:
    """Job, first lines of the reason, the command; no query of an address."""
    reason = "app chat: no key\n" + "x" * 500 + "\nhttps://a.b/c?usersig=5ca1ab1e\nend"
    message = told(RunAlarm("1a2b", "daily_push_loss", reason, "pushloss load A B"))

    assert message.title == "[pushloss] daily_push_loss failed"
    assert "app chat: no key" in message.body
    assert "mend that, then `pushloss load A B`" in message.body
    assert "run 1a2b" in message.body
    assert "5ca1ab1e" not in message.body and "x" * 200 not in message.body


def test_causes_of_one_run_are_one_paragraph() -> None:
    """Two apps without a key are one run that failed."""
    runs = [
        RunAlarm("1a2b", "daily_push_loss", f"{app}: no key", "", f"{app}: no key")
        for app in ("chat", "shop")
    ]
    message = told(*runs)

    assert message.title == "[pushloss] daily_push_loss failed"
    assert message.body.startswith("daily_push_loss: chat: no key\nshop: no key\n→")
    other = replace(runs[0], run_id="3c4d", lasting_cause="disk")
    assert told(*runs, other).title == "[pushloss] 2 runs failed"


def test_one_message_for_each_kind_the_most_urgent_first() -> None:
    """Nobody is called twice about one kind of trouble."""
    alarms = [
        a_code(Kind.ANOMALY),
        DayAlarm(Kind.FAILED, a_day()),
        DayAlarm(Kind.REFUSED, a_day(State.REFUSED)),
        DayAlarm(Kind.FAILED, a_day(sdk_app_id=CHAT, app="chat")),
    ]
    sent = messages(alarms, zone=ZONE, report_url=REPORT)

    assert [Kind.REFUSED, Kind.FAILED, Kind.ANOMALY] == [m.kind for m in sent]
    assert [True, False, False] == [m.is_failure for m in sent]
    assert len(sent[1].keys) == 2


def test_many_causes_are_cut_and_counted() -> None:
    """A message fits into a chat, and says how much it leaves out and where it is."""
    alarms = [
        DayAlarm(
            Kind.FAILED,
            a_day(sdk_app_id=n, app=f"app_{n:03}", error_info="太" * 900),
        )
        for n in range(100)
    ]
    message = told(*alarms)
    shown = message.body.count("Whose move")

    assert len(message.body.encode()) < BODY_BYTES + 200
    assert shown > 1
    assert f"… and {100 - shown} more, see `pushloss status`" in message.body
    assert message.title == "[pushloss] 100 apps: no usable answer for 5 March"
    assert len(message.keys) == 100
