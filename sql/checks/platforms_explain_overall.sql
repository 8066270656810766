-- The platforms' losses come near the overall ones, stage by stage: not above
-- them, and not below half. The rest (residual) is normal in the API's answers.
-- Severity: warn.
-- Reads: push_loss.

with stage_counts as (

    select
        app,
        stage,
        sum(case when scope = 'overall' then err_count else 0 end)
            as overall_count,
        sum(case when scope = 'platform' then err_count else 0 end)
            as platform_count
    from push_loss
    where loss_date = $day
    group by app, stage

)

select
    app,
    stage,
    cast(overall_count as bigint) as overall_count,
    cast(platform_count as bigint) as platform_count,
    cast(overall_count - platform_count as bigint) as residual_count
from stage_counts
where platform_count > overall_count or platform_count * 2 < overall_count
