-- No stage, platform and code came twice in one answer (they were added up).
-- Severity: warn.
-- Reads: push_loss_days.

with warned as (

    select
        app,
        unnest(warnings) as warning
    from push_loss_days
    where loss_date = $day

)

select
    app,
    warning
from warned
where starts_with(warning, 'duplicate_row:')
