-- What the newest accepted answer says, of the days in changed_days.
-- Grain: one row per sdk_app_id, loss_date, stage, scope, platform_id, err_code.
-- Reads: push_loss_history, changed_days.

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
semi join changed_days using (sdk_app_id, loss_date)
where superseded_at is null
