-- A day in figures, all apps together: what the UI shows beside a partition. A sum that
-- no BIGINT holds is shown as the widest one: one app's absurd counts stop no load.
-- Grain: one row.
-- Reads: push_loss, push_loss_days.

select
    count(*) as row_count,
    cast(
        least(
            coalesce(
                sum(err_count) filter (
                    where scope = 'overall' and stage = 'ready_to_send'
                ),
                0
            ),
            9223372036854775807
        ) as bigint
    ) as ready_to_send_count,
    cast(
        least(
            coalesce(
                sum(err_count) filter (
                    where scope = 'overall' and stage = 'post_send_delivered'
                ),
                0
            ),
            9223372036854775807
        ) as bigint
    ) as post_send_delivered_count,
    cast(
        greatest(
            least(
                coalesce(
                    sum(case when scope = 'overall' then err_count else -err_count end),
                    0
                ),
                9223372036854775807
            ),
            -9223372036854775807
        ) as bigint
    ) as residual_count,
    (
        select count(*)
        from push_loss_days as days
        where days.loss_date = $day and days.is_young
    ) as young_app_count
from push_loss
where loss_date = $day
