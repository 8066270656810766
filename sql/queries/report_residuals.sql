-- Overall losses against those told by platform, from $first to $last.
-- Grain: one row per app (NULL: all together), stage.
-- Reads: push_loss_residual.

select
    app,
    stage,
    cast(sum(overall_count) as bigint) as overall_count,
    cast(sum(platform_count) as bigint) as platform_count
from push_loss_residual
where loss_date between cast($first as date) and cast($last as date)
group by grouping sets ((app, stage), (stage))
order by app asc nulls first, stage desc
