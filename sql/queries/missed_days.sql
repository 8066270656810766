-- Days that nobody asked for while the API told of them: of each configured app those
-- after its first answer and before $askable_first, without an entry in the record.
-- Grain: one row per sdk_app_id, loss_date.
-- Reads: apps, push_loss_days.

with first_days as (

    select
        apps.sdk_app_id,
        min(days.loss_date) as first_date
    from apps
    inner join push_loss_days as days
        on apps.sdk_app_id = days.sdk_app_id
    where
        apps.is_configured
        and (days.state <> 'expired' or days.revision > 0)
    group by apps.sdk_app_id

),

calendar as (

    select
        sdk_app_id,
        cast(
            unnest(
                generate_series(first_date, $askable_first - 1, interval 1 day)
            ) as date
        ) as loss_date
    from first_days

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
