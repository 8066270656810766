-- A row counts at least one loss.
-- Severity: fail.
-- Reads: push_loss.

select
    app,
    stage,
    scope,
    platform,
    err_code,
    err_count
from push_loss
where loss_date = $day and err_count <= 0
