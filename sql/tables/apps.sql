-- Applications that are configured or have ever been loaded. One that is no longer
-- configured and never had an accepted answer has no first day: nothing is missed.
-- Grain: one row per sdk_app_id.
-- Reads: configured_apps, day_entries.

with first_days as (

    select
        sdk_app_id,
        min(loss_date) as first_date
    from day_entries
    where state <> 'expired' or revision > 0
    group by sdk_app_id

)

select
    configured.sdk_app_id,
    configured.app,
    true as is_configured,
    configured.base_url,
    first_days.first_date
from configured_apps as configured
left join first_days
    on configured.sdk_app_id = first_days.sdk_app_id

union all

select
    known.sdk_app_id,
    arg_max(known.app, known.fetched_at) as app,
    false as is_configured,
    null as base_url,
    case when max(known.revision) > 0 then any_value(first_days.first_date) end
        as first_date
from day_entries as known
left join first_days
    on known.sdk_app_id = first_days.sdk_app_id
left join configured_apps as configured
    on known.sdk_app_id = configured.sdk_app_id
where configured.sdk_app_id is null
group by known.sdk_app_id
