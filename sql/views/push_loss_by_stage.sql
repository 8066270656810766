-- Lost messages per day, app and stage, and the stage's share of the app's day.
-- Both stages stand on every known day, with 0 where nothing was lost.
-- Grain: one row per loss_date, sdk_app_id, stage.
-- Reads: push_loss (scope overall), push_loss_days, apps.

with stages as (

    select unnest(['ready_to_send', 'post_send_delivered']) as stage

),

stage_totals as (

    select
        loss_date,
        sdk_app_id,
        stage,
        sum(err_count) as lost_count
    from push_loss
    where scope = 'overall'
    group by loss_date, sdk_app_id, stage

)

select
    days.loss_date,
    days.sdk_app_id,
    apps.app,
    stages.stage,
    days.is_young,
    cast(coalesce(stage_totals.lost_count, 0) as bigint) as lost_count,
    coalesce(stage_totals.lost_count, 0)
    / nullif(
        sum(stage_totals.lost_count) over (
            partition by days.loss_date, days.sdk_app_id
        ),
        0
    ) as share_of_day
from push_loss_days as days
inner join apps
    on days.sdk_app_id = apps.sdk_app_id
cross join stages
left join stage_totals
    on
        days.loss_date = stage_totals.loss_date
        and days.sdk_app_id = stage_totals.sdk_app_id
        and stages.stage = stage_totals.stage
where days.revision > 0
