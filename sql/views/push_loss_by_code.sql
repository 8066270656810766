-- Lost messages per day, app, stage, platform and code, with what the code means and
-- whose move it is, and the code's share of what all platforms of the app lost that
-- day.
-- Grain: one row per loss_date, sdk_app_id, stage, platform_id, err_code.
-- Reads: push_loss (scope platform), push_loss_days, apps, error_codes.

with day_totals as (

    select
        loss_date,
        sdk_app_id,
        sum(err_count) as lost_count
    from push_loss
    where scope = 'platform'
    group by loss_date, sdk_app_id

)

select
    losses.loss_date,
    losses.sdk_app_id,
    apps.app,
    losses.stage,
    losses.platform_id,
    losses.platform,
    losses.err_code,
    losses.err_info,
    codes.meaning,
    codes.category,
    codes.owner,
    codes.action,
    days.is_young,
    losses.err_count as lost_count,
    losses.err_count / nullif(day_totals.lost_count, 0) as share_of_day
from push_loss as losses
inner join day_totals
    on
        losses.loss_date = day_totals.loss_date
        and losses.sdk_app_id = day_totals.sdk_app_id
inner join push_loss_days as days
    on
        losses.loss_date = days.loss_date
        and losses.sdk_app_id = days.sdk_app_id
inner join apps
    on losses.sdk_app_id = apps.sdk_app_id
inner join error_codes as codes
    on
        losses.stage = codes.stage
        and losses.platform = codes.platform
        and losses.err_code = codes.err_code
where losses.scope = 'platform'
