-- What the overall losses hold beyond those of the platforms, per day, app and stage:
-- losses that the vendor puts down to no platform. A small residual is normal.
-- Grain: one row per loss_date, sdk_app_id, stage.
-- Reads: push_loss (both scopes, side by side), push_loss_days, apps.

with stages as (

    select unnest(['ready_to_send', 'post_send_delivered']) as stage

),

stage_totals as (

    select
        loss_date,
        sdk_app_id,
        stage,
        coalesce(sum(err_count) filter (where scope = 'overall'), 0)
            as overall_count,
        coalesce(sum(err_count) filter (where scope = 'platform'), 0)
            as platform_count
    from push_loss
    group by loss_date, sdk_app_id, stage

)

select
    days.loss_date,
    days.sdk_app_id,
    apps.app,
    stages.stage,
    days.is_young,
    cast(coalesce(totals.overall_count, 0) as bigint) as overall_count,
    cast(coalesce(totals.platform_count, 0) as bigint) as platform_count,
    cast(coalesce(totals.overall_count - totals.platform_count, 0) as bigint)
        as residual_count,
    (totals.overall_count - totals.platform_count)
    / nullif(totals.overall_count, 0) as residual_share
from push_loss_days as days
inner join apps
    on days.sdk_app_id = apps.sdk_app_id
cross join stages
left join stage_totals as totals
    on
        days.loss_date = totals.loss_date
        and days.sdk_app_id = totals.sdk_app_id
        and stages.stage = totals.stage
where days.revision > 0
