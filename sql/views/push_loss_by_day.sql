-- Lost messages per day, all apps together. An app without an accepted answer adds
-- nothing and is counted in missing_app_count: one that has been asked for in time
-- (`apps.first_date`) on or before the day and, where it is no longer configured, on
-- or after it. A day that is known of no app has no row.
-- Grain: one row per loss_date.
-- Reads: push_loss (scope overall), push_loss_days, apps.

with known_days as (

    select
        loss_date,
        count(*) as app_count,
        bool_or(is_young) as is_young
    from push_loss_days
    where revision > 0
    group by loss_date

),

app_spans as (

    select
        apps.sdk_app_id,
        apps.first_date,
        case when not apps.is_configured then max(days.loss_date) end as last_date
    from push_loss_days as days
    inner join apps
        on days.sdk_app_id = apps.sdk_app_id
    group by apps.sdk_app_id, apps.first_date, apps.is_configured

),

expected_apps as (

    select
        known_days.loss_date,
        count(*) as app_count
    from known_days
    inner join app_spans
        on
            known_days.loss_date >= app_spans.first_date
            and known_days.loss_date <= coalesce(
                app_spans.last_date, known_days.loss_date
            )
    group by known_days.loss_date

),

day_totals as (

    select
        loss_date,
        sum(err_count) as lost_count,
        sum(err_count) filter (where stage = 'ready_to_send')
            as ready_to_send_count,
        sum(err_count) filter (where stage = 'post_send_delivered')
            as post_send_delivered_count
    from push_loss
    where scope = 'overall'
    group by loss_date

)

select
    known_days.loss_date,
    known_days.app_count,
    expected_apps.app_count - known_days.app_count as missing_app_count,
    known_days.is_young,
    cast(coalesce(day_totals.lost_count, 0) as bigint) as lost_count,
    cast(coalesce(day_totals.ready_to_send_count, 0) as bigint)
        as ready_to_send_count,
    cast(coalesce(day_totals.post_send_delivered_count, 0) as bigint)
        as post_send_delivered_count,
    coalesce(day_totals.ready_to_send_count, 0)
    / nullif(day_totals.lost_count, 0) as share_ready_to_send
from known_days
inner join expected_apps
    on known_days.loss_date = expected_apps.loss_date
left join day_totals
    on known_days.loss_date = day_totals.loss_date
