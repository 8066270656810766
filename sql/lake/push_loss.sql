-- The current rows, over the Delta table push_loss_revisions, for any engine.
-- Grain: one row per sdk_app_id, loss_date, stage, scope, platform_id, err_code.
-- Reads: push_loss_revisions.

with entries as (

    select
        sdk_app_id,
        app,
        loss_date,
        row_kind,
        entry_key,
        stage,
        scope,
        platform_id,
        platform,
        err_code,
        err_info,
        err_count,
        revision,
        fetched_at,
        max(case when row_kind = 'marker' then entry_key end)
            over (partition by sdk_app_id, loss_date)
            as standing_key
    from push_loss_revisions

)

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
from entries
where row_kind = 'loss' and entry_key = standing_key
