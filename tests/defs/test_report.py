"""Every run that changes the warehouse leaves a report, once, whatever came of it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pushloss_pipeline.defs.ledger import REPORT
from tests.defs.site import SHOP, Site, a_site, failure_of

DAY_ASSETS = ("push_loss_responses", "push_loss")
ALL_ASSETS = (*DAY_ASSETS, "warehouse", "push_loss_report")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A place of its own for each run."""
    with a_site(tmp_path) as site:
        yield site


def told(site: Site) -> list[dict[str, Any]]:
    """What Dagster was told of each report, newest first."""
    with site.instance() as instance:
        records = instance.fetch_materializations(REPORT, limit=10).records
    return [
        {name: value.value for name, value in materialization.metadata.items()}
        for record in records
        if (materialization := record.asset_materialization)
    ]


@pytest.mark.parametrize("select", [DAY_ASSETS, ALL_ASSETS], ids=["days", "all"])
def test_a_good_run_reports_once(site: Site, select: tuple[str, ...]) -> None:
    """A backfill of the day assets alone does so by itself."""
    run = site.run(site.days(2), select=select)
    (report,) = told(site)
    page = site.settings.local_dir / "report" / "index.html"
    losses = site.query("select sum(lost_count) from push_loss_by_app")

    assert run.success and page.is_file()
    assert (page.as_uri(), str(page)) == (report["report"], report["file"])
    assert ((report["losses"],),) == losses.rows
    assert 0 < report["residual"] < report["losses"]
    assert 0 == report["incidents"]
    assert "lost" in report["in a sentence"]


def test_a_run_with_a_bad_day_reports_it(site: Site) -> None:
    """Later steps are skipped, yet the page is new and names the app."""
    days = site.days(2)
    site.refuse(days[0])
    run = site.run(days, select=ALL_ASSETS)
    page = site.settings.local_dir / "report" / "index.html"

    assert not run.success
    assert 1 == len(told(site))
    assert f"{SHOP.name}: " in page.read_text(encoding="utf-8")


def test_a_report_that_cannot_be_written_fails_no_day(site: Site) -> None:
    """The days are green; what is wrong with the report is in the run's log."""
    days = site.days(1)
    (site.settings.local_dir / "report").mkdir(parents=True)
    (site.settings.local_dir / "report" / "index.html").mkdir()
    run = site.run(days)

    assert run.success
    assert ["MATERIALIZED"] == site.partitions(dg.AssetKey("push_loss"), days)
    assert [] == told(site)


def test_a_report_that_cannot_be_drawn_hides_no_bad_day(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the renderer, whatever it is, is logged and costs nothing else."""
    days = site.days(2)
    site.refuse(days[0])
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    monkeypatch.delitem(sys.modules, "pushloss_pipeline.report.page", raising=False)
    run = site.run(days)

    assert "1 of 2 days not done" in (failure_of(run).description or "")
    assert ["FAILED", "MATERIALIZED"] == site.partitions(dg.AssetKey("push_loss"), days)
    assert [] == told(site)
