-- Codes of which nobody knows the meaning yet (category unknown), and what they cost:
-- the work list for error_codes.csv. The share is of all losses of the platform; a
-- day is counted once for each app.
-- Grain: one row per stage, platform_id, err_code.
-- Reads: push_loss (scope platform), error_codes.

with platform_totals as (

    select
        platform_id,
        sum(err_count) as lost_count
    from push_loss
    where scope = 'platform'
    group by platform_id

),

text_totals as (

    select
        losses.stage,
        losses.platform_id,
        losses.platform,
        losses.err_code,
        losses.err_info,
        codes.resolved_by,
        min(losses.loss_date) as first_date,
        max(losses.loss_date) as last_date,
        -- a code comes with one text on an app's day
        count(*) as day_count,
        sum(losses.err_count) as lost_count
    from push_loss as losses
    inner join error_codes as codes
        on
            losses.stage = codes.stage
            and losses.platform = codes.platform
            and losses.err_code = codes.err_code
    where losses.scope = 'platform' and codes.category = 'unknown'
    group by
        losses.stage,
        losses.platform_id,
        losses.platform,
        losses.err_code,
        losses.err_info,
        codes.resolved_by

),

code_totals as (

    select
        stage,
        platform_id,
        platform,
        err_code,
        resolved_by,
        any_value(err_info order by lost_count desc, err_info asc) as err_info,
        min(first_date) as first_date,
        max(last_date) as last_date,
        sum(day_count) as day_count,
        sum(lost_count) as lost_count
    from text_totals
    group by
        stage,
        platform_id,
        platform,
        err_code,
        resolved_by

)

select
    code_totals.stage,
    code_totals.platform_id,
    code_totals.platform,
    code_totals.err_code,
    code_totals.err_info,
    code_totals.resolved_by,
    code_totals.first_date,
    code_totals.last_date,
    cast(code_totals.day_count as bigint) as day_count,
    cast(code_totals.lost_count as bigint) as lost_count,
    code_totals.lost_count / nullif(platform_totals.lost_count, 0)
        as share_of_platform
from code_totals
inner join platform_totals
    on code_totals.platform_id = platform_totals.platform_id
