"""What Dagster is told there is."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from pushloss_pipeline.adapters.sql_files import SQL_FOLDER
from pushloss_pipeline.definitions import build_definitions, defs
from pushloss_pipeline.domain.errors import ConfigurationError
from tests.defs.site import LOSSES, RESPONSES, Site

WAREHOUSE = dg.AssetKey("warehouse")
REPORT = dg.AssetKey("push_loss_report")
NEWEST_DAY = dg.AssetKey("push_loss_newest_day")


@pytest.fixture
def definitions(site: Site) -> dg.Definitions:
    """Definitions of the site's configuration."""
    return build_definitions(site.settings)


def test_assets_stand_in_line(definitions: dg.Definitions) -> None:
    """There are four assets, each made from the one before, and one that is told."""
    graph = definitions.resolve_asset_graph()

    assert {key: graph.get(key).parent_keys for key in graph.get_all_asset_keys()} == {
        RESPONSES: set(),
        LOSSES: {RESPONSES},
        WAREHOUSE: {LOSSES},
        REPORT: {WAREHOUSE},
        NEWEST_DAY: {LOSSES},
    }
    assert not graph.get(NEWEST_DAY).is_executable


def test_jobs_and_schedule_have_their_names(definitions: dg.Definitions) -> None:
    """Jobs and schedules are offered by these names."""
    repository = definitions.get_repository_def()
    jobs = {name for name in repository.job_names if not name.startswith("__")}

    assert jobs == {"daily_push_loss", "replay_push_loss"}
    assert {schedule.name for schedule in repository.schedule_defs} == {
        "daily_push_loss_schedule",
        "ask_again_schedule",
    }


def test_a_backfill_is_one_run(definitions: dg.Definitions) -> None:
    """Both day assets take any range as a single run, one at a time."""
    assets = definitions.resolve_assets_def(LOSSES)

    assert assets.keys == {RESPONSES, LOSSES}
    assert assets.backfill_policy == dg.BackfillPolicy.single_run()
    assert assets.op.pool == "push_loss_api"


def test_days_are_those_of_the_configuration(
    definitions: dg.Definitions, site: Site
) -> None:
    """Partitions run from start_date to yesterday, in the configured zone."""
    daily = definitions.resolve_assets_def(LOSSES).partitions_def
    assert isinstance(daily, dg.DailyPartitionsDefinition)
    keys = daily.get_partition_keys()

    assert keys[0] == site.settings.start_date.isoformat()
    assert keys[-1] == site.days()[-1].isoformat()
    assert daily.timezone == "Asia/Shanghai"


def test_each_check_file_is_a_check(definitions: dg.Definitions) -> None:
    """Every file of sql/checks is a check of `push_loss`, told by its header."""
    specs = definitions.resolve_assets_def(LOSSES).check_specs
    files = {path.stem for path in (SQL_FOLDER / "checks").glob("*.sql")}

    assert {spec.name for spec in specs} == files
    assert {spec.asset_key for spec in specs} == {LOSSES}
    assert all("Severity: " in (spec.description or "") for spec in specs)


@pytest.mark.parametrize("key", [RESPONSES, LOSSES, WAREHOUSE, REPORT], ids=str)
def test_each_asset_says_what_it_is(
    definitions: dg.Definitions, key: dg.AssetKey
) -> None:
    """The UI shows what it is, where it belongs, whose it is and its code."""
    node = definitions.resolve_asset_graph().get(key)
    (source, *_) = node.metadata["dagster/code_references"].code_references

    assert len(node.description or "") > 60
    assert node.group_name == "push_loss"
    assert node.kinds
    assert ["team:push"] == list(node.owners)
    assert "tencent_cloud_chat" == node.tags["source"]
    assert source.file_path.endswith("pushloss_pipeline/defs/assets.py")


def test_a_day_asset_shows_its_columns(definitions: dg.Definitions) -> None:
    """The columns of the published table stand beside the asset, with meanings."""
    metadata = definitions.resolve_asset_graph().get(LOSSES).metadata
    columns = metadata["dagster/column_schema"].columns

    assert [column.name for column in columns][:3] == [
        "sdk_app_id",
        "app",
        "loss_date",
    ]
    assert all(column.description for column in columns)


def test_importing_reads_nothing(tmp_path: Path) -> None:
    """The module imports, in silence, where there is no configuration at all."""
    imported = subprocess.run(
        [sys.executable, "-c", "import pushloss_pipeline.definitions"],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if not k.startswith("PUSHLOSS")},
        capture_output=True,
        check=False,
        text=True,
    )

    assert (imported.returncode, imported.stdout, imported.stderr) == (0, "", "")


def test_dagster_accepts_the_definitions(site: Site) -> None:
    """`dagster definitions validate` succeeds."""
    module = "pushloss_pipeline.definitions"
    validated = site.call("dagster", "definitions", "validate", "-m", module)

    assert validated.code == 0, validated.err


def test_a_wrong_configuration_is_told_in_words(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading the definitions says what is wrong with the configuration."""
    wrong = site.folder / "wrong.toml"
    wrong.write_text('start_date = "2026-01-01"\n')
    monkeypatch.setenv("PUSHLOSS_CONFIG", str(wrong))

    with pytest.raises(ConfigurationError, match="apps: is missing"):
        defs()
