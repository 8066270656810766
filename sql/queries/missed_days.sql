-- Days that nobody asked for while the API told of them: of each configured app those
-- after its first answer and before $askable_first, without an entry in the record.
-- Grain: one row per sdk_app_id, loss_date.
-- Reads: apps, push_loss_days.

with calendar as (

    select
        sdk_app_id,
        cast(
            unnest(
                generate_series(first_date, $askable_first - 1, interval 1 day)
            ) as date
        ) as loss_date
    from apps
    where is_configured

)

select
    calendar.sdk_app_id,
    calendar.loss_date
from calendar
anti join push_loss_days as days
    on
        calendar.sdk_app_id = days.sdk_app_id
        and calendar.loss_date = days.loss_date
order by calendar.sdk_app_id, calendar.loss_date
