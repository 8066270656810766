-- Each app has as many rows and losses as the record's marker says.
-- Severity: fail.
-- Reads: push_loss, push_loss_days.

with loaded as (

    select
        sdk_app_id,
        count(*) as row_count,
        sum(case when scope = 'overall' then err_count else 0 end) as overall_count
    from push_loss
    where loss_date = $day
    group by sdk_app_id

),

marked as (

    select
        sdk_app_id,
        row_count,
        overall_count
    from push_loss_days
    where loss_date = $day

)

select
    coalesce(marked.sdk_app_id, loaded.sdk_app_id) as sdk_app_id,
    marked.row_count as marked_rows,
    loaded.row_count as loaded_rows,
    marked.overall_count as marked_count,
    cast(loaded.overall_count as bigint) as loaded_count
from marked
full outer join loaded
    on marked.sdk_app_id = loaded.sdk_app_id
where
    coalesce(marked.row_count, -1) <> coalesce(loaded.row_count, 0)
    or coalesce(marked.overall_count, -1) <> coalesce(loaded.overall_count, 0)
