"""The configuration: read once, wrong in words, never holding a key."""

from datetime import date, time
from pathlib import Path

import pytest

from pushloss_pipeline.domain.errors import ConfigurationError, UsageError
from pushloss_pipeline.settings import REGION_HOSTS, read_settings

EXAMPLE = Path(__file__).parents[1] / "pushloss.example.toml"
KEY = "5ca1ab1edecafbad" * 4
APP = """
[apps.shop]
sdk_app_id = 1400000001
region = "singapore"
identifier = "administrator"
secret_key_env = "PUSHLOSS_TEST_KEY"
"""


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in ("PUSHLOSS_CONFIG", "PUSHLOSS_DATA_DIR", "PUSHLOSS_TEST_KEY"):
        monkeypatch.delenv(name, raising=False)


def written(folder: Path, *, head: str = "", app: str = APP) -> Path:
    """Write a configuration: keys of the file, then the apps."""
    path = folder / "pushloss.toml"
    path.write_text(f'start_date = "2026-01-01"\n{head}\n{app}', encoding="utf-8")
    return path


def test_a_file_that_cannot_be_read_is_told() -> None:
    """What keeps the configuration from being read is said, not thrown."""
    with pytest.raises(ConfigurationError, match="cannot read /proc/self/mem"):
        read_settings(Path("/proc/self/mem"))


def test_the_example_is_a_valid_configuration():
    """What people copy can be read, and shows the defaults."""
    settings = read_settings(EXAMPLE)

    assert "Asia/Shanghai" == settings.timezone.key
    assert (7, 1.0, date(2026, 1, 1)) == (
        settings.retention_days,
        settings.calls_per_second,
        settings.start_date,
    )
    assert time(10, 30) == settings.schedule_time
    assert "https://adminapisgp.im.qcloud.com" == settings.apps["shop"].base_url


def test_the_example_shows_every_setting_and_region():
    """No setting hides from who reads the example."""
    text = EXAMPLE.read_text()
    settings = read_settings(EXAMPLE)
    known = {*type(settings).model_fields, *type(settings.apps["shop"]).model_fields}

    missing = [name for name in known - {"apps", "config_path"} if name not in text]
    assert [] == missing
    assert [] == [region for region in REGION_HOSTS if region not in text]


@pytest.mark.parametrize(
    ("head", "app", "words"),
    [
        ("timezon = 'UTC'", APP, "did you mean timezone"),
        ("timezone = 'Mars/Olympus'", APP, "IANA"),
        ("timezone = 8", APP, "timezone"),
        ("calls_per_second = 0", APP, "calls_per_second"),
        ("retention_days = 0", APP, "retention_days"),
        ("schedule_time = '25:00'", APP, "schedule_time"),
        ("schedule_time = 'noon'", APP, "10:30"),
        ("start_date = ", APP, "TOML"),
        ("", "", "apps: is missing"),
        ("", APP.replace("shop", '"a/b"'), "app name"),
        ("", APP.replace("singapore", "moon"), "unknown region"),
        ("", APP + 'endpoint = "https://x.example"', "either region or endpoint"),
        ("", APP.replace('region = "singapore"', ""), "either region or endpoint"),
        ("", APP.replace('region = "singapore"', 'endpoint = "http://a.com"'), "https"),
        (
            "",
            APP.replace('region = "singapore"', 'endpoint = "https://u:p@a.com"'),
            "password",
        ),
        (
            "",
            APP.replace('region = "singapore"', 'endpoint = "https://a.com/x"'),
            "host only",
        ),
        ("", APP.replace("administrator", "a b"), "identifier"),
        ("", APP.replace("1400000001", "'1400000001'"), "sdk_app_id"),
        ("", APP + APP.replace("shop", "twin"), "configured twice"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path, head, app, words):
    """Whatever is wrong comes as one message that names file and key."""
    path = written(tmp_path, head=head, app=app)

    with pytest.raises(ConfigurationError) as mistake:
        read_settings(path)

    assert words in str(mistake.value) and str(path) in str(mistake.value)


def test_a_key_in_the_file_is_refused_and_not_repeated(tmp_path):
    """A secret does not belong in the file, and its value not in the message."""
    path = written(tmp_path, app=APP + 'secret_key = "5ca1ab1e5ca1ab1e"')

    with pytest.raises(ConfigurationError) as mistake:
        read_settings(path)

    assert "secret_key_env" in str(mistake.value)
    assert "5ca1ab1e" not in str(mistake.value)


@pytest.mark.parametrize(
    "head",
    [
        "alarm_url = 'slack://5ca1ab1e'",
        "alarm_urls = ['slack://5ca1ab1e']",
        "alarm_url_env = 'slack://5ca1ab1e'",
        "report_url = 'https://me:5ca1ab1e@a.example/'",
        "report_url = 'https://a.example/?token=5ca1ab1e'",
        "report_url = '5ca1ab1e'",
    ],
)
def test_an_alarm_url_in_the_file_is_refused_and_not_repeated(tmp_path, head):
    """Addresses that hold tokens stay in the environment."""
    with pytest.raises(ConfigurationError) as mistake:
        read_settings(written(tmp_path, head=head))

    key = head.partition(" = ")[0]
    assert key in str(mistake.value) and "5ca1ab1e" not in str(mistake.value)
    assert key not in ("alarm_url", "alarm_urls") or "alarm_url_env" in str(
        mistake.value
    )


def test_alarm_urls_come_from_their_variable(tmp_path, monkeypatch):
    """Several are separated by blanks; without a variable there are none."""
    monkeypatch.setenv("PUSHLOSS_TEST_KEY", " json://a\n json://b ")
    head = "alarm_url_env = 'PUSHLOSS_TEST_KEY'"

    assert () == read_settings(written(tmp_path)).alarm_urls()
    settings = read_settings(written(tmp_path, head=head))
    assert ("json://a", "json://b") == settings.alarm_urls()


def test_all_mistakes_are_told_at_once(tmp_path):
    """Nobody has to run it five times to find five mistakes."""
    path = written(tmp_path, head="retention_days = 0\ncalls_per_second = -1")

    with pytest.raises(ConfigurationError) as mistake:
        read_settings(path)

    assert 2 == len(str(mistake.value).splitlines())


def test_a_missing_file_says_what_to_copy(tmp_path):
    """The way to a first configuration is in the message."""
    with pytest.raises(ConfigurationError, match=r"pushloss\.example\.toml"):
        read_settings(tmp_path / "nothing.toml")


def test_the_variable_names_another_file(tmp_path, monkeypatch):
    """PUSHLOSS_CONFIG is honoured."""
    monkeypatch.setenv("PUSHLOSS_CONFIG", str(written(tmp_path)))

    assert tmp_path / "data" == read_settings().local_dir


def test_a_relative_data_dir_is_beside_the_file(tmp_path):
    """Wherever the command is run, data lie in one place."""
    settings = read_settings(written(tmp_path, head="data_dir = 'here'"))

    assert tmp_path / "here" == settings.local_dir
    assert str(tmp_path / "here" / "lake") == settings.lake_root


def test_the_variable_overrides_data_dir(tmp_path, monkeypatch):
    """PUSHLOSS_DATA_DIR wins, relative to the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PUSHLOSS_DATA_DIR", "there")

    settings = read_settings(written(tmp_path, head="data_dir = 'here'"))

    assert tmp_path / "there" == settings.local_dir


def test_an_object_store_holds_the_lake_only(tmp_path):
    """The published file and locks stay on this machine."""
    settings = read_settings(written(tmp_path, head="data_dir = 's3://bucket/x'"))

    assert "s3://bucket/x/lake" == settings.lake_root
    assert tmp_path / "data" == settings.local_dir


def test_the_key_comes_from_its_variable_and_stays_masked(tmp_path, monkeypatch):
    """Blanks around the key are dropped; no text of the app shows it."""
    monkeypatch.setenv("PUSHLOSS_TEST_KEY", f" {KEY}\n")
    settings = read_settings(written(tmp_path))

    app = settings.app("shop")

    assert KEY == app.secret_key
    assert KEY not in repr(app) + repr(settings)


def test_a_missing_key_names_its_variable(tmp_path):
    """What to export is in the message."""
    with pytest.raises(ConfigurationError, match="PUSHLOSS_TEST_KEY"):
        read_settings(written(tmp_path)).app("shop")


def test_apps_are_selected_by_name(tmp_path):
    """None means all; an unknown one is refused with what is configured."""
    settings = read_settings(written(tmp_path))

    assert ("shop",) == settings.select() == settings.select(("shop", "shop"))
    with pytest.raises(UsageError, match=r"Configured in .*: shop"):
        settings.select(("zzz",))
