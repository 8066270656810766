-- What is known of each app and day that was ever asked for, as of $now.
-- A day whose asking failed and that the API has forgotten since is what its last
-- accepted answer made it, or expired.
-- A day is young while it was last asked at an age at which counts have not settled:
-- before the first one from which on half of the days have reached $settled_share of
-- their final losses, stage by stage. Where the ages are not measured on as many app
-- days as $measured_days each, that is $settling_days.
-- Grain: one row per sdk_app_id, loss_date.
-- Reads: day_entries, day_bounds, asked_ages, push_loss_maturity, apps.

with stage_ages as (

    select
        stage,
        age_days,
        share_median >= $settled_share as is_settled,
        day_count >= $measured_days as is_measured
    from push_loss_maturity
    where scope = 'overall'

),

settling as (

    select
        case
            when
                bool_and(is_measured)
                and count(*) = count(distinct stage) * (max(age_days) + 1)
                then coalesce(max(age_days) filter (where not is_settled) + 1, 0)
            else $settling_days
        end as age_days
    from stage_ages

),

last_ages as (

    select
        sdk_app_id,
        loss_date,
        max(age_days) as age_days,
        max(age_count) - 1 as last_age
    from asked_ages
    group by sdk_app_id, loss_date

),

entries as (

    select
        day_entries.*,
        bounds.ended_at,
        bounds.expires_at,
        day_entries.revision > 0
        and coalesce(
            last_ages.age_days < least(settling.age_days, last_ages.last_age),
            true
        ) as is_young,
        day_entries.state in ('failed', 'refused')
        and bounds.expires_at <= $now as is_forgotten
    from day_entries
    inner join day_bounds as bounds
        on day_entries.loss_date = bounds.loss_date
    cross join settling
    left join last_ages
        on
            day_entries.sdk_app_id = last_ages.sdk_app_id
            and day_entries.loss_date = last_ages.loss_date

)

select
    entries.sdk_app_id,
    apps.app,
    entries.loss_date,
    case
        when not entries.is_forgotten then entries.state
        when entries.revision = 0 then 'expired'
        when entries.row_count = 0 then 'empty'
        else 'loaded'
    end as state,
    entries.revision,
    entries.row_count,
    entries.overall_count,
    entries.fetched_at,
    entries.ended_at,
    entries.expires_at,
    entries.is_young,
    case
        when not entries.is_forgotten or entries.revision = 0
            then entries.error_code
    end as error_code,
    case
        when not entries.is_forgotten or entries.revision = 0
            then entries.error_info
    end as error_info,
    entries.envelope,
    entries.warnings
from entries
inner join apps
    on entries.sdk_app_id = apps.sdk_app_id
