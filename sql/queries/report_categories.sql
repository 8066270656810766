-- What each category lost from $first to $last, and in as many days before.
-- Grain: one row per app (NULL: all together), category.
-- Reads: push_loss_by_category.

select
    app,
    category as name,
    cast(
        coalesce(
            sum(lost_count) filter (where loss_date >= cast($first as date)), 0
        ) as bigint
    ) as lost_count,
    cast(
        coalesce(
            sum(lost_count) filter (where loss_date < cast($first as date)), 0
        ) as bigint
    ) as before_count
from push_loss_by_category
where loss_date between cast($before_first as date) and cast($last as date)
group by grouping sets ((app, category), (category))
order by
    app asc nulls first,
    lost_count desc,
    name asc
