-- The newest entry of each app and day, of the days in changed_days.
-- Grain: one row per sdk_app_id, loss_date.
-- Reads: push_loss_revisions, changed_days.

with entries as (

    select
        sdk_app_id,
        app,
        loss_date,
        state,
        revision,
        row_count,
        overall_count,
        fetched_at,
        error_code,
        error_info,
        envelope,
        warnings,
        entry_key,
        max(entry_key) over (partition by sdk_app_id, loss_date) as newest_key
    from push_loss_revisions
    where
        row_kind in ('marker', 'state')
        and (sdk_app_id, loss_date) in (
            select (changed_days.sdk_app_id, changed_days.loss_date)
            from changed_days
        )

)

select
    sdk_app_id,
    app,
    loss_date,
    state,
    revision,
    row_count,
    overall_count,
    fetched_at,
    error_code,
    error_info,
    envelope,
    warnings,
    entry_key
from entries
where entry_key = newest_key
