-- What is known of each app and day that was ever asked for, as of $now.
-- A day whose asking failed and that the API has forgotten since is what its last
-- accepted answer made it, or expired.
-- Grain: one row per sdk_app_id, loss_date.
-- Reads: day_entries, day_bounds.

with entries as (

    select
        day_entries.*,
        bounds.expires_at,
        bounds.settles_at > $now as is_young,
        day_entries.state in ('failed', 'refused')
        and bounds.expires_at <= $now as is_forgotten
    from day_entries
    inner join day_bounds as bounds
        on day_entries.loss_date = bounds.loss_date

)

select
    sdk_app_id,
    app,
    loss_date,
    case
        when not is_forgotten then state
        when revision = 0 then 'expired'
        when row_count = 0 then 'empty'
        else 'loaded'
    end as state,
    revision,
    row_count,
    overall_count,
    fetched_at,
    expires_at,
    is_young,
    case when not is_forgotten or revision = 0 then error_code end as error_code,
    case when not is_forgotten or revision = 0 then error_info end as error_info,
    envelope,
    warnings
from entries
