-- The few codes that make most of an app's losses, over its newest 28 calendar days,
-- counted back from its newest known day: greatest first by position, with the share
-- of each and of all down to it.
-- Grain: one row per sdk_app_id, stage, platform_id, err_code.
-- Reads: push_loss (scope platform), push_loss_days, apps, error_codes.

with newest_days as (

    select
        sdk_app_id,
        max(loss_date) as loss_date
    from push_loss_days
    where revision > 0
    group by sdk_app_id

),

counted_days as (

    select
        days.sdk_app_id,
        days.loss_date
    from push_loss_days as days
    inner join newest_days
        on
            days.sdk_app_id = newest_days.sdk_app_id
            and days.loss_date > newest_days.loss_date - 28
    where days.revision > 0

),

code_totals as (

    select
        losses.sdk_app_id,
        losses.stage,
        losses.platform_id,
        losses.err_code,
        any_value(losses.platform) as platform,
        sum(losses.err_count) as lost_count
    from push_loss as losses
    inner join counted_days
        on
            losses.sdk_app_id = counted_days.sdk_app_id
            and losses.loss_date = counted_days.loss_date
    where losses.scope = 'platform'
    group by
        losses.sdk_app_id,
        losses.stage,
        losses.platform_id,
        losses.err_code

),

ranked_codes as (

    select
        *,
        row_number() over greatest_first as position,
        sum(lost_count) over greatest_first as cumulative_count,
        sum(lost_count) over (partition by sdk_app_id) as app_count
    from code_totals
    window greatest_first as (
        partition by sdk_app_id
        order by
            lost_count desc,
            stage asc,
            platform_id asc,
            err_code asc
        rows unbounded preceding
    )

)

select
    ranked.sdk_app_id,
    apps.app,
    ranked.position,
    ranked.stage,
    ranked.platform_id,
    ranked.platform,
    ranked.err_code,
    codes.meaning,
    codes.category,
    codes.owner,
    codes.action,
    cast(ranked.lost_count as bigint) as lost_count,
    ranked.lost_count / nullif(ranked.app_count, 0) as share,
    ranked.cumulative_count / nullif(ranked.app_count, 0) as cumulative_share
from ranked_codes as ranked
inner join apps
    on ranked.sdk_app_id = apps.sdk_app_id
inner join error_codes as codes
    on
        ranked.stage = codes.stage
        and ranked.platform = codes.platform
        and ranked.err_code = codes.err_code
