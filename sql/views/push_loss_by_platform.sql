-- Lost messages per day, app and platform (push vendor), and the platform's share of
-- what all platforms of the app lost that day. A platform without losses has no row.
-- Grain: one row per loss_date, sdk_app_id, platform_id.
-- Reads: push_loss (scope platform), push_loss_days, apps.

with platform_totals as (

    select
        loss_date,
        sdk_app_id,
        platform_id,
        any_value(platform) as platform,
        sum(err_count) as lost_count,
        sum(err_count) filter (where stage = 'ready_to_send')
            as ready_to_send_count,
        sum(err_count) filter (where stage = 'post_send_delivered')
            as post_send_delivered_count
    from push_loss
    where scope = 'platform'
    group by loss_date, sdk_app_id, platform_id

)

select
    totals.loss_date,
    totals.sdk_app_id,
    apps.app,
    totals.platform_id,
    totals.platform,
    days.is_young,
    cast(totals.lost_count as bigint) as lost_count,
    cast(coalesce(totals.ready_to_send_count, 0) as bigint) as ready_to_send_count,
    cast(coalesce(totals.post_send_delivered_count, 0) as bigint)
        as post_send_delivered_count,
    totals.lost_count
    / nullif(
        sum(totals.lost_count) over (
            partition by totals.loss_date, totals.sdk_app_id
        ),
        0
    ) as share_of_day
from platform_totals as totals
inner join push_loss_days as days
    on
        totals.loss_date = days.loss_date
        and totals.sdk_app_id = days.sdk_app_id
inner join apps
    on totals.sdk_app_id = apps.sdk_app_id
