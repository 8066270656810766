"""When yesterday counts as late."""

import asyncio
from datetime import UTC, date, datetime, time, timedelta

import dagster as dg
import pytest
from dagster._core.definitions.freshness_evaluator import CronFreshnessPolicyEvaluator
from dagster._core.loader import LoadingContextForTest
from dagster._core.test_utils import freeze_time

from pushloss_pipeline.definitions import build_definitions
from pushloss_pipeline.defs.freshness import freshness_policy
from tests.defs.site import CHAT, LOSSES, Site

NEWEST_DAY = dg.AssetKey("push_loss_newest_day")


@pytest.mark.parametrize(
    ("starts", "deadline", "hours"),
    [
        pytest.param(time(10, 30), "30 12 * * *", 12.5, id="morning"),
        pytest.param(time(21, 59), "59 23 * * *", 23 + 59 / 60, id="evening"),
        pytest.param(time(23, 15), "15 1 * * *", 24, id="past midnight"),
    ],
)
def test_yesterday_is_due_two_hours_after_the_load_starts(
    site: Site, starts: time, deadline: str, hours: float
) -> None:
    """What came in since midnight counts; after midnight, what came in since a day."""
    policy = freshness_policy(
        site.settings.model_copy(update={"schedule_time": starts})
    )

    assert policy == dg.FreshnessPolicy.cron(
        deadline_cron=deadline,
        lower_bound_delta=timedelta(hours=hours),
        timezone="Asia/Shanghai",
    )


def test_yesterday_is_fresh_until_the_next_one_is_due(site: Site) -> None:
    """A load of yesterday is fresh today, and late when two days have gone by."""
    site.run(site.days(1))

    assert state(site, NEWEST_DAY) == "PASS"
    assert state(site, LOSSES) == "PASS"
    assert state(site, NEWEST_DAY, in_days=2) == "FAIL"
    assert state(site, LOSSES, in_days=2) == "FAIL"


def test_an_old_day_makes_nothing_fresh(site: Site) -> None:
    """A load of older days leaves the newest one late, whatever `push_loss` says."""
    old, newest = site.days(2)
    site.run([newest])
    with freeze_time(datetime.now(UTC) + timedelta(days=2)):
        run = site.run([old], later=timedelta(days=2))

    assert run.success
    assert state(site, NEWEST_DAY, in_days=2) == "FAIL"
    assert state(site, LOSSES, in_days=2) == "PASS"


def test_a_day_that_lacks_an_app_is_not_in(site: Site) -> None:
    """Yesterday is in when the last app is done, also by a run for that app only."""
    (newest,) = site.days(1)
    site.refuse(newest, CHAT)
    site.run([newest])

    assert told_days(site) == []

    site.simulator.clear_script()
    site.run([newest], apps=["chat"])

    assert told_days(site) == [newest]
    assert state(site, NEWEST_DAY) == "PASS"


def state(site: Site, key: dg.AssetKey, *, in_days: int = 0) -> str:
    """What the daemon finds out about an asset, now or some days later."""
    node = build_definitions(site.settings).resolve_asset_graph().get(key)
    evaluator = CronFreshnessPolicyEvaluator()
    now = datetime.now(UTC) + timedelta(days=in_days)
    with site.instance() as instance, freeze_time(now):
        context = LoadingContextForTest(instance)
        return asyncio.run(evaluator.evaluate_freshness(context, node)).value


def told_days(site: Site) -> list[date]:
    """Days that were told as the newest one, latest first."""
    with site.instance() as instance:
        found = instance.fetch_materializations(NEWEST_DAY, limit=10)
    return [
        date.fromisoformat(str(record.asset_materialization.metadata["day"].value))
        for record in found.records
        if record.asset_materialization is not None
    ]
