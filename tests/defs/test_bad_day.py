"""A run of many days in which one day of one app goes wrong."""

from collections.abc import Iterator
from datetime import date

import dagster as dg
import pytest

from tests.defs.site import (
    CHAT,
    LOSSES,
    RESPONSES,
    SHOP,
    Site,
    a_site,
    failure_of,
    sampled,
)

HOSTILE = "not this one ![x](http://e.example/x.png) <b> \x1b[2J\nshop is done"
"""An error text that would fetch a picture, steer a terminal, make up a line."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The place of the one run that most of this file looks at."""
    with a_site(tmp_path_factory.mktemp("bad")) as site:
        yield site


@pytest.fixture(scope="module")
def days(site: Site) -> tuple[date, ...]:
    """The days of the run; the middle one is refused to the shop."""
    return site.days()


@pytest.fixture(scope="module")
def run(site: Site, days: tuple[date, ...]) -> dg.ExecuteInProcessResult:
    """The run, through the daily job as the schedule would launch it."""
    site.answer(days[1], SHOP, error_code=60002, error_info=HOSTILE)
    return site.run(days, select=("push_loss_responses", "push_loss", "warehouse"))


@pytest.mark.parametrize("key", [RESPONSES, LOSSES], ids=str)
def test_only_the_bad_day_is_red(
    site: Site,
    days: tuple[date, ...],
    run: dg.ExecuteInProcessResult,
    key: dg.AssetKey,
) -> None:
    """The other days are green on both assets."""
    assert not run.success
    assert site.partitions(key, days) == ["MATERIALIZED", "FAILED", "MATERIALIZED"]
    assert [len(site.materialized(key, day)) for day in days] == [1, 0, 1]


def test_good_apps_of_the_bad_day_are_published(
    site: Site, days: tuple[date, ...], run: dg.ExecuteInProcessResult
) -> None:
    """The file holds all that was answered, the other app's bad day too."""
    assert site.loaded() == [
        *(("chat", day) for day in days),
        *(("shop", day) for day in (days[0], days[2])),
    ]


def test_the_failure_says_what_to_do(
    days: tuple[date, ...], run: dg.ExecuteInProcessResult
) -> None:
    """The step's failure names app, day, the API's words, and the next step."""
    failure = failure_of(run)

    assert failure.description == (
        f"1 of 3 days not done: {days[1]}\n"
        f"shop {days[1]} refused: 60002 not this one ![x](http://e.example/x.png) <b>"
        r" \u001b[2J shop is done"
        " → outside what the API answers, or our mistake; report it"
    )
    assert failure.metadata["good days"].value == 2
    assert f"**shop {days[1]}**" in str(failure.metadata["failed apps"].value)


@pytest.mark.parametrize("key", [RESPONSES, LOSSES], ids=str)
def test_the_red_day_tells_why(
    site: Site,
    days: tuple[date, ...],
    run: dg.ExecuteInProcessResult,
    key: dg.AssetKey,
) -> None:
    """Beside the red partition stands which app failed, and why."""
    (shown,) = site.observed(key, days[1])

    assert (
        r"60002 not this one !\[x\](http://e.example/x.png) \<b> \\u001b\[2J shop"
        in shown["failed apps"]
    )
    assert "chat" not in shown["failed apps"]
    assert shown["good apps"] == 1


def test_nothing_is_retried_as_a_whole(
    site: Site, days: tuple[date, ...], run: dg.ExecuteInProcessResult
) -> None:
    """Each day of each app is asked once: the step is not repeated."""
    assert site.asked() == [
        (app.sdk_app_id, str(day)) for app in (SHOP, CHAT) for day in days
    ]
    assert not [event for event in run.all_events if event.is_step_up_for_retry]


def test_a_failed_check_shows_the_bad_rows(
    site: Site, days: tuple[date, ...], run: dg.ExecuteInProcessResult
) -> None:
    """The bad day's check is red as an error, with a sample of the bad rows."""
    by_day = {
        evaluation.partition: evaluation
        for evaluation in site.evaluations(run.run_id)
        if evaluation.check_name == "every_app_is_present"
    }
    bad = by_day[str(days[1])]
    (row,) = sampled(bad)

    assert [by_day[str(day)].passed for day in days] == [True, False, True]
    assert bad.severity is dg.AssetCheckSeverity.ERROR
    assert bad.metadata["bad rows"].value == 1
    assert (row["app"], row["state"]) == ("shop", "refused")


def test_mending_the_day_turns_it_green(
    site: Site, days: tuple[date, ...], run: dg.ExecuteInProcessResult
) -> None:
    """A run for the missing days asks for the bad one only; all is green after it."""
    site.simulator.clear_script()
    asked = len(site.asked())
    mended = site.run(days, only_missing=True)

    assert mended.success
    assert len(site.asked()) == asked + 1
    assert site.partitions(LOSSES, days) == ["MATERIALIZED"] * 3
