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
where
    superseded_at is null
    and (sdk_app_id, loss_date) in (
        select (changed_days.sdk_app_id, changed_days.loss_date)
        from changed_days
    )
