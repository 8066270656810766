-- Each stage, scope, platform and code stands once per app and day.
-- Severity: fail.
-- Reads: push_loss.

select
    sdk_app_id,
    stage,
    scope,
    platform_id,
    err_code,
    count(*) as row_count
from push_loss
where loss_date = $day
group by
    sdk_app_id,
    stage,
    scope,
    platform_id,
    err_code
having count(*) > 1
