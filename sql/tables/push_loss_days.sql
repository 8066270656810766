-- What is known of each app and day that was ever asked for, as of $now.
-- A day whose asking failed and that the API has forgotten since is what its last
-- accepted answer made it, or expired.
-- Grain: one row per sdk_app_id, loss_date.
-- Reads: day_entries, day_bounds.

select
    entries.sdk_app_id,
    entries.app,
    entries.loss_date,
    case
        when
            entries.state not in ('failed', 'refused')
            or bounds.expires_at > $now
            then entries.state
        when entries.revision = 0 then 'expired'
        when entries.row_count = 0 then 'empty'
        else 'loaded'
    end as state,
    entries.revision,
    entries.row_count,
    entries.overall_count,
    entries.fetched_at,
    bounds.expires_at,
    entries.error_code,
    entries.error_info,
    entries.envelope,
    entries.warnings
from day_entries as entries
inner join day_bounds as bounds
    on entries.loss_date = bounds.loss_date
