-- What made an app's losses change from one week to the next: each day against the
-- same weekday a week before, only where both are known, cell by cell. The cells of a
-- week add up exactly to the change of the overall losses over these days: what no
-- platform explains is a cell per stage and code without a platform (residual). Where
-- is_young, a compared day was last asked too early: its losses are too low.
-- Grain: one row per sdk_app_id, week_start, stage, platform_id, err_code.
-- Reads: push_loss (both scopes, side by side), push_loss_days, apps, error_codes.

with day_pairs as (

    select
        later.sdk_app_id,
        later.loss_date as after_date,
        earlier.loss_date as before_date,
        cast(date_trunc('week', later.loss_date) as date) as week_start,
        later.is_young or earlier.is_young as is_young
    from push_loss_days as later
    inner join push_loss_days as earlier
        on
            later.sdk_app_id = earlier.sdk_app_id
            and later.loss_date - 7 = earlier.loss_date
    where later.revision > 0 and earlier.revision > 0

),

weeks as (

    select
        sdk_app_id,
        week_start,
        bool_or(is_young) as is_young,
        count(*) as compared_days
    from day_pairs
    group by sdk_app_id, week_start

),

compared_days as (

    select
        sdk_app_id,
        week_start,
        before_date as loss_date,
        1 as before_weight,
        0 as after_weight
    from day_pairs
    union all
    select
        sdk_app_id,
        week_start,
        after_date as loss_date,
        0 as before_weight,
        1 as after_weight
    from day_pairs

),

scope_cells as (

    select
        days.sdk_app_id,
        days.week_start,
        losses.stage,
        losses.platform_id,
        losses.err_code,
        any_value(losses.platform) as platform,
        sum(losses.err_count * days.before_weight) as before_count,
        sum(losses.err_count * days.after_weight) as after_count
    from push_loss as losses
    inner join compared_days as days
        on
            losses.sdk_app_id = days.sdk_app_id
            and losses.loss_date = days.loss_date
    group by
        days.sdk_app_id,
        days.week_start,
        losses.stage,
        losses.platform_id,
        losses.err_code

),

cells as (

    select
        sdk_app_id,
        week_start,
        stage,
        platform_id,
        platform,
        err_code,
        before_count,
        after_count
    from scope_cells
    where platform_id is not null
    union all
    select
        sdk_app_id,
        week_start,
        stage,
        null as platform_id,
        null as platform,
        err_code,
        sum(case when platform_id is null then before_count else -before_count end)
            as before_count,
        sum(case when platform_id is null then after_count else -after_count end)
            as after_count
    from scope_cells
    group by sdk_app_id, week_start, stage, err_code

),

week_changes as (

    select
        sdk_app_id,
        week_start,
        sum(after_count - before_count) filter (where platform_id is null)
            as change_count
    from scope_cells
    group by sdk_app_id, week_start

)

select
    cells.sdk_app_id,
    apps.app,
    cells.week_start,
    cells.stage,
    cells.platform_id,
    cells.platform,
    cells.err_code,
    codes.meaning,
    codes.category,
    codes.owner,
    weeks.is_young,
    weeks.compared_days,
    cast(cells.before_count as bigint) as before_count,
    cast(cells.after_count as bigint) as after_count,
    cast(cells.after_count - cells.before_count as bigint) as change_count,
    (cells.after_count - cells.before_count)
    / nullif(week_changes.change_count, 0) as share_of_change
from cells
inner join weeks
    on
        cells.sdk_app_id = weeks.sdk_app_id
        and cells.week_start = weeks.week_start
inner join week_changes
    on
        cells.sdk_app_id = week_changes.sdk_app_id
        and cells.week_start = week_changes.week_start
inner join apps
    on cells.sdk_app_id = apps.sdk_app_id
left join error_codes as codes
    on
        cells.stage = codes.stage
        and cells.platform = codes.platform
        and cells.err_code = codes.err_code
where cells.before_count <> 0 or cells.after_count <> 0
