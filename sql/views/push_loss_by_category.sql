-- Lost messages per day, app and category of the codes, and the category's share of
-- what all platforms of the app lost that day.
-- Grain: one row per loss_date, sdk_app_id, category.
-- Reads: push_loss (scope platform), push_loss_days, apps, error_codes.

with category_totals as (

    select
        losses.loss_date,
        losses.sdk_app_id,
        codes.category,
        sum(losses.err_count) as lost_count
    from push_loss as losses
    inner join error_codes as codes
        on
            losses.stage = codes.stage
            and losses.platform = codes.platform
            and losses.err_code = codes.err_code
    where losses.scope = 'platform'
    group by losses.loss_date, losses.sdk_app_id, codes.category

)

select
    totals.loss_date,
    totals.sdk_app_id,
    apps.app,
    totals.category,
    days.is_young,
    cast(totals.lost_count as bigint) as lost_count,
    totals.lost_count
    / nullif(
        sum(totals.lost_count) over (
            partition by totals.loss_date, totals.sdk_app_id
        ),
        0
    ) as share_of_day
from category_totals as totals
inner join push_loss_days as days
    on
        totals.loss_date = days.loss_date
        and totals.sdk_app_id = days.sdk_app_id
inner join apps
    on totals.sdk_app_id = apps.sdk_app_id
