-- Codes that came, came back or went, from $map_first to $last.
-- Grain: one row per app, stage, platform, err_code, event, loss_date.
-- Reads: push_loss_code_events.

select
    app,
    loss_date,
    event,
    stage,
    platform,
    err_code,
    meaning,
    category,
    owner,
    action,
    lost_count
from push_loss_code_events
where loss_date between cast($map_first as date) and cast($last as date)
order by
    loss_date desc,
    lost_count desc,
    app asc,
    platform asc,
    err_code asc,
    stage asc,
    event asc
