-- No configured app's day is without a good answer while the API forgets it within
-- 3 days; after that nobody can ask again. Days before the first one that an app was
-- asked for in time are not missed.
-- Severity: warn.
-- Reads: apps, push_loss_days.

with app_spans as (

    select
        apps.sdk_app_id,
        apps.app,
        min(days.loss_date) as first_date
    from apps
    inner join push_loss_days as days
        on apps.sdk_app_id = days.sdk_app_id
    where
        apps.is_configured
        and (days.state <> 'expired' or days.revision > 0)
    group by apps.sdk_app_id, apps.app

),

-- told by any app's row, or counted on from the nearest day that has one
expiry as (

    select
        arg_min(
            expires_at + to_days(cast($day as date) - loss_date),
            abs(cast($day as date) - loss_date)
        ) as expires_at
    from push_loss_days

)

select
    app_spans.app,
    coalesce(days.state, 'never asked for') as state,
    cast(ceil((epoch(expiry.expires_at) - epoch($now)) / 86400) as integer)
        as days_left
from app_spans
cross join expiry
left join push_loss_days as days
    on
        app_spans.sdk_app_id = days.sdk_app_id
        and days.loss_date = cast($day as date)
where
    app_spans.first_date <= cast($day as date)
    and coalesce(days.state, 'never asked for') not in ('loaded', 'empty')
    and expiry.expires_at > $now
    and expiry.expires_at <= $now + interval 3 day
