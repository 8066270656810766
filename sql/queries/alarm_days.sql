-- Days of configured apps that are neither loaded nor empty, from $lost_first to $last.
-- Grain: one row per sdk_app_id, loss_date, from the app's first_date on.
-- Reads: push_loss_days, apps.

with calendar as (

    select
        sdk_app_id,
        app,
        cast(
            unnest(
                generate_series(
                    greatest(first_date, cast($lost_first as date)),
                    cast($last as date),
                    interval 1 day
                )
            ) as date
        ) as loss_date
    from apps
    where is_configured and first_date is not null

)

select
    calendar.sdk_app_id,
    calendar.app,
    calendar.loss_date,
    days.state,
    coalesce(days.revision, 0) > 0 as has_losses,
    days.error_code,
    days.error_info
from calendar
left join push_loss_days as days
    on
        calendar.sdk_app_id = days.sdk_app_id
        and calendar.loss_date = days.loss_date
where days.state is null or days.state not in ('loaded', 'empty')
order by calendar.app, calendar.loss_date
