-- All entries of each app and day, of the days in changed_days.
-- Grain: one row per sdk_app_id, loss_date, entry_key.
-- Reads: push_loss_revisions, changed_days.

select
    sdk_app_id,
    loss_date,
    entry_key,
    state,
    revision,
    fetched_at
from push_loss_revisions
where
    row_kind in ('marker', 'state')
    and (sdk_app_id, loss_date) in (
        select (changed_days.sdk_app_id, changed_days.loss_date)
        from changed_days
    )
