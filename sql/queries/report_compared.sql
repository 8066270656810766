-- On how many days each app can be compared, and on how many it should be.
-- Grain: one row per app.
-- Reads: push_loss_days.

with known as (

    select
        sdk_app_id,
        loss_date
    from push_loss_days
    where revision > 0

),

pairs as (

    select
        later.sdk_app_id,
        count(*) as compared_days
    from known as later
    inner join known as earlier
        on
            later.sdk_app_id = earlier.sdk_app_id
            and earlier.loss_date = later.loss_date - cast($period_days as integer)
    where later.loss_date between cast($first as date) and cast($last as date)
    group by later.sdk_app_id

)

select
    arg_max(days.app, days.loss_date) as app,
    coalesce(any_value(pairs.compared_days), 0) as compared_days,
    cast($period_days as bigint) as wanted_days
from push_loss_days as days
left join pairs
    on days.sdk_app_id = pairs.sdk_app_id
where days.loss_date <= cast($last as date)
group by days.sdk_app_id
order by arg_max(days.app, days.loss_date)
