-- Days that files new to this one tell of, other than by the entry it knows.
-- Grain: one row per sdk_app_id, loss_date.
-- Reads: push_loss_revisions, day_entries.

with newest as (

    select
        sdk_app_id,
        loss_date,
        max(entry_key) as entry_key
    from push_loss_revisions
    group by sdk_app_id, loss_date

)

select
    newest.sdk_app_id,
    newest.loss_date
from newest
left join day_entries
    on
        newest.sdk_app_id = day_entries.sdk_app_id
        and newest.loss_date = day_entries.loss_date
where newest.entry_key is distinct from day_entries.entry_key
