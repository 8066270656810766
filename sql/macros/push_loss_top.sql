-- The codes that lose an app's messages, over its newest calendar days, counted back
-- from its newest known day: greatest first by position, with the share of each and
-- of all down to it. SDKAppIDs that share the app's name are added up.
-- Parameters: app_name, days.
-- Grain: one row per stage, platform_id, err_code.
-- Reads: push_loss (scope platform), push_loss_days, apps, error_codes.

with named_apps as (

    select
        sdk_app_id,
        app
    from apps
    where app = app_name

),

known_days as (

    select
        known.sdk_app_id,
        named_apps.app,
        known.loss_date,
        max(known.loss_date) over () as newest_date
    from push_loss_days as known
    inner join named_apps
        on known.sdk_app_id = named_apps.sdk_app_id
    where known.revision > 0

),

counted_days as (

    select
        sdk_app_id,
        app,
        loss_date
    from known_days
    where loss_date > newest_date - cast(days as integer)

),

code_totals as (

    select
        losses.stage,
        losses.platform_id,
        losses.err_code,
        any_value(counted_days.app) as app,
        any_value(losses.platform) as platform,
        sum(losses.err_count) as lost_count
    from push_loss as losses
    inner join counted_days
        on
            losses.sdk_app_id = counted_days.sdk_app_id
            and losses.loss_date = counted_days.loss_date
    where losses.scope = 'platform'
    group by losses.stage, losses.platform_id, losses.err_code

),

ranked_codes as (

    select
        *,
        row_number() over greatest_first as position,
        sum(lost_count) over greatest_first as cumulative_count,
        sum(lost_count) over () as app_count
    from code_totals
    window greatest_first as (
        order by
            lost_count desc,
            stage asc,
            platform_id asc,
            err_code asc
        rows unbounded preceding
    )

)

select
    ranked.app,
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
inner join error_codes as codes
    on
        ranked.stage = codes.stage
        and ranked.platform = codes.platform
        and ranked.err_code = codes.err_code
