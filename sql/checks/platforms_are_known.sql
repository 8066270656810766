-- Every platform number is one of the vendor's page.
-- Severity: warn.
-- Reads: push_loss, platforms.

select
    losses.app,
    losses.platform_id,
    cast(sum(losses.err_count) as bigint) as err_count
from push_loss as losses
anti join platforms
    on losses.platform_id = platforms.platform_id
where losses.loss_date = $day and losses.scope = 'platform'
group by losses.app, losses.platform_id
