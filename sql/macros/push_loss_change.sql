-- What made losses change from the days just before a period to the period itself,
-- first_day to last_day, both included: each day against the one as many days before
-- as the period is long, only where both are known, cell by cell. An app's cells add
-- up exactly to the change of its overall losses over these days: what no platform
-- explains is a cell per stage and code without a platform (residual). Where
-- is_young, a compared day was last asked too early: its losses are too low.
-- Parameters: first_day, last_day.
-- Grain: one row per sdk_app_id, stage, platform_id, err_code.
-- Reads: push_loss (both scopes, side by side), push_loss_days, apps, error_codes.

with period as (

    select
        cast(first_day as date) as from_date,
        cast(last_day as date) as to_date,
        date_diff('day', cast(first_day as date), cast(last_day as date)) + 1
            as length
),

day_pairs as (

    select
        later.sdk_app_id,
        later.loss_date as after_date,
        earlier.loss_date as before_date,
        later.is_young or earlier.is_young as is_young
    from period
    inner join push_loss_days as later
        on later.loss_date between period.from_date and period.to_date
    inner join push_loss_days as earlier
        on
            later.sdk_app_id = earlier.sdk_app_id
            and later.loss_date - cast(period.length as integer)
            = earlier.loss_date
    where later.revision > 0 and earlier.revision > 0

),

compared_apps as (

    select
        sdk_app_id,
        bool_or(is_young) as is_young,
        count(*) as compared_days
    from day_pairs
    group by sdk_app_id

),

compared_days as (

    select
        sdk_app_id,
        before_date as loss_date,
        1 as before_weight,
        0 as after_weight
    from day_pairs
    union all
    select
        sdk_app_id,
        after_date as loss_date,
        0 as before_weight,
        1 as after_weight
    from day_pairs

),

scope_cells as (

    select
        losses.sdk_app_id,
        losses.stage,
        losses.platform_id,
        losses.err_code,
        any_value(losses.platform) as platform,
        sum(losses.err_count * compared.before_weight) as before_count,
        sum(losses.err_count * compared.after_weight) as after_count
    from push_loss as losses
    inner join compared_days as compared
        on
            losses.sdk_app_id = compared.sdk_app_id
            and losses.loss_date = compared.loss_date
    group by
        losses.sdk_app_id,
        losses.stage,
        losses.platform_id,
        losses.err_code

),

cells as (

    select
        sdk_app_id,
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
        stage,
        null as platform_id,
        null as platform,
        err_code,
        sum(case when platform_id is null then before_count else -before_count end)
            as before_count,
        sum(case when platform_id is null then after_count else -after_count end)
            as after_count
    from scope_cells
    group by sdk_app_id, stage, err_code

),

app_changes as (

    select
        sdk_app_id,
        sum(after_count - before_count) filter (where platform_id is null)
            as change_count
    from scope_cells
    group by sdk_app_id

)

select
    cells.sdk_app_id,
    apps.app,
    cells.stage,
    cells.platform_id,
    cells.platform,
    cells.err_code,
    codes.meaning,
    codes.category,
    codes.owner,
    codes.action,
    compared.is_young,
    compared.compared_days,
    cast(cells.before_count as bigint) as before_count,
    cast(cells.after_count as bigint) as after_count,
    cast(cells.after_count - cells.before_count as bigint) as change_count,
    (cells.after_count - cells.before_count)
    / nullif(app_changes.change_count, 0) as share_of_change
from cells
inner join compared_apps as compared
    on cells.sdk_app_id = compared.sdk_app_id
inner join app_changes
    on cells.sdk_app_id = app_changes.sdk_app_id
inner join apps
    on cells.sdk_app_id = apps.sdk_app_id
left join error_codes as codes
    on
        cells.stage = codes.stage
        and cells.platform = codes.platform
        and cells.err_code = codes.err_code
where cells.before_count <> 0 or cells.after_count <> 0
