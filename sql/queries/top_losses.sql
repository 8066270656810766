-- The codes that lose most, platform by platform, five for each app.
-- Grain: one row per app, stage, platform, err_code.
-- Reads: push_loss.

with code_counts as (

    select
        app,
        stage,
        platform,
        err_code,
        arg_max(err_info, err_count) as err_info,
        sum(err_count) as lost_count
    from push_loss
    where scope = 'platform' and loss_date between $first and $last
    group by
        app,
        stage,
        platform,
        err_code

)

select
    app,
    stage,
    platform,
    err_code,
    err_info,
    cast(lost_count as bigint) as lost_count,
    round(
        100 * lost_count / nullif(sum(lost_count) over (partition by app), 0), 1
    ) as share_percent
from code_counts
qualify row_number() over (partition by app order by lost_count desc) <= 5
order by app asc, lost_count desc
