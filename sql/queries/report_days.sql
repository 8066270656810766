-- The days of the report, app by app, without gaps, from $trend_first to $last; of an
-- app that is no longer configured up to the newest day it was asked for.
-- Grain: one row per app, loss_date, from the first day it was asked for in time or,
--     if that is earlier, could still be asked for.
-- Reads: push_loss_days, apps, push_loss_by_app.

with app_spans as (

    select
        apps.sdk_app_id,
        apps.app,
        greatest(
            least(
                apps.first_date,
                case when apps.is_configured then cast($askable_first as date) end
            ),
            cast($trend_first as date)
        ) as first_day,
        case
            when apps.is_configured then cast($last as date)
            else max(days.loss_date)
        end as last_day
    from apps
    left join push_loss_days as days
        on
            apps.sdk_app_id = days.sdk_app_id
            and days.loss_date <= cast($last as date)
    where apps.is_configured or apps.first_date is not null
    group by
        apps.sdk_app_id,
        apps.app,
        apps.first_date,
        apps.is_configured

),

calendar as (

    select
        sdk_app_id,
        app,
        cast(
            unnest(
                generate_series(first_day, last_day, interval 1 day)
            ) as date
        ) as loss_date
    from app_spans

)

select
    calendar.app,
    calendar.loss_date,
    coalesce(days.state, 'never asked') as state,
    coalesce(days.is_young, false) as is_young,
    counts.ready_to_send_count,
    counts.post_send_delivered_count,
    days.error_code,
    days.error_info
from calendar
left join push_loss_days as days
    on
        calendar.sdk_app_id = days.sdk_app_id
        and calendar.loss_date = days.loss_date
left join push_loss_by_app as counts
    on
        calendar.sdk_app_id = counts.sdk_app_id
        and calendar.loss_date = counts.loss_date
order by calendar.app, calendar.loss_date
