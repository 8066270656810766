-- Applications that are configured or have ever been loaded.
-- Grain: one row per sdk_app_id.
-- Reads: configured_apps, day_entries.

select
    sdk_app_id,
    app,
    true as is_configured,
    base_url
from configured_apps

union all

select
    known.sdk_app_id,
    arg_max(known.app, known.fetched_at) as app,
    false as is_configured,
    null as base_url
from day_entries as known
left join configured_apps as configured
    on known.sdk_app_id = configured.sdk_app_id
where configured.sdk_app_id is null
group by known.sdk_app_id
