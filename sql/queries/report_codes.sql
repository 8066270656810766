-- What each code lost from $first to $last, and in as many days before.
-- Grain: one row per app (NULL: all together), stage, platform, err_code.
-- Reads: push_loss_by_code.

with code_counts as (

    select
        app,
        stage,
        platform,
        err_code,
        any_value(meaning) as meaning,
        any_value(category) as category,
        any_value(owner) as owner,
        any_value(action) as action,
        sum(lost_count) filter (where loss_date >= cast($first as date))
            as lost_count,
        sum(lost_count) filter (where loss_date < cast($first as date))
            as before_count
    from push_loss_by_code
    where
        loss_date between cast($before_first as date) and cast($last as date)
    group by grouping sets (
        (app, stage, platform, err_code),
        (stage, platform, err_code)
    )

)

select
    app,
    stage,
    platform,
    err_code,
    meaning,
    category,
    owner,
    action,
    cast(coalesce(lost_count, 0) as bigint) as lost_count,
    cast(coalesce(before_count, 0) as bigint) as before_count
from code_counts
order by
    app asc nulls first,
    coalesce(lost_count, 0) desc,
    stage asc,
    platform asc,
    err_code asc
