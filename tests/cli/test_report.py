"""The report as a command: where it goes, what it says, what it says when it can't."""

import urllib.request

import httpx
import pytest

from pushloss_pipeline.settings import OWN_CODES
from tests.cli.conftest import LOOPBACK, listening

WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


def status_of(url, headers):
    """How a server answers a call with these headers."""
    return httpx.get(url, headers=headers).status_code


def load_week(pushloss, week):
    """Load the whole week of the shop."""
    return pushloss("load", str(week[0]), str(week[-1]))


def load_two_days(pushloss, week):
    """Load the newest two days of the shop."""
    return pushloss("load", str(week[-2]), str(week[-1]))


def test_each_load_leaves_a_report(shop, pushloss, week):
    """The load says where; the page tells of each app and of the newest day."""
    loaded = load_week(pushloss, week)
    page = shop.folder / "data" / "report" / "index.html"

    assert 0 == loaded.code and f"report: {page}" in loaded.out
    text = page.read_text(encoding="utf-8")
    assert all(name in text for name in ("app_0000", "app_0001", "app_0002"))
    assert week[-1].isoformat() in text


def test_the_report_goes_where_it_is_told_to(shop, pushloss, week):
    """The command sums it up in a sentence and names the file."""
    load_two_days(pushloss, week)
    path = shop.folder / "out" / "push loss.html"

    written = pushloss("report", "--output", str(path))

    assert 0 == written.code
    assert f"report: {path}" in written.out
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path] == list(path.parent.iterdir())


def test_a_failed_load_reports_too(shop, pushloss, week):
    """What is missing and why stands in the page: that is when somebody looks."""
    shop.simulator.script(
        [{"sdk_app_id": 1400100001, "error_code": 70009, "error_info": "wrong <key>"}]
    )
    loaded = load_two_days(pushloss, week)
    text = (shop.folder / "data" / "report" / "index.html").read_text(encoding="utf-8")

    assert 1 == loaded.code and "report: " in loaded.out
    assert "70009" in text and "wrong &lt;key&gt;" in text


def test_before_any_load_the_report_says_what_to_run(shop, pushloss):
    """An empty page with the next step is better than an error."""
    written = pushloss("report")
    page = shop.folder / "data" / "report" / "index.html"

    assert 0 == written.code
    assert "Nothing is loaded yet." in written.out
    assert "pushloss load" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["out", ""])
def test_a_report_cannot_replace_a_folder(shop, pushloss, name):
    """The error names it before anything is done."""
    (shop.folder / "out").mkdir()

    written = pushloss("report", "--output", name and str(shop.folder / name))

    assert 2 == written.code and "is a directory" in written.err
    assert [] == list((shop.folder / "out").iterdir())


def test_a_report_that_cannot_be_written_says_where(shop, pushloss):
    """The error is one line, with the path as it was given."""
    (shop.folder / "taken").touch()
    path = shop.folder / "taken" / "page.html"

    written = pushloss("report", "--output", str(path))

    assert 1 == written.code
    assert f"error: cannot write the report to {path}: File exists" == (
        written.err.strip()
    )


def test_own_codes_are_beside_the_configuration(shop, pushloss, week):
    """A row of the user's own gives its code another meaning, without a load."""
    load_two_days(pushloss, week)
    (shop.folder / OWN_CODES).write_text(
        "stage,platform,err_code,meaning,category,owner,action,source\n"
        ",apns,410,Gone for good,token_invalid,backend,Ask Ann,our wiki\n"
    )
    reported = pushloss("report")
    told = pushloss(
        "sql",
        "select distinct meaning, action, source from error_codes"
        " where platform = 'apns' and err_code = '410'",
        "--format",
        "csv",
    )

    assert 0 == reported.code
    assert "meaning,action,source\nGone for good,Ask Ann,our wiki\n" == told.out


def test_a_mistake_in_own_codes_loses_no_day(shop, pushloss, week):
    """The answers are kept, the file and line are told; mended, nothing is asked."""
    path = shop.folder / OWN_CODES
    path.write_text("code,meaning\n410,gone\n")
    loaded = load_two_days(pushloss, week)
    checked = pushloss("check")
    path.unlink()
    asked = len(shop.calls())
    mended = pushloss("load", str(week[-2]), str(week[-1]), "--missing")
    rows = pushloss("sql", "select count(*) from push_loss_days", "--format", "csv")

    assert (1, 2, 0) == (loaded.code, checked.code, mended.code)
    assert f"{OWN_CODES}: the first line must be" in loaded.err
    assert f"{OWN_CODES}: the first line must be" in checked.err
    assert asked == len(shop.calls())
    assert "count_star()\n6\n" == rows.out


def test_own_codes_that_cannot_be_read_are_told(shop, pushloss):
    """A folder in its place, an encoding of another time: one line, no traceback."""
    path = shop.folder / OWN_CODES
    path.write_bytes("stage,含义\n".encode("gbk"))
    other_encoding = pushloss("check")
    path.unlink()
    path.symlink_to("/proc/self/mem")
    unreadable = pushloss("check")

    assert (2, 2) == (other_encoding.code, unreadable.code)
    assert "is not UTF-8 text; save it as CSV in UTF-8" in other_encoding.err
    assert f"cannot read {path}: " in unreadable.err


def test_the_explorer_starts_and_answers(shop, pushloss, week):
    """It serves the notebook on loopback, to its own pages, until it is interrupted."""
    load_week(pushloss, week)
    process = shop.start("explore", "--port", "0")
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with urllib.request.urlopen(url) as answer:
            page = answer.read().decode()
        addresses = listening(process.pid)
        foreign = [
            status_of(url, {"Host": "evil.example"}),
            status_of(url, {"Origin": "http://evil.example"}),
            status_of(url, {"Origin": "null"}),
            status_of(f"{url}/ws", {**WEBSOCKET, "Origin": "http://evil.example"}),
        ]
        own = status_of(url, {"Origin": url})
    finally:
        process.send_signal(2)
        ran = shop.finish(process)

    assert url.startswith("http://127.0.0.1:")
    assert "Push loss explorer" in page
    assert {LOOPBACK} == addresses
    assert ([403] * 4, 200) == (foreign, own)
    assert 0 == ran.code and "Traceback" not in ran.err
