-- push_loss as it stood at a moment, by recorded_at.
-- Parameters: ts.
-- Grain: one row per sdk_app_id, loss_date, stage, scope, platform_id, err_code.
-- Reads: push_loss_history.

select
    sdk_app_id,
    app,
    loss_date,
    stage,
    scope,
    platform_id,
    platform,
    err_code,
    err_info,
    err_count,
    revision,
    fetched_at
from push_loss_history
where
    recorded_at <= cast(ts as timestamptz)
    and (
        superseded_at is null
        or superseded_at > cast(ts as timestamptz)
    )
