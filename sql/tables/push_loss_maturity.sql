-- How much of what is known of a day in the end was known at each age of it, from the
-- stored revisions of the newest 90 days that are final: the API has forgotten them,
-- and told of them at their last age. An app's day counts at the ages at which the app
-- was asked, and where it lost 20 messages or more in the end.
-- Grain: one row per stage, scope, platform_id, age_days.
-- Reads: push_loss_history, asked_ages.

with final_days as (

    select
        sdk_app_id,
        loss_date,
        revision
    from asked_ages
    where is_forgotten and age_days = age_count - 1

),

newest_days as (

    select
        sdk_app_id,
        loss_date,
        revision
    from final_days
    qualify loss_date > max(loss_date) over () - 90

),

revision_counts as (

    select
        history.sdk_app_id,
        history.loss_date,
        history.revision,
        history.stage,
        history.scope,
        history.platform_id,
        any_value(history.platform) as platform,
        sum(history.err_count) as lost_count
    from push_loss_history as history
    inner join newest_days as days
        on
            history.sdk_app_id = days.sdk_app_id
            and history.loss_date = days.loss_date
    group by
        history.sdk_app_id,
        history.loss_date,
        history.revision,
        history.stage,
        history.scope,
        history.platform_id

),

final_counts as (

    select counts.*
    from revision_counts as counts
    inner join newest_days as days
        on
            counts.sdk_app_id = days.sdk_app_id
            and counts.loss_date = days.loss_date
            and counts.revision = days.revision
    where counts.lost_count >= 20

),

reached as (

    select
        final.stage,
        final.scope,
        final.platform_id,
        final.platform,
        ages.age_days,
        final.lost_count as final_count,
        coalesce(counts.lost_count, 0) as reached_count
    from final_counts as final
    inner join asked_ages as ages
        on
            final.sdk_app_id = ages.sdk_app_id
            and final.loss_date = ages.loss_date
    left join revision_counts as counts
        on
            final.sdk_app_id = counts.sdk_app_id
            and final.loss_date = counts.loss_date
            and ages.revision = counts.revision
            and final.stage = counts.stage
            and final.scope = counts.scope
            and final.platform_id is not distinct from counts.platform_id

)

select
    stage,
    scope,
    platform_id,
    any_value(platform) as platform,
    age_days,
    count(*) as day_count,
    cast(least(sum(final_count), 9223372036854775807) as bigint) as final_count,
    sum(reached_count) / sum(final_count) as share_reached,
    quantile_cont(reached_count / final_count, 0.1) as share_low,
    quantile_cont(reached_count / final_count, 0.5) as share_median,
    quantile_cont(reached_count / final_count, 0.9) as share_high
from reached
group by stage, scope, platform_id, age_days
