"""The checks of `push_loss`: one for each file of `sql/checks/`."""

import warnings

import dagster as dg

from pushloss_pipeline.adapters.sql_files import read_statements


def check_specs(
    asset: dg.AssetKey, daily: dg.DailyPartitionsDefinition
) -> list[dg.AssetCheckSpec]:
    """A spec for each file, described by its header."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # checks of partitions
        return [
            dg.AssetCheckSpec(
                name=check.name,
                asset=asset,
                description=f"{check.about} Severity: {check.labels['Severity']}.",
                partitions_def=daily,
            )
            for check in read_statements("checks")
        ]
