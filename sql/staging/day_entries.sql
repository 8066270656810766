-- The newest entry of each app and day, of the days in changed_days.
-- Grain: one row per sdk_app_id, loss_date.
-- Reads: push_loss_revisions, changed_days.

select
    entries.sdk_app_id,
    entries.app,
    entries.loss_date,
    entries.state,
    entries.revision,
    entries.row_count,
    entries.overall_count,
    entries.fetched_at,
    entries.error_code,
    entries.error_info,
    entries.envelope,
    entries.warnings,
    entries.entry_key
from push_loss_revisions as entries
inner join changed_days
    on
        entries.sdk_app_id = changed_days.sdk_app_id
        and entries.loss_date = changed_days.loss_date
        and entries.entry_key = changed_days.entry_key
where entries.row_kind in ('marker', 'state')
