"""A run of many days in which all goes well."""

import json
from collections.abc import Iterator
from datetime import date

import dagster as dg
import pytest

from pushloss_pipeline.adapters.sql_files import read_statements
from tests.defs.site import (
    LOSSES,
    RESPONSES,
    SHOP,
    Site,
    a_site,
    failure_of,
    sampled,
)

ODD_ANSWER = json.dumps(
    {
        "ActionStatus": "OK",
        "ErrorCode": 0,
        "ErrorInfo": "",
        "ReadyToSendLoss": [{"ErrCode": "-2", "ErrCount": 9, "ErrInfo": "no token"}],
        "PostSendDeliveredLoss": [],
        "PlatformReadyToSendLoss": [
            {"PushPlatform": 77, "ErrCode": "-2", "ErrCount": 9, "ErrInfo": "no token"}
        ],
        "PlatformPostSendDeliveredLoss": [],
    }
)
"""A platform that the vendor's page does not know: to be looked at, not wrong."""
CHECKS = {check.name for check in read_statements("checks")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The place of the one run that this file looks at."""
    with a_site(tmp_path_factory.mktemp("good")) as site:
        yield site


@pytest.fixture(scope="module")
def days(site: Site) -> tuple[date, ...]:
    """The days of the run."""
    return site.days()


@pytest.fixture(scope="module")
def run(site: Site, days: tuple[date, ...]) -> dg.ExecuteInProcessResult:
    """The run; trouble comes before one answer, another tells odd things."""
    shop = SHOP.sdk_app_id
    trouble = {"sdk_app_id": shop, "day": str(days[1]), "http_status": 503}
    odd = {"sdk_app_id": shop, "day": str(days[2]), "body": ODD_ANSWER}
    site.simulator.script([trouble, odd])
    return site.run(days)


@pytest.mark.parametrize("key", [RESPONSES, LOSSES], ids=str)
def test_every_day_is_green(
    site: Site,
    days: tuple[date, ...],
    run: dg.ExecuteInProcessResult,
    key: dg.AssetKey,
) -> None:
    """Each day is materialized once, on both assets."""
    assert run.success
    assert site.partitions(key, days) == ["MATERIALIZED"] * 3
    assert [len(site.materialized(key, day)) for day in days] == [1, 1, 1]


def test_a_day_tells_its_own_losses(
    site: Site, days: tuple[date, ...], run: dg.ExecuteInProcessResult
) -> None:
    """The losses beside a partition are those that the simulator told for the day."""
    for day in days[:2]:
        told = [
            loss
            for call in site.simulator.served()
            if call["day"] == str(day)
            for loss in call["rows"]
        ]
        (shown,) = site.materialized(LOSSES, day)

        assert shown["dagster/partition_row_count"] == len(told)
        assert shown["losses ready to send"] == sum(
            loss["err_count"]
            for loss in told
            if (loss["stage"], loss["scope"]) == ("ready_to_send", "overall")
        )
        assert shown["losses post-send delivered"] == sum(
            loss["err_count"]
            for loss in told
            if (loss["stage"], loss["scope"]) == ("post_send_delivered", "overall")
        )
        assert (shown["apps"], shown["new revisions"]) == (2, 2)


def test_a_day_tells_its_own_calls(
    site: Site, days: tuple[date, ...], run: dg.ExecuteInProcessResult
) -> None:
    """The calls and retries beside a partition are those of the day."""
    shown = [site.materialized(RESPONSES, day)[0] for day in days]

    assert [(m["apps"], m["calls"], m["retries"]) for m in shown] == [
        (2, 2, 0),
        (2, 3, 1),
        (2, 2, 0),
    ]


def test_each_day_has_its_check_results(
    site: Site, days: tuple[date, ...], run: dg.ExecuteInProcessResult
) -> None:
    """Each check has one result for each day, and one for the run."""
    found = [(e.check_name, e.partition) for e in site.evaluations(run.run_id)]
    partitions = [*(day.isoformat() for day in days), None]

    assert len(found) == len(CHECKS) * len(partitions)
    assert set(found) == {(name, day) for name in CHECKS for day in partitions}


def test_the_result_for_the_run_sums_up(
    site: Site, days: tuple[date, ...], run: dg.ExecuteInProcessResult
) -> None:
    """The result for the whole run counts its days, lists and shows the failed ones."""
    overall = {e.check_name: e for e in site.evaluations(run.run_id) if not e.partition}
    odd = overall.pop("platforms_are_known")

    assert {e.metadata["days"].value for e in overall.values()} == {3}
    assert {e.metadata["failed days"].value for e in overall.values()} == {"none"}
    assert odd.metadata["failed days"].value == str(days[2])
    assert sampled(odd) == [
        {"day": str(days[2]), "app": "shop", "platform_id": 77, "err_count": 9}
    ]


def test_odd_data_warns_and_fails_nothing(
    site: Site, days: tuple[date, ...], run: dg.ExecuteInProcessResult
) -> None:
    """A failed check of severity warn is a warning about its day; no other fails."""
    failed = [e for e in site.evaluations(run.run_id) if not e.passed and e.partition]

    assert [(e.check_name, e.partition, e.severity.value) for e in failed] == [
        ("platforms_are_known", str(days[2]), "WARN")
    ]


def test_the_record_is_published(
    site: Site, days: tuple[date, ...], run: dg.ExecuteInProcessResult
) -> None:
    """The file holds every day of both apps when the run ends."""
    assert site.loaded() == [(app, day) for app in ("chat", "shop") for day in days]


def test_a_run_of_one_day_files_each_check_once(site: Site) -> None:
    """A run for a single partition has one result for each check, under its day."""
    day = site.days(4)[0]
    run = site.run([day], tags={"dagster/partition": day.isoformat()})
    found = [(e.check_name, e.partition) for e in site.evaluations(run.run_id)]

    assert run.success
    assert sorted(found) == sorted((name, day.isoformat()) for name in CHECKS)


def test_a_run_without_days_says_so(site: Site) -> None:
    """A run that was launched without a partition fails with what to do."""
    run = site.run([], tags={})

    assert failure_of(run).description == (
        "this run has no days; launch it for a day or a range of days"
    )
