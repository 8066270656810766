"""The sentences: each kind of change, state and incident in its exact words."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import pytest

from pushloss_pipeline.report.day_notes import note_days, tell_days
from pushloss_pipeline.report.facts import (
    tell_events,
    tell_incident,
    tell_incidents,
    tell_platforms,
    tell_residual,
    tell_trend,
)
from pushloss_pipeline.report.incidents import find_incidents, marked_incidents
from pushloss_pipeline.report.model import (
    AppReport,
    CodeChange,
    CodeEvent,
    DayFigures,
    PlatformDay,
    Residual,
)
from pushloss_pipeline.report.story import Headline, NextStep, tell_headline
from tests.report.reports import (
    LAST_DAY,
    a_change,
    a_code,
    a_part,
    a_report,
    an_anomaly,
    an_empty_report,
    some_days,
)

APNS_403 = a_code()
XIAOMI_16 = a_code("xiaomi", "16", meaning="Target is not valid", owner="app team")
VIVO_10070 = a_code("vivo", "10070", meaning="Quota used up", action="Ask for more")
NO_PLATFORM = replace(a_code(""), err_code="-1", meaning="", owner="", action="")


def plain(text: str) -> str:
    """The text with ordinary spaces."""
    return text.replace("\u00a0", " ")


def headline_of(part: AppReport, *others: AppReport) -> Headline:
    """The headline of a part in a report of it and others."""
    return tell_headline(part, a_report(part, *others))


def sentence_of(part: AppReport, *others: AppReport) -> str:
    """The sentence of a part, with ordinary spaces."""
    return plain(headline_of(part, *others).sentence)


def a_pair(code: CodeChange, *others: CodeChange) -> tuple[AppReport, ...]:
    """All together, shop with the first cell, chat with the others."""
    return (
        a_part(change=a_change(code, *others)),
        a_part("shop", change=a_change(code)),
        a_part("chat", change=a_change(*others)),
    )


def test_a_rise_by_one_code_names_code_app_meaning_days_and_next_step() -> None:
    """The code that makes most of a rise is named with all that is known of it."""
    parts = a_pair(CodeChange(APNS_403, 100, 9300), CodeChange(XIAOMI_16, 9900, 10700))
    days = (date(2026, 11, 17), date(2026, 11, 18))
    together = replace(parts[0], anomalies=tuple(map(an_anomaly, days)))

    headline = headline_of(together, *parts[1:])

    assert (
        "Losses rose by 10,000 (+100 %) against the 7 days before; 92 % of the rise is "
        "APNs 403 at shop – certificate or provider token rejected – on 17 and "
        "18 November."
    ) == plain(headline.sentence)
    assert headline.next_steps == (
        NextStep("console admin", "Renew the .p12 or .p8 credentials"),
    )


SENTENCES = {
    "one code without a known incident": (
        [CodeChange(APNS_403, 100, 1100), CodeChange(XIAOMI_16, 400, 500)],
        (
            "Losses rose by 1,100 (+220 %) against the 7 days before; 91 % of the "
            "rise is APNs 403 – certificate or provider token rejected."
        ),
    ),
    "a code rises by more than the whole": (
        [CodeChange(APNS_403, 0, 1500), CodeChange(XIAOMI_16, 2000, 1500)],
        (
            "Losses rose by 1,000 (+50 %) against the 7 days before; all of the rise "
            "is APNs 403 (+1,500) – certificate or provider token rejected, while "
            "others fell by 500."
        ),
    ),
    "several codes": (
        [
            CodeChange(APNS_403, 100, 500),
            CodeChange(XIAOMI_16, 100, 450),
            CodeChange(VIVO_10070, 800, 1050),
        ],
        (
            "Losses rose by 1,000 (+100 %) against the 7 days before; all of the rise"
            " is APNs 403 (+400), Xiaomi 16 (+350) and vivo 10070 (+250)."
        ),
    ),
    "many codes": (
        [CodeChange(a_code(err_code=str(n)), 100, 110 + n) for n in range(9)],
        (
            "Losses rose by 126 (+14 %) against the 7 days before; the rise is spread"
            " over 9 codes, foremost APNs 8 (+18)."
        ),
    ),
    "three codes by more than the whole": (
        [
            CodeChange(APNS_403, 0, 50),
            CodeChange(XIAOMI_16, 0, 40),
            CodeChange(VIVO_10070, 0, 30),
            CodeChange(a_code("fcm", "1"), 100, 80),
        ],
        (
            "Losses rose by 100 (+100 %) against the 7 days before; all of the rise "
            "is APNs 403 (+50), Xiaomi 16 (+40) and vivo 10070 (+30), while others "
            "fell."
        ),
    ),
    "many times as much": (
        [CodeChange(APNS_403, 100, 12_000)],
        (
            "Losses rose by 11,900 (×120) against the 7 days before; all of the rise "
            "is APNs 403 – certificate or provider token rejected."
        ),
    ),
    "from nothing": (
        [CodeChange(APNS_403, 0, 12)],
        (
            "Losses rose by 12 against the 7 days before, which had none; all of the "
            "rise is APNs 403 – certificate or provider token rejected."
        ),
    ),
    "of no platform": (
        [CodeChange(NO_PLATFORM, 100, 200)],
        (
            "Losses rose by 100 (+100 %) against the 7 days before; all of the rise "
            "is -1 of no platform."
        ),
    ),
    "a code before sending": (
        [CodeChange(a_code("huawei", "-2", stage="ready_to_send", meaning=""), 10, 90)],
        (
            "Losses rose by 80 (+800 %) against the 7 days before; all of the rise is"
            " Huawei -2 before sending – a code the catalogue does not hold."
        ),
    ),
    "a fall": (
        [CodeChange(APNS_403, 1000, 100), CodeChange(XIAOMI_16, 1000, 950)],
        (
            "Losses fell by 950 (−48 %) against the 7 days before; 95 % of the fall "
            "is APNs 403 – certificate or provider token rejected."
        ),
    ),
    "no change": (
        [CodeChange(APNS_403, 10_000, 10_050)],
        "Losses hardly changed: +50 (+0.5 %) against the 7 days before.",
    ),
    "no change at all": (
        [CodeChange(APNS_403, 10_000, 10_000)],
        "Losses are the same as on the 7 days before.",
    ),
    "no change of the sum": (
        [CodeChange(APNS_403, 100, 5000), CodeChange(XIAOMI_16, 9900, 5000)],
        (
            "Losses are the same as on the 7 days before. Beneath that, APNs 403 rose"
            " by 4,900 and Xiaomi 16 fell by 4,900."
        ),
    ),
    "no losses": ([], "No losses, and none on the 7 days before."),
}


@pytest.mark.parametrize(
    ("cells", "sentence"), SENTENCES.values(), ids=SENTENCES.keys()
)
def test_each_kind_of_change_has_its_sentence(
    cells: list[CodeChange], sentence: str
) -> None:
    """What moved the losses is told in one sentence."""
    assert sentence == sentence_of(a_part("shop", change=a_change(*cells)))


def test_a_fall_after_an_incident_names_the_days_of_the_incident() -> None:
    """A fall that only ends an incident says so."""
    part = a_part(
        "shop",
        change=a_change(CodeChange(APNS_403, 9000, 100)),
        anomalies=(an_anomaly(date(2026, 11, 10)),),
    )

    assert sentence_of(part).endswith(
        "certificate or provider token rejected – after its rise on 10 November."
    )
    assert headline_of(part).next_steps == ()


def test_an_incident_is_told_though_the_whole_fell() -> None:
    """A fall elsewhere hides no code that left its usual range."""
    part = a_part(
        "shop",
        change=a_change(CodeChange(APNS_403, 0, 900), CodeChange(XIAOMI_16, 9000, 100)),
        anomalies=(an_anomaly(date(2026, 11, 20)),),
    )

    assert sentence_of(part) == (
        "APNs 403 (+900) – certificate or provider token rejected – left its usual "
        "range on 20 November, while losses as a whole fell by 8,000 (−89 %) against "
        "the 7 days before."
    )
    assert headline_of(part).next_steps[0].owner == "console admin"


def test_an_incident_is_told_though_more_rose_elsewhere() -> None:
    """What left its usual range goes before what merely grew."""
    part = a_part(
        "shop",
        change=a_change(CodeChange(APNS_403, 0, 900), CodeChange(XIAOMI_16, 500, 9000)),
        anomalies=(an_anomaly(date(2026, 11, 20)),),
    )

    assert sentence_of(part).startswith("APNs 403 (+900) – certificate")
    assert sentence_of(part).endswith(
        "as a whole rose by 9,400 (×20) against the 7 days before."
    )


def test_an_incident_is_told_though_the_whole_stayed() -> None:
    """Where a fall elsewhere makes up for it, it is told all the same."""
    part = a_part(
        "shop",
        change=a_change(
            CodeChange(APNS_403, 0, 900), CodeChange(XIAOMI_16, 9000, 8100)
        ),
        anomalies=(an_anomaly(date(2026, 11, 20)),),
    )

    assert sentence_of(part).endswith(
        "while losses as a whole are the same as on the 7 days before."
    )


def test_a_fall_into_young_days_is_told_with_care() -> None:
    """Receipts still to come may make up for a fall."""
    part = a_part(
        days=some_days(young=3), change=a_change(CodeChange(APNS_403, 900, 100))
    )

    assert [
        "Part of the fall may be that 20–22 November still rise: receipts come in late."
    ] == list(map(plain, headline_of(part).caveats))


def test_a_rise_from_days_asked_too_early_is_told_with_care() -> None:
    """Receipts that nobody asked for any more may make up for a rise."""
    days = [
        replace(day, is_young=day.loss_date in (date(2026, 11, 14), date(2026, 11, 1)))
        for day in some_days()
    ]
    part = a_part(days=days, change=a_change(CodeChange(APNS_403, 100, 900)))

    [caveat] = map(plain, headline_of(part).caveats)
    assert caveat.startswith("Part of the rise may be that 14 November was asked too")


def test_young_days_are_noted() -> None:
    """Days that the API still tells will rise, the others stay too low."""
    part = a_part(
        days=[
            replace(day, is_young=n in (5, 6, 26, 27))
            for n, day in enumerate(some_days())
        ]
    )

    assert [
        ("Still rising", "21 and 22 November"),
        ("Asked too early", "31 October and 1 November"),
    ] == [(note.title, plain(note.days)) for note in note_days(part, a_report(part))]


def test_a_comparison_over_part_of_the_days_says_so() -> None:
    """Days known on one side only are left out, and that is told."""
    cells = [CodeChange(APNS_403, 100, 200)]
    one = a_part("shop", change=a_change(*cells, compared=1))
    together = a_part(change=a_change(*cells, compared=12, wanted=14))

    assert headline_of(one).caveats == (
        "Compared over the 1 of 7 days that is known on both sides.",
    )
    assert headline_of(together).caveats == (
        "Compared over the 12 of 14 app days that are known on both sides.",
    )


def test_an_app_that_is_not_most_of_a_change_is_not_named() -> None:
    """A code that rose everywhere is put down to no app."""
    together = a_part(change=a_change(CodeChange(APNS_403, 0, 1000)))
    half = a_change(CodeChange(APNS_403, 0, 500))
    sentence = sentence_of(
        together, a_part("shop", change=half), a_part("chat", change=half)
    )

    assert " at " not in sentence


def test_an_app_that_is_named_is_told_with_its_own_figures() -> None:
    """What little the others changed is not put down to it."""
    together = a_part(change=a_change(CodeChange(APNS_403, 0, 1000)))
    shop = a_part("shop", change=a_change(CodeChange(APNS_403, 0, 900)))
    chat = a_part("chat", change=a_change(CodeChange(APNS_403, 0, 100)))

    sentence = sentence_of(
        replace(together, anomalies=(an_anomaly(date(2026, 11, 20)),)), shop, chat
    )
    falling = a_change(CodeChange(APNS_403, 0, 1000), CodeChange(XIAOMI_16, 5000, 10))
    fallen = sentence_of(
        replace(together, change=falling, anomalies=(an_anomaly(date(2026, 11, 20)),)),
        shop,
        chat,
    )

    assert "APNs 403 at shop" in sentence
    assert fallen.startswith("APNs 403 at shop (+900)")


def test_first_days_have_nothing_to_compare_with() -> None:
    """Without days before there is a total and no change."""
    part = a_part("shop", days=some_days(5, lost=10), change=a_change(compared=0))
    gap = (*some_days(14)[:7], *some_days(7, lost=10))
    apart = a_part("shop", days=gap, change=a_change(compared=0))

    assert (
        "At least 50 messages were lost on 16–22 November. There is nothing to compare "
        "with yet: of the 7 days before none is known."
    ) == sentence_of(part)
    assert sentence_of(apart).endswith("yet: no day is known on both sides.")


def test_nothing_loaded_says_what_to_run() -> None:
    """An empty report tells the first step."""
    report = an_empty_report()
    together, shop = (tell_headline(part, report) for part in report.apps)

    assert together.sentence == "Nothing is loaded yet."
    assert together.command == "pushloss load 2026-11-16 2026-11-22"
    assert shop.sentence == "No day of shop is known yet."
    assert shop.command == "pushloss load 2026-11-16 2026-11-22 --app shop"


def test_a_missing_period_names_the_newest_known_day() -> None:
    """All last days missing is not the same as nothing at all."""
    days = (*some_days(14)[:7], *some_days(7, lost=None, state="never asked"))
    part = a_part("my shop", days=days, change=a_change(compared=0))

    assert (
        "Nothing is known of 16–22 November; the newest known day is 15 November."
        == sentence_of(part)
    )
    assert headline_of(part).command == (
        "pushloss load 2026-11-16 2026-11-22 --app 'my shop' --missing"
    )


def with_state(state: str, age: int, problem: str = "") -> AppReport:
    """Four weeks of shop with one day in another state."""
    days = list(some_days())
    days[-1 - age] = replace(days[-1 - age], state=state, problem=problem)
    return a_part("shop", days=tuple(days))


NOTES = {
    "held": (
        "held",
        10,
        "an answer without rows came, the rows stay; to apply it",
        "pushloss accept 2026-11-12 --app shop",
    ),
    "refused": (
        "refused",
        2,
        "mend it, then ask again",
        "pushloss load 2026-11-20 2026-11-20 --app shop --missing",
    ),
    "failed": (
        "failed",
        6,
        "ask again",
        "pushloss load 2026-11-16 2026-11-16 --app shop --missing",
    ),
    "old": ("failed", 7, "too old to ask: the API has forgotten it", ""),
    "expired": ("expired", 9, "the API has forgotten it", ""),
}


@pytest.mark.parametrize(
    ("state", "age", "hint", "command"), NOTES.values(), ids=NOTES.keys()
)
def test_each_bad_day_says_what_to_do(
    state: str, age: int, hint: str, command: str
) -> None:
    """A day that needs a move comes with the move."""
    part = with_state(state, age)

    [note] = note_days(part, a_report(part))

    assert (note.hint, note.command) == (hint, command)
    assert note.needs_person == bool(command)


def test_a_problem_is_told_without_its_state() -> None:
    """The state stands in front once, not again in the problem."""
    alone, together = (
        with_state("failed", 1, "failed 60008 timed out"),
        a_part(days=with_state("failed", 1, "chat: failed 60008; shop: failed").days),
    )

    assert note_days(alone, a_report(alone))[0].problem == "60008 timed out"
    assert note_days(together, a_report(together))[0].problem == "chat: 60008; shop"


def test_of_all_apps_the_command_names_the_one_that_is_meant() -> None:
    """One app's held day is accepted by a command that can be copied."""
    together, shop = replace(with_state("held", 3), app=None), with_state("held", 3)

    [note] = note_days(together, a_report(together, shop, a_part("chat")))

    assert note.command == "pushloss accept 2026-11-19 --app shop"


DAYS_KNOWN = {
    "all": (some_days(28), "All 28 days are known."),
    "one": (some_days(1), "The day is known."),
    "some": (
        (*some_days(27), replace(some_days(1, lost=None)[0], state="never asked")),
        "27 of 28 days are known.",
    ),
    "none": (some_days(3, lost=None, state="failed"), "None of the 3 days is known."),
}


@pytest.mark.parametrize(("days", "words"), DAYS_KNOWN.values(), ids=DAYS_KNOWN.keys())
def test_known_days_are_counted(days: tuple[DayFigures, ...], words: str) -> None:
    """How much of the data is there."""
    assert words == tell_days(a_part("shop", days=days))


def test_anomalies_of_successive_days_are_one_incident() -> None:
    """Two days in a row are one incident; a day apart is another."""
    days = [LAST_DAY - timedelta(days=age) for age in (4, 5, 9)]
    part = a_part(anomalies=tuple(map(an_anomaly, days)))

    newest, oldest = find_incidents(part)

    assert (newest.number, newest.first_day, newest.last_day) == (1, days[1], days[0])
    assert oldest.number == 2
    assert tell_incidents(part) == "2 counts left their usual range:"
    assert "APNs 403 at shop: 40,000 where 20 are usual" == plain(
        tell_incident(newest, with_app=True)
    )


def test_marks_of_the_same_days_do_not_lie_upon_each_other() -> None:
    """Each incident of a day has a lane of its own."""
    codes = [a_code(err_code=str(number)) for number in range(3)]
    part = a_part(anomalies=tuple(an_anomaly(LAST_DAY, code) for code in codes))

    assert {0, 1, 2} == {i.lane for i in marked_incidents(find_incidents(part))}


LEVELS = {
    "app": (a_code("", "", stage=""), "All losses: 0 where 5 are usual"),
    "stage": (a_code("", ""), "All losses after sending: 0 where 5 are usual"),
    "platform": (a_code("oppo", ""), "All of OPPO: 0 where 5 are usual"),
}


@pytest.mark.parametrize(("code", "words"), LEVELS.values(), ids=LEVELS.keys())
def test_an_incident_names_its_level(
    code: object, words: str, request: pytest.FixtureRequest
) -> None:
    """What left its range is the app, a stage, a platform or a code."""
    level = request.node.callspec.id
    anomaly = an_anomaly(
        LAST_DAY,
        level=level,
        code=code,
        direction="drop",
        lost_count=0,
        expected_count=5,
    )
    [incident] = find_incidents(a_part("shop", anomalies=(anomaly,)))

    assert words == tell_incident(incident, with_app=False)


def test_without_incidents_the_reason_is_told() -> None:
    """Nothing unusual, and too early to tell, are different things."""
    assert "No count left its usual range." == tell_incidents(
        a_part(days=some_days(40))
    )
    assert (
        "What is usual cannot be told yet: a day is held against the same weekday of "
        "at least 4 weeks before, and 12 days are known."
    ) == tell_incidents(a_part(days=some_days(12)))


RESIDUALS = {
    "rest": (
        100,
        96,
        "of 100 overall losses, platforms tell of 96; 4 (4.0 %) are put down to none.",
    ),
    "none": (100, 100, "all 100 overall losses are put down to a platform."),
    "below zero": (100, 103, "platforms tell of 103, 3 more than the 100 overall."),
}


@pytest.mark.parametrize(
    ("overall", "platforms", "words"), RESIDUALS.values(), ids=RESIDUALS.keys()
)
def test_a_residual_is_a_sentence(overall: int, platforms: int, words: str) -> None:
    """What no platform explains is told with both sides."""
    residual = Residual("ready_to_send", overall, platforms)

    assert f"Before sending: {words}" == plain(tell_residual(residual))


def test_events_are_counted() -> None:
    """New, returned and vanished codes in one sentence."""
    events = [
        CodeEvent(LAST_DAY, kind, "shop", APNS_403, 5)
        for kind in ("first_seen", "first_seen", "returned", "vanished")
    ]

    assert (
        "2 codes met for the first time, 1 back after a time without and 1 gone."
        == tell_events(events)
    )
    assert "No code is new, came back or vanished." == tell_events(())


def test_charts_tell_their_main_fact() -> None:
    """Who cannot see a chart hears what it shows."""
    days = list(some_days(5))
    days[1] = replace(days[1], post_send_delivered_count=4800)
    days[2] = replace(days[2], ready_to_send_count=None, state="expired")
    cells = (PlatformDay(LAST_DAY, "apns", 30), PlatformDay(LAST_DAY, "fcm", 10))
    part = a_part(days=tuple(days), platform_days=cells)

    assert (
        "Lost messages per day and stage, 18–22 November: most on 19 November (5,000), "
        "fewest on 18 November (1,000). 1 day not known."
    ) == plain(tell_trend(part))
    assert (
        "APNs lost most over all these days, 75 %. The highest single day is APNs on "
        "22 November with 30."
    ) == plain(tell_platforms(part))


@pytest.mark.parametrize("tell", [tell_trend, tell_platforms])
def test_charts_of_nothing_tell_that(tell: Callable[[AppReport], str]) -> None:
    """An empty chart has a sentence too."""
    nothing = a_part(days=some_days(3, lost=None, state="failed"))

    assert "known" in tell(nothing)
