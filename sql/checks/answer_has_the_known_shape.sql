-- Answers have the fields and types of the vendor's page, no more and no less.
-- Severity: warn.
-- Reads: push_loss_days.

with warned as (

    select
        app,
        envelope,
        unnest(warnings) as warning
    from push_loss_days
    where loss_date = $day

)

select
    app,
    envelope,
    warning
from warned
where
    not starts_with(warning, 'duplicate_row:')
    and not starts_with(warning, 'unknown_platform:')
