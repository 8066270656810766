"""Which runs of a Dagster instance are ours: it may serve other projects, too."""

import dagster as dg

from pushloss_pipeline.defs.ledger import LOSSES, REPORT, RESPONSES, WAREHOUSE
from pushloss_pipeline.defs.schedules import LOAD_JOB, REPLAY_JOB

MAINTENANCE_JOB = "weekly_maintenance"

_JOBS = frozenset({LOAD_JOB, REPLAY_JOB, MAINTENANCE_JOB})
_ASSETS = frozenset({RESPONSES, LOSSES, WAREHOUSE, REPORT})


def is_ours(run: dg.DagsterRun) -> bool:
    """Whether it is a run of our jobs, or of our assets from Dagster's UI."""
    if run.job_name in _JOBS:
        return True
    return run.job_name.startswith("__ASSET_JOB") and bool(
        _ASSETS & (run.asset_selection or frozenset())
    )
