-- Days without an accepted answer, and why: from the first day of an app that the API
-- was asked for in time, or that has an accepted answer (`apps.first_date`), to the
-- newest day of any app, or to the newest of its own where it is no longer
-- configured; and each other day that it was asked for too late. A day in state
-- `never asked` was never asked for; others tell until when the API can still be asked.
-- Grain: one row per loss_date, sdk_app_id.
-- Reads: push_loss_days, apps.

with newest_day as (

    select max(loss_date) as loss_date
    from push_loss_days

),

app_spans as (

    select
        apps.sdk_app_id,
        apps.app,
        apps.first_date,
        case
            when apps.is_configured then any_value(newest_day.loss_date)
            else max(days.loss_date)
        end as last_date
    from push_loss_days as days
    inner join apps
        on days.sdk_app_id = apps.sdk_app_id
    cross join newest_day
    group by apps.sdk_app_id, apps.app, apps.first_date, apps.is_configured

),

calendar as (

    select
        sdk_app_id,
        app,
        cast(
            unnest(generate_series(first_date, last_date, interval 1 day)) as date
        ) as loss_date
    from app_spans
    union
    select
        apps.sdk_app_id,
        apps.app,
        days.loss_date
    from push_loss_days as days
    inner join apps
        on days.sdk_app_id = apps.sdk_app_id
    where
        days.revision = 0
        and (apps.is_configured or apps.first_date is not null)

)

select
    calendar.loss_date,
    calendar.sdk_app_id,
    calendar.app,
    coalesce(days.state, 'never asked') as state,
    days.expires_at,
    days.error_code,
    days.error_info
from calendar
left join push_loss_days as days
    on
        calendar.loss_date = days.loss_date
        and calendar.sdk_app_id = days.sdk_app_id
where coalesce(days.revision, 0) = 0
