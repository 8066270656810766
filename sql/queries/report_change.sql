-- What changed from $first to $last against as many days before, cell by cell.
-- Grain: one row per app (NULL: all together), stage, platform, err_code.
-- Reads: push_loss_change.

select
    app,
    stage,
    coalesce(platform, '') as platform,
    err_code,
    coalesce(any_value(meaning), '') as meaning,
    coalesce(any_value(category), '') as category,
    coalesce(any_value(owner), '') as owner,
    coalesce(any_value(action), '') as action,
    cast(sum(before_count) as bigint) as before_count,
    cast(sum(after_count) as bigint) as after_count
from push_loss_change(cast($first as date), cast($last as date))
group by
    grouping sets (
        (app, stage, platform, err_code),
        (stage, platform, err_code)
    )
order by
    app asc nulls first,
    abs(sum(change_count)) desc,
    stage asc,
    platform asc nulls last,
    err_code asc
