"""A browser without a network, and pages written for it."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from pushloss_pipeline.report.model import Report
from pushloss_pipeline.report.page import render
from tests.report.reports import (
    a_hostile_report,
    a_large_report,
    a_real_report,
    an_empty_report,
)

REPORTS: dict[str, Callable[[], Report]] = {
    "real": a_real_report,
    "large": a_large_report,
    "hostile": a_hostile_report,
    "empty": an_empty_report,
}


@dataclass
class Visit:
    """An open page, and what went wrong on it."""

    page: Page
    address: str
    requests: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def wait_for_charts(self) -> None:
        """Until each chart in sight is drawn."""
        self.page.wait_for_function(
            "[...document.querySelectorAll('article:not([hidden]) [data-chart]')]"
            ".every((chart) => chart.dataset.drawn)"
        )

    def assert_quiet(self) -> None:
        """No request but for the file, nothing on the console, no error."""
        assert self.troubles == []
        assert {url.split("#")[0] for url in self.requests} == {self.address}


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each kind of report, written once."""
    folder = tmp_path_factory.mktemp("reports")
    paths = {name: folder / f"{name}.html" for name in REPORTS}
    for name, path in paths.items():
        path.write_text(render(REPORTS[name]()), encoding="utf-8")
    return paths


@pytest.fixture
def visit(browser: Browser, files: dict[str, Path]) -> Iterator[Callable[..., Visit]]:
    """Opens a report in a context of its own, without a network."""
    contexts = []

    def open_report(
        name: str = "real",
        *,
        width: int = 1280,
        address_end: str = "",
        scheme: str = "light",
        javascript: bool = True,
    ) -> Visit:
        context = browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme="dark" if scheme == "dark" else "light",
            java_script_enabled=javascript,
            offline=True,
        )
        contexts.append(context)
        page = context.new_page()
        visit = Visit(page, files[name].as_uri())
        page.on("request", lambda request: visit.requests.append(request.url))
        page.on("pageerror", lambda error: visit.troubles.append(str(error)))
        page.on("console", lambda message: visit.troubles.append(message.text))
        page.goto(visit.address + address_end)
        if javascript:
            visit.wait_for_charts()
        return visit

    yield open_report
    for context in contexts:
        context.close()


@pytest.fixture
def photograph() -> Callable[[Page, str], None]:
    """Keeps a picture of the whole page where PUSHLOSS_SCREENSHOTS names a folder."""
    folder = os.environ.get("PUSHLOSS_SCREENSHOTS")

    def take(page: Page, name: str) -> None:
        if folder:
            page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    return take
