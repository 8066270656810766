"""The guide for analysts: each query gives, on the demo data, what stands below it.

`PUSHLOSS_WRITE_DOCS=1 pytest tests/test_analysts.py` writes the answers anew, and
takes the picture of the report that the README shows.
"""

import os
import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from io import StringIO
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from rich.console import Console

from pushloss_pipeline.adapters.sql_files import read_statements
from pushloss_pipeline.adapters.warehouse import Warehouse
from pushloss_pipeline.cli import rows_table
from pushloss_pipeline.demo import DAYS, ZONE, load_past, write_configuration
from pushloss_pipeline.parts import open_parts
from pushloss_pipeline.reporting import write_report
from pushloss_pipeline.simulator.scenario import demo_scenario
from pushloss_pipeline.simulator.server import running
from pushloss_pipeline.steps import Parts, load_days, publish

GUIDE = Path(__file__).parents[1] / "docs" / "analysts.md"
PICTURE = GUIDE.with_name("report.jpg")
TODAY = date(2026, 11, 16)
"""A Monday: on Tuesday and Wednesday before, shop's APNs certificate had expired."""
ANSWERED = re.compile(r"```sql\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """The demo as of that day, loaded and published."""
    with pytest.MonkeyPatch.context() as environment:
        yield load_demo(tmp_path_factory.mktemp("demo"), environment)


def load_demo(folder: Path, environment: pytest.MonkeyPatch) -> Parts:
    """Load ten weeks, the last of them as of the day itself."""
    for name in ("PUSHLOSS_CONFIG", "PUSHLOSS_DATA_DIR", "DAGSTER_HOME"):
        environment.setenv(name, "")
    now = datetime.combine(TODAY, time(12), ZONE)
    days = [TODAY - timedelta(days=age) for age in range(DAYS, 0, -1)]
    with running(demo_scenario(TODAY), calls_per_second=None) as simulator:
        settings = write_configuration(
            folder, simulator.url, today=TODAY, calls_per_second=1000.0
        )
        load_past(settings, simulator.set_now, until=days[0])
        simulator.set_now(now)
        then = open_parts(settings, clock=lambda: now)
        load_days(then, then.settings.select(), days)
        publish(then)
    return then


def answer_of(warehouse: Warehouse, query: str) -> str:
    """Rows as `pushloss sql` shows them."""
    out = StringIO()
    console = Console(file=out, width=100, highlight=False)
    console.print(rows_table(warehouse.query(query)))
    return re.sub(r" +$", "", out.getvalue(), flags=re.MULTILINE)


def test_each_query_of_the_guide_answers_as_it_says(demo: Parts):
    """Ten questions and more; an answer that changed fails here."""
    guide = GUIDE.read_text(encoding="utf-8")
    if os.environ.get("PUSHLOSS_WRITE_DOCS"):
        guide = ANSWERED.sub(
            lambda found: (
                f"```sql\n{found[1]}```\n\n"
                f"```text\n{answer_of(demo.warehouse, found[1])}```"
            ),
            guide,
        )
        GUIDE.write_text(guide, encoding="utf-8")
    told = ANSWERED.findall(guide)

    assert len(told) >= 10
    for query, answer in told:
        assert answer == answer_of(demo.warehouse, query), query


def test_every_query_of_the_guide_has_its_answer():
    """No block of SQL is left without what it gives."""
    guide = GUIDE.read_text(encoding="utf-8")

    assert guide.count("```sql\n") == len(ANSWERED.findall(guide))


def test_the_guide_uses_every_view_of_the_folder():
    """A view that no question needs should not be there."""
    guide = GUIDE.read_text(encoding="utf-8")
    views = {view.name for view in read_statements("views")}

    assert set() == {view for view in views if view not in guide}


def test_the_report_of_the_demo_names_the_planted_incident(demo: Parts):
    """Its first sentence says code, app and days; the change view ranks it first."""
    written = write_report(demo)
    changed = demo.warehouse.query(
        "select app, platform, err_code from"
        " push_loss_change(date '2026-11-09', date '2026-11-15')"
        " order by abs(change_count) desc limit 1"
    )

    assert (("shop", "apns", "403"),) == changed.rows
    sentence = written.headline.replace("\N{NO-BREAK SPACE}", " ")
    assert sentence.startswith("APNs 403 at shop (+8,046) – certificate or signing")
    assert "left its usual range on 10 and 11 November, while" in sentence
    assert 1 == sentence.count(". ") + sentence.endswith(".")


def test_the_readme_shows_the_report_of_the_demo(demo: Parts, browser: Browser):
    """The picture is taken by this test; the page asks for nothing but itself."""
    written = write_report(demo)
    page = browser.new_page(viewport={"width": 1280, "height": 1120})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(written.path.as_uri())
    page.wait_for_selector("article:not([hidden]) [data-chart][data-drawn]")
    picture = page.screenshot(type="jpeg", quality=70)
    page.close()
    if os.environ.get("PUSHLOSS_WRITE_DOCS"):
        PICTURE.write_bytes(picture)

    assert [written.path.as_uri()] == asked
    assert PICTURE.read_bytes()[:3] == picture[:3]


def test_the_anomaly_view_flags_the_planted_incident_and_nothing_else(demo: Parts):
    """In its week, on its two days, at the code."""
    flagged = demo.warehouse.query(
        "select loss_date, app, level, platform, err_code, direction"
        " from push_loss_anomalies where loss_date >= date '2026-11-09' order by 1"
    )

    incident = ("shop", "code", "apns", "403", "rise")
    assert (
        (date(2026, 11, 10), *incident),
        (date(2026, 11, 11), *incident),
    ) == flagged.rows
