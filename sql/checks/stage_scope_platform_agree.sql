-- Stage and scope are known words, and a platform is named exactly where the scope
-- is platform, by the name that goes with its number.
-- Severity: fail.
-- Reads: push_loss, platforms.

select
    losses.app,
    losses.stage,
    losses.scope,
    losses.platform_id,
    losses.platform,
    losses.err_code
from push_loss as losses
left join platforms
    on losses.platform_id = platforms.platform_id
where
    losses.loss_date = $day
    and (
        losses.stage not in ('ready_to_send', 'post_send_delivered')
        or losses.scope not in ('overall', 'platform')
        or (losses.scope = 'platform') <> (losses.platform_id is not null)
        or losses.platform is distinct from case
            when losses.platform_id is null then null
            else coalesce(
                platforms.platform, concat('platform_', losses.platform_id)
            )
        end
    )
