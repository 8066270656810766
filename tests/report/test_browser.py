"""The page in a browser: drawn, quiet, switchable, readable on any screen."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page

from pushloss_pipeline.report.model import AppReport
from tests.report.conftest import Visit
from tests.report.reports import a_hostile_report, a_large_report, a_real_report

Visitor = Callable[..., Visit]
Photographer = Callable[[Page, str], None]

SHOWN = "article:not([hidden])"
IS_WIDER = "document.scrollingElement.scrollWidth > innerWidth"


def marks(page: Page, chart: str, layer: str) -> int:
    """How many marks a chart in sight has drawn in a layer."""
    return page.locator(f"{SHOWN} .{chart} .role-mark.{layer} > *").count()


def total(page: Page) -> int:
    """The total that is shown."""
    return int(page.locator(f"{SHOWN} .total").get_attribute("data-total") or "-1")


def lost_of(part: AppReport) -> int:
    """What a part's last week lost."""
    return sum(day.lost_count or 0 for day in part.days[-7:])


def heights(rows: Locator) -> list[float]:
    """How high each row is; 0 where it is hidden."""
    found: list[float] = rows.evaluate_all(
        "(rows) => rows.map((row) => row.getBoundingClientRect().height)"
    )
    return found


def choose(visit: Visit, app: str) -> None:
    """Choose an app as a reader does."""
    visit.page.get_by_label("App", exact=True).select_option(label=app)
    visit.wait_for_charts()


@pytest.mark.parametrize("number", range(3))
def test_charts_draw_every_figure(visit: Visitor, number: int) -> None:
    """A mark for each day, stage, platform and incident, and nothing goes wrong."""
    part = a_real_report().apps[number]
    known = sum(day.lost_count is not None for day in part.days)
    opened = visit(address_end=f"#app={part.app}" if part.app else "")
    page = opened.page

    assert marks(page, "trend", "layer_0_marks") == len(part.days)
    assert marks(page, "trend", "layer_1_marks") == 2 * known
    assert marks(page, "trend", "layer_2_layer_1_marks") == len(
        page.locator(f"{SHOWN} .incidents li").all()
    )
    days = {cell.loss_date for cell in part.platform_days}
    days |= {day.loss_date for day in part.days if day.loss_date >= min(days)}
    platforms = {cell.platform for cell in part.platform_days}
    assert marks(page, "platforms", "marks") == len(days) * len(platforms)
    opened.assert_quiet()


def test_choosing_an_app_switches_everything(visit: Visitor) -> None:
    """Numbers, charts and address follow the choice; the address keeps it."""
    together, shop, chat = a_real_report().apps
    opened = visit()
    page = opened.page

    assert total(page) == lost_of(together)
    choose(opened, "shop")
    assert total(page) == lost_of(shop)
    assert page.url.endswith("#app=shop")
    page.reload()
    opened.wait_for_charts()
    assert total(page) == lost_of(shop)
    assert page.get_by_label("App", exact=True).input_value() == "1"
    page.goto(f"{opened.address}#app=chat")
    opened.wait_for_charts()
    assert total(page) == lost_of(chat)
    page.go_back()
    opened.wait_for_charts()
    assert total(page) == lost_of(shop)
    choose(opened, "All apps")
    assert "#" not in page.url
    opened.assert_quiet()


def test_an_app_in_the_table_leads_to_its_part(visit: Visitor) -> None:
    """The table of apps is a way in."""
    opened = visit()

    opened.page.get_by_role("link", name="chat", exact=True).click()
    opened.wait_for_charts()

    assert total(opened.page) == lost_of(a_real_report().apps[2])


@pytest.mark.parametrize("end", ["#app=nobody", "#app=%E0%A4%A", "#report", "#"])
def test_an_address_of_no_app_shows_all(visit: Visitor, end: str) -> None:
    """A wrong or old link still opens the report."""
    opened = visit(address_end=end)

    assert total(opened.page) == lost_of(a_real_report().apps[0])
    opened.assert_quiet()


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("real", 390),
        ("real", 768),
        ("real", 1280),
        ("hostile", 390),
        ("hostile", 1280),
        ("empty", 390),
    ],
)
def test_the_page_never_scrolls_sideways(
    visit: Visitor, name: str, width: int, photograph: Photographer
) -> None:
    """Every part fits into every screen, whatever the names are."""
    opened = visit(name, width=width)
    choice = opened.page.get_by_label("App", exact=True)

    for number in range(choice.locator("option").count()):
        choice.select_option(str(number))
        opened.wait_for_charts()
        opened.page.evaluate(
            "document.querySelectorAll('details').forEach((d) => (d.open = true))"
        )
        assert not opened.page.evaluate(IS_WIDER), number
    opened.assert_quiet()
    choice.select_option("0")
    opened.wait_for_charts()
    photograph(opened.page, f"{name}-{width}")


def test_twenty_apps_switch_without_trouble(visit: Visitor) -> None:
    """As many apps as a page holds cost no more than the one in sight."""
    opened = visit("large")
    parts = a_large_report().apps

    choose(opened, "app_0019")

    assert total(opened.page) == lost_of(parts[20])
    assert opened.page.locator(".chart svg.marks").count() <= 4
    opened.assert_quiet()


def test_dark_and_paper_have_colours_of_their_own(
    visit: Visitor, photograph: Photographer
) -> None:
    """The same drawn charts take the colours of the scheme, and light ones on paper."""
    page = visit(scheme="dark").page
    bar = page.locator(f"{SHOWN} .trend .layer_1_marks path").nth(1)

    def colours() -> tuple[str, str]:
        return (
            bar.evaluate("(mark) => getComputedStyle(mark).fill"),
            page.evaluate("getComputedStyle(document.body).backgroundColor"),
        )

    dark = colours()
    photograph(page, "dark")
    page.emulate_media(color_scheme="light")
    light = colours()
    photograph(page, "light")
    page.emulate_media(color_scheme="dark", media="print")

    assert dark == ("rgb(74, 163, 220)", "rgb(20, 23, 27)")
    assert light == ("rgb(0, 114, 178)", "rgb(255, 255, 255)")
    assert colours() == light
    page.set_viewport_size({"width": 690, "height": 980})
    photograph(page, "print")


CONTRASTS = """
() => {
  const canvas = document.createElement("canvas").getContext("2d");
  const luminance = (colour) => {
    canvas.fillStyle = colour;
    const [r, g, b] = [1, 3, 5].map((at) => {
      const share = parseInt(canvas.fillStyle.slice(at, at + 2), 16) / 255;
      return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = getComputedStyle(document.documentElement);
  const value = (name) => luminance(style.getPropertyValue(name).trim());
  const contrast = (a, b) =>
    (Math.max(value(a), value(b)) + 0.05) / (Math.min(value(a), value(b)) + 0.05);
  return Object.fromEntries(
    ["--ink", "--ink-2", "--link", "--alert", "--post", "--alert-mark", "--ready"].map(
      (name) => [name, contrast(name, "--paper")],
    ),
  );
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_contrast(visit: Visitor, scheme: str) -> None:
    """Texts reach 4.5 to 1 against the page, marks nearly 3 to 1 and more."""
    contrasts = visit("empty", scheme=scheme).page.evaluate(CONTRASTS)
    texts = ("--ink", "--ink-2", "--link", "--alert")

    assert all(contrasts[name] >= 4.5 for name in texts), contrasts
    assert all(contrasts[name] >= 2.9 for name in contrasts), contrasts


def test_hostile_texts_run_nothing(visit: Visitor) -> None:
    """Scripts in names and texts stay letters, in tooltips too."""
    opened = visit("hostile")
    page = opened.page

    for number in range(len(a_hostile_report().apps)):
        page.get_by_label("App", exact=True).select_option(str(number))
        opened.wait_for_charts()
        page.locator(f"{SHOWN} .platforms .role-mark path").last.hover()
        page.locator("#vg-tooltip-element.visible").wait_for()
    assert page.evaluate("window.stolen") is None
    assert page.locator("img").count() == 0
    assert "<script>" in page.locator("#vg-tooltip-element").inner_text()
    opened.assert_quiet()


def test_a_day_tells_its_figures_on_hover(visit: Visitor) -> None:
    """The tooltip has the day's counts and its state."""
    page = visit().page
    day = a_real_report().apps[0].days[-1]

    page.locator(f"{SHOWN} .trend .layer_1_marks path").last.hover()

    text = page.locator("#vg-tooltip-element.visible").inner_text()
    assert "Sun 22 Nov" in text
    assert f"{day.lost_count:,}" in text
    assert "still rising" in text


def test_a_table_can_be_copied(visit: Visitor) -> None:
    """The button copies the table as text with tabs, with bare numbers and dates."""
    opened = visit()
    page = opened.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    day = a_real_report().apps[0].days[-1]

    page.locator(f"{SHOWN} details").first.locator("summary").click()
    page.locator(f"{SHOWN} details").first.get_by_role("button").click()
    page.get_by_role("button", name="Copied").wait_for()

    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert lines[0] == "Day\tBefore sending\tAfter sending\tTotal\tState"
    assert lines[1] == "\t".join(
        map(
            str,
            (
                day.loss_date,
                day.ready_to_send_count,
                day.post_send_delivered_count,
                day.lost_count,
                "Loaded, still rising",
            ),
        )
    )
    assert len(lines) == 57
    opened.assert_quiet()


def test_long_tables_show_the_rest_when_asked(visit: Visitor) -> None:
    """The first lines are in sight, all of them after a click."""
    page = visit().page
    rows = page.locator(f"{SHOWN} [data-table=codes] tbody tr")

    before = heights(rows)
    page.get_by_role("button", name=f"Show all {rows.count()}").click()

    assert sum(height > 0 for height in before) == 10
    assert all(heights(rows))


def test_the_page_prints(visit: Visitor) -> None:
    """Paper gets some pages, not a screen's control."""
    page = visit().page

    paper = page.pdf(format="A4", prefer_css_page_size=True)
    page.emulate_media(media="print")

    assert paper.startswith(b"%PDF")
    assert 3 <= paper.count(b"/Type /Page\n") <= 8
    assert not page.get_by_label("App", exact=True).is_visible()
    assert page.locator(f"{SHOWN} .trend svg").is_visible()


def test_without_javascript_the_report_of_all_apps_can_be_read(
    visit: Visitor,
) -> None:
    """Sentence and tables stand; the control that needs a script is not shown."""
    page = visit(javascript=False).page

    assert page.get_by_text("Charts and the choice of an app need").is_visible()
    assert page.locator("article").first.locator(".sentence").is_visible()
    assert page.locator("article").nth(1).is_hidden()
    assert page.locator("#app").is_hidden()
    assert all(heights(page.locator(f"{SHOWN} [data-table=codes] tbody tr")))


def test_the_keyboard_reaches_everything(visit: Visitor) -> None:
    """Skip link, choice and tables come in order, with a ring to see where one is."""
    page = visit().page

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "report"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    assert (
        page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        == "solid"
    )
