-- What is known of each app and day, over the Delta table push_loss_revisions, for
-- any engine; as it was recorded, whatever the API has forgotten since.
-- Grain: one row per sdk_app_id, loss_date.
-- Reads: push_loss_revisions.

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
        entry_key,
        max(entry_key) over (partition by sdk_app_id, loss_date) as newest_key
    from push_loss_revisions
    where row_kind in ('marker', 'state')

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
    error_info
from entries
where entry_key = newest_key
