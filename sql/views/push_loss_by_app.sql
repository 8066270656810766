-- Lost messages per day and app, and the app's share of what all apps lost that day.
-- A known day without losses counts 0; a day that is not known has no row.
-- Grain: one row per loss_date, sdk_app_id.
-- Reads: push_loss (scope overall), push_loss_days, apps.

with app_totals as (

    select
        loss_date,
        sdk_app_id,
        sum(err_count) as lost_count,
        sum(err_count) filter (where stage = 'ready_to_send')
            as ready_to_send_count,
        sum(err_count) filter (where stage = 'post_send_delivered')
            as post_send_delivered_count
    from push_loss
    where scope = 'overall'
    group by loss_date, sdk_app_id

)

select
    days.loss_date,
    days.sdk_app_id,
    apps.app,
    days.state,
    days.is_young,
    cast(coalesce(app_totals.lost_count, 0) as bigint) as lost_count,
    cast(coalesce(app_totals.ready_to_send_count, 0) as bigint)
        as ready_to_send_count,
    cast(coalesce(app_totals.post_send_delivered_count, 0) as bigint)
        as post_send_delivered_count,
    coalesce(app_totals.lost_count, 0)
    / nullif(sum(app_totals.lost_count) over (partition by days.loss_date), 0)
        as share_of_day
from push_loss_days as days
inner join apps
    on days.sdk_app_id = apps.sdk_app_id
left join app_totals
    on
        days.loss_date = app_totals.loss_date
        and days.sdk_app_id = app_totals.sdk_app_id
where days.revision > 0
