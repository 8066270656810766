-- Codes that the catalogue does not hold, met from $map_first to $last.
-- Grain: one row per app (NULL: all together), stage, platform, err_code.
-- Reads: push_loss_by_code.

select
    app,
    stage,
    platform,
    err_code,
    coalesce(arg_max(err_info, lost_count), '') as err_info,
    cast(sum(lost_count) as bigint) as lost_count,
    max(loss_date) as last_date
from push_loss_by_code
where
    category = 'unknown'
    and loss_date between cast($map_first as date) and cast($last as date)
group by
    grouping sets (
        (app, stage, platform, err_code),
        (stage, platform, err_code)
    )
order by app asc nulls first, lost_count desc, platform asc, err_code asc
