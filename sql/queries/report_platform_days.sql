-- What each platform lost on each day, from $map_first to $last.
-- Grain: one row per app (NULL: all together), loss_date, platform.
-- Reads: push_loss_by_platform.

select
    app,
    loss_date,
    platform,
    cast(sum(lost_count) as bigint) as lost_count
from push_loss_by_platform
where loss_date between cast($map_first as date) and cast($last as date)
group by grouping sets ((app, loss_date, platform), (loss_date, platform))
order by app asc nulls first, loss_date asc, platform asc
