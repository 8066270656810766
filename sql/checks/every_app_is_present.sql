-- Every configured app has an accepted answer for the day.
-- Severity: fail.
-- Reads: apps, push_loss_days.

select
    apps.app,
    coalesce(days.state, 'never asked for') as state,
    days.error_code,
    days.error_info
from apps
left join push_loss_days as days
    on apps.sdk_app_id = days.sdk_app_id and days.loss_date = $day
where apps.is_configured and coalesce(days.revision, 0) = 0
