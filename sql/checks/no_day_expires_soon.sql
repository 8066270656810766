-- No configured app's day is without a good answer while the API forgets it within
-- 3 days; after that nobody can ask again. Days before the first one that an app was
-- asked for in time are not missed.
-- Severity: warn.
-- Reads: apps, push_loss_days.

-- told by any app's row, or counted on from the nearest day that has one
with expiry as (

    select
        arg_min(
            expires_at + to_days(cast($day as date) - loss_date),
            abs(cast($day as date) - loss_date)
        ) as expires_at
    from push_loss_days

)

select
    apps.app,
    coalesce(days.state, 'never asked for') as state,
    cast(ceil((epoch(expiry.expires_at) - epoch($now)) / 86400) as integer)
        as days_left
from apps
cross join expiry
left join push_loss_days as days
    on
        apps.sdk_app_id = days.sdk_app_id
        and days.loss_date = cast($day as date)
where
    apps.is_configured
    and apps.first_date <= cast($day as date)
    and coalesce(days.state, 'never asked for') not in ('loaded', 'empty')
    and expiry.expires_at > $now
    and expiry.expires_at <= $now + interval 3 day
