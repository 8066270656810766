-- Counts out of their usual range, from $map_first to $last.
-- Grain: one row per app, loss_date, level, stage, platform, err_code.
-- Reads: push_loss_anomalies.

select
    app,
    loss_date,
    level,
    coalesce(stage, '') as stage,
    coalesce(platform, '') as platform,
    coalesce(err_code, '') as err_code,
    coalesce(meaning, '') as meaning,
    coalesce(category, '') as category,
    coalesce(owner, '') as owner,
    coalesce(action, '') as action,
    direction,
    lost_count,
    expected_count,
    score,
    is_young
from push_loss_anomalies
where loss_date between cast($map_first as date) and cast($last as date)
order by
    loss_date desc,
    abs(excess_count) desc,
    app asc,
    stage asc,
    platform asc,
    err_code asc
