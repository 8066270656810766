-- The days of the report, app by app, without gaps, from $trend_first to $last.
-- Grain: one row per app, loss_date, from the app's first known row on.
-- Reads: push_loss_days, push_loss_by_app.

with app_spans as (

    select
        sdk_app_id,
        arg_max(app, loss_date) as app,
        greatest(min(loss_date), cast($trend_first as date)) as first_day
    from push_loss_days
    where loss_date <= cast($last as date)
    group by sdk_app_id

),

calendar as (

    select
        sdk_app_id,
        app,
        cast(
            unnest(
                generate_series(first_day, cast($last as date), interval 1 day)
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
