"""The seeded truth behind the simulated answers."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from pushloss_pipeline.simulator.catalogue import LOSS_CODES, POST
from pushloss_pipeline.simulator.scenario import (
    DEMO_APPS,
    Incident,
    Scenario,
    SimulatedApp,
    chance,
    demo_scenario,
    many_apps,
)
from pushloss_pipeline.simulator.truth import (
    DAY_SECONDS,
    LossCount,
    day_of,
    day_start,
    day_truth,
    share_told,
    window_truth,
)

Key = tuple[str, str, int | None, str]
LONG_AFTER = datetime(2027, 1, 1, tzinfo=UTC)


def counts_of(rows: tuple[LossCount, ...]) -> dict[Key, int]:
    """Key the counts of an answer by stage, scope, platform and code."""
    return {(r.stage, r.scope, r.platform_id, r.err_code): r.err_count for r in rows}


def total_of(rows: tuple[LossCount, ...], scope: str) -> int:
    """Sum the counts of one scope."""
    return sum(row.err_count for row in rows if row.scope == scope)


def hours_after(day: date, hours: float) -> datetime:
    """Return the instant this long after a day's end in UTC+8."""
    end = day_start(day) + DAY_SECONDS
    return datetime.fromtimestamp(end + hours * 3600, UTC)


def test_the_vendors_sample_stamps_are_a_day() -> None:
    """The stamps of the vendor's sample request are a UTC+8 day."""
    assert day_start(date(2025, 3, 12)) == 1741708800
    assert day_of(1741708800) == date(2025, 3, 12)
    assert day_of(1741708799) == date(2025, 3, 11)


def test_the_same_seed_tells_the_same(shop: SimulatedApp, day: date) -> None:
    """Two scenarios of one seed tell the same day."""
    first, second = (
        day_truth(Scenario(3, (shop,)), shop.sdk_app_id, day, at=LONG_AFTER)
        for _ in range(2)
    )

    assert first == second


def test_another_seed_tells_another(shop: SimulatedApp, day: date) -> None:
    """Two seeds tell different days."""
    first, second = (
        day_truth(Scenario(seed, (shop,)), shop.sdk_app_id, day, at=LONG_AFTER)
        for seed in (3, 4)
    )

    assert first != second


def test_the_order_of_questions_does_not_matter(
    scenario: Scenario, shop: SimulatedApp, chat: SimulatedApp, day: date
) -> None:
    """Days asked backwards, and apps the other way round, tell the same."""
    questions = [
        (app.sdk_app_id, day - timedelta(days=back))
        for app in (shop, chat)
        for back in range(5)
    ]
    forwards = {q: day_truth(scenario, *q, at=LONG_AFTER) for q in questions}
    backwards = {q: day_truth(scenario, *q, at=LONG_AFTER) for q in questions[::-1]}

    assert forwards == backwards


def test_other_apps_do_not_matter(
    scenario: Scenario, shop: SimulatedApp, day: date
) -> None:
    """An app's day is the same whether it is alone or not."""
    alone = Scenario(scenario.seed, (shop,))

    assert day_truth(alone, shop.sdk_app_id, day, at=LONG_AFTER) == day_truth(
        scenario, shop.sdk_app_id, day, at=LONG_AFTER
    )


def test_counts_only_grow_until_settled(
    scenario: Scenario, shop: SimulatedApp, day: date
) -> None:
    """No count falls as time goes by, but those of codes that are withdrawn."""
    withdrawn = {c.err_code for c in LOSS_CODES if c.vanishes_after_days is not None}
    told = [
        counts_of(day_truth(scenario, shop.sdk_app_id, day, at=hours_after(day, hours)))
        for hours in range(-26, 24 * 9, 3)
    ]

    assert not told[0]
    for earlier, later in pairwise(told):
        fallen = {key for key in earlier if later.get(key, 0) < earlier[key]}
        assert {key[3] for key in fallen} <= withdrawn


def test_counts_settle(scenario: Scenario, shop: SimulatedApp, day: date) -> None:
    """Seven days after its end a day has its final rows."""
    settled = day_truth(scenario, shop.sdk_app_id, day, at=hours_after(day, 168))
    much_later = day_truth(scenario, shop.sdk_app_id, day, at=hours_after(day, 9999))

    assert settled == much_later


def test_the_ready_stage_settles_within_a_day(
    scenario: Scenario, shop: SimulatedApp, day: date
) -> None:
    """A day after the day's end the first stage is final, the second is not."""
    final = set(day_truth(scenario, shop.sdk_app_id, day, at=LONG_AFTER))
    moving = set(
        day_truth(scenario, shop.sdk_app_id, day, at=hours_after(day, 24))
    ).symmetric_difference(final)

    assert {row.stage for row in moving} == {POST}


def test_vivo_settles_last(scenario: Scenario, shop: SimulatedApp, day: date) -> None:
    """Four days after the day's end only vivo and its overall counts still move."""
    final = set(day_truth(scenario, shop.sdk_app_id, day, at=LONG_AFTER))
    told = set(day_truth(scenario, shop.sdk_app_id, day, at=hours_after(day, 96)))

    assert {row.platform_id for row in told ^ final} == {7, None}


@pytest.mark.parametrize("hours", [-12, 0, 9])
def test_an_early_answer_is_partial(
    scenario: Scenario, shop: SimulatedApp, day: date, hours: float
) -> None:
    """Until ten the next morning at least a tenth of the losses is missing."""
    early = day_truth(scenario, shop.sdk_app_id, day, at=hours_after(day, hours))
    final = day_truth(scenario, shop.sdk_app_id, day, at=LONG_AFTER)

    assert 0 < total_of(early, "overall") < 0.9 * total_of(final, "overall")


def test_some_codes_come_late_and_some_vanish(
    scenario: Scenario, shop: SimulatedApp, day: date
) -> None:
    """An expired message is told a day late; an unspecified error is withdrawn."""
    early = counts_of(
        day_truth(scenario, shop.sdk_app_id, day, at=hours_after(day, 10))
    )
    final = counts_of(day_truth(scenario, shop.sdk_app_id, day, at=LONG_AFTER))

    assert (POST, "platform", 7, "2144") in final.keys() - early.keys()
    assert (POST, "platform", 2, "-1") in early.keys() - final.keys()


def test_a_text_changes_on_restatement(
    scenario: Scenario, shop: SimulatedApp, day: date
) -> None:
    """The text of a settled code can change while its count stays."""
    told = {
        hours: next(
            row.err_info
            for row in day_truth(
                scenario, shop.sdk_app_id, day, at=hours_after(day, hours)
            )
            if (row.platform_id, row.err_code) == (2, "16")
        )
        for hours in (71, 72)
    }

    assert told == {71: "target is invalid", 72: "目标设备无效"}


def test_texts_hold_what_breaks_careless_readers() -> None:
    """Some texts are Chinese, some hold quotes, some hold newlines."""
    texts = [code.err_info for code in LOSS_CODES]

    assert any(not text.isascii() for text in texts)
    assert any('"' in text for text in texts)
    assert any("\n" in text for text in texts)


def test_overall_is_the_platforms_and_a_little_more(
    scenario: Scenario, shop: SimulatedApp, day: date
) -> None:
    """Each overall count is at least its platforms' sum, all together a bit more."""
    rows = day_truth(scenario, shop.sdk_app_id, day, at=LONG_AFTER)
    by_platform = Counter[tuple[str, str]]()
    for row in rows:
        if row.scope == "platform":
            by_platform[row.stage, row.err_code] += row.err_count
    overall = {(r.stage, r.err_code): r.err_count for r in rows if r.scope == "overall"}

    assert overall.keys() == by_platform.keys()
    assert all(overall[key] >= by_platform[key] for key in overall)
    assert 1 < sum(overall.values()) / by_platform.total() < 1.05


def test_the_week_has_a_rhythm(scenario: Scenario, shop: SimulatedApp) -> None:
    """The mean weekend day of two months has the app's share of a working day."""
    totals: dict[bool, list[int]] = {True: [], False: []}
    for offset in range(56):
        day = date(2026, 1, 5) + timedelta(days=offset)
        rows = day_truth(scenario, shop.sdk_app_id, day, at=LONG_AFTER)
        totals[day.weekday() >= 5].append(total_of(rows, "platform"))
    weekend, working = (sum(totals[k]) / len(totals[k]) for k in (True, False))

    assert weekend / working == pytest.approx(shop.weekend_factor, abs=0.05)


@pytest.fixture
def expired_certificate(shop: SimulatedApp, day: date) -> Incident:
    """Two days on which APNs rejects the certificate."""
    return Incident(
        "expired APNs certificate",
        shop.sdk_app_id,
        day - timedelta(days=1),
        day,
        1,
        "403",
        2000,
        err_info="ExpiredProviderToken",
    )


def test_an_incident_is_seen_and_nothing_else(
    scenario: Scenario, shop: SimulatedApp, day: date, expired_certificate: Incident
) -> None:
    """An incident changes its own code, by platform and overall, and no other row."""
    troubled = Scenario(scenario.seed, scenario.apps, (expired_certificate,))
    usual = set(day_truth(scenario, shop.sdk_app_id, day, at=LONG_AFTER))
    during = set(day_truth(troubled, shop.sdk_app_id, day, at=LONG_AFTER))
    changed = during - usual

    assert {(r.platform_id, r.err_code) for r in changed} == {(1, "403"), (None, "403")}
    assert {row.err_info for row in changed} == {"ExpiredProviderToken"}
    assert min(row.err_count for row in changed) > 1000
    assert {row.err_code for row in usual - during} <= {"403"}


def test_an_incident_keeps_to_its_days_and_app(
    scenario: Scenario,
    shop: SimulatedApp,
    chat: SimulatedApp,
    day: date,
    expired_certificate: Incident,
) -> None:
    """The day after an incident, and the other app, are as they would be."""
    troubled = Scenario(scenario.seed, scenario.apps, (expired_certificate,))

    for app, other_day in ((shop, day + timedelta(days=1)), (chat, day)):
        question = (app.sdk_app_id, other_day)
        assert day_truth(troubled, *question, at=LONG_AFTER) == day_truth(
            scenario, *question, at=LONG_AFTER
        )


def test_an_incident_brings_a_code_of_its_own(
    scenario: Scenario, shop: SimulatedApp, day: date
) -> None:
    """A code and a platform that nobody knows appear with the incident's name."""
    incident = Incident("new vendor", shop.sdk_app_id, day, day, 9, "E-1", 50)
    troubled = Scenario(scenario.seed, scenario.apps, (incident,))
    rows = day_truth(troubled, shop.sdk_app_id, day, at=LONG_AFTER)
    (new,) = [row for row in rows if row.platform_id == 9]

    assert (new.err_code, new.err_info) == ("E-1", "new vendor")
    assert new.err_count > 0


def test_an_incident_can_silence_a_code(
    scenario: Scenario, shop: SimulatedApp, day: date
) -> None:
    """Factor 0 takes a code out of the answer."""
    incident = Incident("no tokens lost", shop.sdk_app_id, day, day, 1, "410", 0)
    silenced = Scenario(scenario.seed, scenario.apps, (incident,))
    rows = day_truth(silenced, shop.sdk_app_id, day, at=LONG_AFTER)

    assert "410" not in {row.err_code for row in rows}


def test_a_window_of_two_days_adds_them_up(
    scenario: Scenario, shop: SimulatedApp, day: date
) -> None:
    """The platform rows of two days are the sum of each day's."""
    first, second = (
        Counter(counts_of(day_truth(scenario, shop.sdk_app_id, d, at=LONG_AFTER)))
        for d in (day, day + timedelta(days=1))
    )
    start_time = day_start(day)
    both = counts_of(
        window_truth(
            scenario,
            shop.sdk_app_id,
            start_time,
            start_time + 2 * DAY_SECONDS,
            LONG_AFTER,
        )
    )

    expected = {k: n for k, n in (first + second).items() if k[1] == "platform"}
    assert expected == {k: n for k, n in both.items() if k[1] == "platform"}


def test_half_a_day_has_half_the_counts(
    scenario: Scenario, shop: SimulatedApp, day: date
) -> None:
    """A window of half a day tells half of each platform count, rounded down."""
    start_time = day_start(day)
    whole = counts_of(day_truth(scenario, shop.sdk_app_id, day, at=LONG_AFTER))
    half = counts_of(
        window_truth(
            scenario,
            shop.sdk_app_id,
            start_time,
            start_time + DAY_SECONDS // 2,
            LONG_AFTER,
        )
    )

    assert {k: n // 2 for k, n in whole.items() if k[1] == "platform" and n > 1} == {
        k: n for k, n in half.items() if k[1] == "platform"
    }


def test_an_unknown_app_has_no_truth(scenario: Scenario, day: date) -> None:
    """The truth of an app that is not in the scenario is an error."""
    with pytest.raises(KeyError, match="1400999999"):
        day_truth(scenario, 1400999999, day, at=LONG_AFTER)


def test_final_share_is_exactly_one() -> None:
    """Every code that stays ends at its whole count."""
    shares = {share_told(c, 0, 40 * DAY_SECONDS) for c in LOSS_CODES}

    assert shares == {0.0, 1.0}


def test_chance_is_spread_over_its_range() -> None:
    """Draws lie in [0, 1) and their mean near the middle."""
    draws = [chance(1, "draw", number) for number in range(2000)]

    assert 0 <= min(draws) < 0.01
    assert 0.99 < max(draws) < 1
    assert sum(draws) / len(draws) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("offset", range(7))
def test_any_week_of_the_demo_holds_an_incident(offset: int) -> None:
    """Whatever today is, the seven days before it hold an incident."""
    today = date(2026, 3, 9) + timedelta(days=offset)
    week = [today - timedelta(days=back) for back in range(1, 8)]
    incidents = demo_scenario(today).incidents

    assert any(i.covers(i.sdk_app_id, day) for i in incidents for day in week)


def test_the_demo_tells_the_same_past_tomorrow(day: date) -> None:
    """A demo started a day later tells the same of the days both know."""
    shop = DEMO_APPS[0].sdk_app_id
    today, tomorrow = (
        day_truth(demo_scenario(d), shop, day, at=LONG_AFTER)
        for d in (day + timedelta(days=1), day + timedelta(days=2))
    )

    assert today == tomorrow


def test_many_apps_are_all_different() -> None:
    """A thousand apps have their own numbers, names and keys, by the seed."""
    apps = many_apps(1000, 1)

    assert apps == many_apps(1000, 1)
    for column in ("sdk_app_id", "name", "secret_key"):
        assert len({getattr(app, column) for app in apps}) == 1000


def test_an_app_keeps_its_key_to_itself(shop: SimulatedApp) -> None:
    """The repr of an app does not show its key."""
    assert shop.secret_key not in repr(shop)
