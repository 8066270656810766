-- No answer waits for a decision: one without rows for a day that has rows.
-- Severity: fail.
-- Reads: push_loss_days.

select
    app,
    row_count,
    fetched_at,
    error_info
from push_loss_days
where loss_date = $day and state = 'held'
