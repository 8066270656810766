-- Codes met for the first time with at least $least losses, and counts out of their
-- usual range, of configured apps, from $first to $last.
-- Grain: one row per kind, app, loss_date, stage, platform, err_code.
-- Reads: push_loss_code_events, push_loss_anomalies, apps.

with new_codes as (

    select
        'new_code' as kind,
        sdk_app_id,
        loss_date,
        stage,
        platform,
        err_code,
        meaning,
        owner,
        action,
        lost_count,
        0 as expected_count,
        false as is_drop
    from push_loss_code_events
    where event = 'first_seen' and lost_count >= $least

),

anomalies as (

    select
        'anomaly' as kind,
        sdk_app_id,
        loss_date,
        stage,
        platform,
        err_code,
        meaning,
        owner,
        action,
        lost_count,
        expected_count,
        direction = 'drop' as is_drop
    from push_loss_anomalies

),

told as (

    select * from new_codes
    union all
    select * from anomalies

)

select
    told.kind,
    told.sdk_app_id,
    apps.app,
    told.loss_date,
    coalesce(told.stage, '') as stage,
    coalesce(told.platform, '') as platform,
    coalesce(told.err_code, '') as err_code,
    coalesce(told.meaning, '') as meaning,
    coalesce(told.owner, '') as owner,
    coalesce(told.action, '') as action,
    told.lost_count,
    told.expected_count,
    told.is_drop
from told
inner join apps
    on told.sdk_app_id = apps.sdk_app_id
where
    apps.is_configured
    and told.loss_date between cast($first as date) and cast($last as date)
order by
    told.loss_date asc,
    apps.app asc,
    abs(told.lost_count - told.expected_count) desc,
    told.stage asc,
    told.platform asc,
    told.err_code asc
