-- On how many days each configured app can be compared, and on how many it should be.
-- Grain: one row per app.
-- Reads: push_loss_days, apps.

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
    apps.app,
    coalesce(any_value(pairs.compared_days), 0) as compared_days,
    cast($period_days as bigint) as wanted_days
from push_loss_days as days
inner join apps
    on days.sdk_app_id = apps.sdk_app_id
left join pairs
    on days.sdk_app_id = pairs.sdk_app_id
where
    days.loss_date <= cast($last as date)
    and (apps.is_configured or pairs.compared_days is not null)
group by apps.sdk_app_id, apps.app
order by apps.app
