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
    sdk_app_id,
    arg_max(app, fetched_at) as app,
    false as is_configured,
    null as base_url
from day_entries
where sdk_app_id not in (select sdk_app_id from configured_apps)
group by sdk_app_id
