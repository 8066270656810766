"""The page as text: self-contained, safe, and complete without a browser."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from pushloss_pipeline.report.charts import chart_specs
from pushloss_pipeline.report.heat import heat_map
from pushloss_pipeline.report.model import AppReport, PlatformDay, Report
from pushloss_pipeline.report.page import render
from tests.report.reports import (
    LAST_DAY,
    a_hostile_report,
    a_large_report,
    a_part,
    a_real_report,
    a_report,
    an_empty_report,
    some_days,
)

REPORTS = {
    "real": a_real_report,
    "large": a_large_report,
    "hostile": a_hostile_report,
    "empty": an_empty_report,
    "quiet": a_report,
}
VOID = {"meta", "link", "br", "hr", "img", "input", "rect", "wbr"}


class Reader(HTMLParser):
    """Elements, texts and the tables of each part of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.raw: dict[int, str] = {}
        self.tables: dict[tuple[str, str], list[list[str]]] = {}
        self._part = self._table = ""
        self._in_cell = False

    def handle_starttag(
        self, tag: str, attributes: list[tuple[str, str | None]]
    ) -> None:
        """Note the element; a table's rows and cells go to its part."""
        named = dict(attributes)
        self.elements.append((tag, named))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "article":
            self._part = named.get("data-part") or ""
        elif tag == "table":
            self._table = named.get("data-table") or ""
            self.tables[self._part, self._table] = []
        elif tag == "tr":
            self.tables[self._part, self._table].append([])
        elif tag in ("td", "th"):
            self.tables[self._part, self._table][-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        """Elements close in the order in which they opened."""
        if tag in VOID:
            return
        assert self.open.pop() == tag
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, text: str) -> None:
        """Keep the text, of scripts and styles apart."""
        if self.open and self.open[-1] in ("script", "style"):
            number = len(self.elements) - 1
            self.raw[number] = self.raw.get(number, "") + text
            return
        self.texts.append(text)
        if self._in_cell:
            rows = self.tables[self._part, self._table]
            rows[-1][-1] += text

    @property
    def text(self) -> str:
        """All that is to be read."""
        return " ".join(" ".join(self.texts).split())

    def scripts(self, kind: str | None) -> list[str]:
        """Texts of the scripts of one type."""
        return [
            self.raw[number]
            for number, (tag, attributes) in enumerate(self.elements)
            if tag == "script" and attributes.get("type") == kind
        ]

    def data(self) -> dict[str, Any]:
        """What the page's script draws."""
        [text] = self.scripts("application/json")
        data: dict[str, Any] = json.loads(text)
        return data


_READ: dict[str, Reader] = {}


@pytest.fixture(params=REPORTS)
def page(request: pytest.FixtureRequest) -> Reader:
    """Each kind of report, rendered and read."""
    return read(request.param)


def read(name: str) -> Reader:
    """A report's page by its name."""
    if name not in _READ:
        _READ[name] = read_page(REPORTS[name]())
    return _READ[name]


def read_page(report: Report) -> Reader:
    """A rendered report as elements and texts."""
    reader = Reader()
    reader.feed(render(report))
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_allows_its_own_scripts_and_style_only(page: Reader) -> None:
    """The policy names a digest of each script and style; nothing else may run."""
    [policy] = [
        attributes["content"] or ""
        for tag, attributes in page.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    styles = [
        page.raw[number]
        for number, (tag, _) in enumerate(page.elements)
        if tag == "style"
    ]

    assert policy == "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(map(digest, page.scripts(None)))}",
            f"style-src {' '.join(map(digest, styles))}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def digest(text: str) -> str:
    """A text's digest as a policy names it."""
    told = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{told}'"


def test_nothing_on_the_page_points_outside(page: Reader) -> None:
    """No element, style or own script names a resource elsewhere."""
    references = [
        attributes[name] or ""
        for _, attributes in page.elements
        for name in ("src", "href", "srcset", "action", "data", "poster")
        if name in attributes
    ]

    assert all(ref.startswith(("#", "data:")) for ref in references)
    assert not any("style" in attributes for _, attributes in page.elements)
    assert not any(
        name.startswith("on") for _, attributes in page.elements for name in attributes
    )
    style = [text for text in page.raw.values() if "--paper" in text]
    for text in (*page.scripts(None)[1:], *style):
        assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttp|import\(", text)


def test_specs_name_no_address() -> None:
    """Charts have their rows put in and load nothing."""
    assert "http" not in json.dumps(chart_specs())
    assert '"url"' not in json.dumps(chart_specs())


def test_hostile_texts_stay_texts() -> None:
    """Names and texts of others neither open an element nor close a script."""
    hostile, quiet = read("hostile"), read("real")

    def kinds(page: Reader) -> set[str]:
        return {tag for tag, _ in page.elements}

    assert kinds(hostile) <= kinds(quiet)
    assert len(hostile.scripts(None)) == 2
    assert "<script>window.stolen=1</script>" in hostile.text
    [data] = hostile.scripts("application/json")
    assert not set("<>&\u2028\u2029") & set(data)


def test_every_app_can_be_chosen(page: Reader) -> None:
    """The control lists all apps together, then each one, in the order of the parts."""
    options = [a["value"] for tag, a in page.elements if tag == "option"]
    articles = [a for tag, a in page.elements if tag == "article"]

    assert options == [article["data-part"] for article in articles]
    assert ["hidden" in article for article in articles] == [
        number > 0 for number in range(len(articles))
    ]
    assert len(options) == len(page.data()["parts"])


def test_apps_without_a_part_are_named() -> None:
    """An app that has no part of its own is not passed over in silence."""
    assert (
        "2 apps with fewer losses have no part of their own here, but are counted in "
        "all apps: app_0100, app_0101."
    ) in read("large").text


@pytest.mark.parametrize("number", range(3))
def test_the_trend_has_a_table_of_the_same_figures(number: int) -> None:
    """What the chart of days draws can be read in its table."""
    page, part = read("real"), a_real_report().apps[number]
    rows = page.tables[str(number), "trend"][1:]
    drawn = page.data()["parts"][number]["charts"]["trend"]["datasets"]
    stages = {(row["day"], row["stage"]): row["lost"] for row in drawn["stages"]}

    assert [
        [
            told(d.ready_to_send_count),
            told(d.post_send_delivered_count),
            told(d.lost_count),
        ]
        for d in reversed(part.days)
    ] == [row[1:4] for row in rows]
    assert stages == {
        (day.loss_date.isoformat(), stage): count
        for day in part.days
        for stage, count in (
            ("ready_to_send", day.ready_to_send_count),
            ("post_send_delivered", day.post_send_delivered_count),
        )
        if count is not None
    }


@pytest.mark.parametrize("number", range(3))
def test_the_heat_map_has_a_table_of_the_same_figures(number: int) -> None:
    """What the map shades can be read in its table."""
    page, heat = read("real"), heat_map(a_real_report().apps[number])
    rows = page.tables[str(number), "platforms"][1:]
    drawn = page.data()["parts"][number]["charts"]["platforms"]["datasets"]["cells"]

    assert [
        [told(heat.count(day, platform)) for platform in heat.platforms]
        for day in reversed(heat.days)
    ] == [row[1:] for row in rows]
    by_platform = [cell["lost"] for cell in drawn]
    assert by_platform == [
        told(heat.count(day, platform))
        for platform in heat.platforms
        for day in heat.days
    ]


def told(count: int | None) -> str:
    """A count as a cell shows it."""
    return "not known" if count is None else f"{count:,}"


def test_every_chart_has_a_name_and_a_table(page: Reader) -> None:
    """No chart is for those alone who see it."""
    charts = [a for _, a in page.elements if "data-chart" in a]
    tables = [a["data-table"] for tag, a in page.elements if tag == "table"]

    assert all(a["role"] == "img" and a["aria-label"] for a in charts)
    for kind in ("trend", "platforms"):
        count = sum(a["data-chart"] == kind for a in charts)
        assert count == tables.count(kind)


def test_tables_have_captions_and_headers(page: Reader) -> None:
    """Each table says what it is, and each header what it heads."""
    tags = [tag for tag, _ in page.elements]

    assert tags.count("caption") == tags.count("table")
    assert all("scope" in a for tag, a in page.elements if tag == "th")


def test_headings_are_in_order_and_names_unique(page: Reader) -> None:
    """Headings skip no level; no two elements share an id."""
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    names = [a["id"] for _, a in page.elements if "id" in a]
    labels = [a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a]

    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert len(set(names)) == len(names)
    assert set(labels) <= set(names)


def test_the_change_table_adds_up() -> None:
    """The lines of what changed make the whole change."""
    rows = read("real").tables["0", "moved"][1:]
    changes = [
        int(row[-1].split()[0].replace("−", "-").replace(",", "")) for row in rows
    ]

    assert sum(changes[:-1]) == changes[-1]


EMPTY_STATES = {
    "nothing loaded": (
        an_empty_report().apps[0],
        "Nothing is loaded yet. Next Run pushloss load 2026-11-16 2026-11-22",
    ),
    "no anomaly": (a_part(days=some_days(40)), "No count left its usual range."),
    "no baseline": (a_part(days=some_days(9)), "What is usual cannot be told yet"),
    "no codes": (a_part(), "No platform told of a loss in these days."),
    "no platforms": (a_part(), "No platform lost anything on a known day."),
    "no events": (a_part(), "No code is new, came back or vanished."),
    "no unknown codes": (a_part(), "The catalogue holds every code that was met."),
}


@pytest.mark.parametrize(
    ("part", "words"), EMPTY_STATES.values(), ids=EMPTY_STATES.keys()
)
def test_what_is_not_there_is_told(part: AppReport, words: str) -> None:
    """An empty place has a sentence, not a hole."""
    assert words in read_page(a_report(part)).text


def test_a_report_without_parts_says_what_to_run() -> None:
    """Not even one part: the page still tells the first step."""
    nothing = Report(a_report().written_at, "Asia/Shanghai", 7, ())

    assert "Run pushloss load FROM TO" in read_page(nothing).text


def test_shades_begin_at_round_numbers_and_grow() -> None:
    """Every count has a shade; more is never lighter."""
    counts = [3, 14, 159, 2653, 58979, 323846]
    part = a_part(
        platform_days=tuple(
            PlatformDay(LAST_DAY, f"platform_{count}", count) for count in counts
        )
    )
    heat = heat_map(part)
    shades = [heat.shade(count) for count in counts]

    assert shades == sorted(shades)
    assert all(len(str(bound).rstrip("0")) <= 2 for bound in heat.bounds)
    assert [heat.shade(0), heat.shade(1)] == [0, 1]


def test_a_page_of_twenty_apps_stays_small() -> None:
    """Apps add figures, not scripts or specs."""
    assert len(render(a_large_report())) < 5_000_000
