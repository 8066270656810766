-- Counts out of their usual range on the newest 28 days, one row for each cause.
-- Usual is the median of the square roots of the counts on the same weekday of the 8
-- weeks before: known days that are not young, 4 of them at least; a code not met
-- counts 0. The score tells how many steps away the day is. A step is the spread of
-- those roots (1.4826 MAD, or what it is on average over the week up to the day, if
-- that is more), but at least 0.5, which is pure chance, and 5 % of the usual root.
-- An alarm needs 3.5 steps for an app, 4 for a stage, 4.5 for a platform and 5 for a
-- code, as there are ever more of them; and 50 messages, and 1 % of what the app
-- usually loses. A young day has no drops: its counts are too low.
-- App and stage count scope overall, platform and code scope platform. Of alarms on
-- one path that go the same way the highest is told; but one that a single part
-- explains gives way to it: a part with 70 % of the excess, while the other parts
-- moved less than half as much in proportion, or by less than an alarm needs.
-- Grain: one row per sdk_app_id, loss_date, level, stage, platform_id, err_code.
-- Reads: push_loss, push_loss_days, apps, error_codes.

with newest as (

    select max(loss_date) as newest_date
    from push_loss_days

),

recent_days as (

    select
        days.sdk_app_id,
        days.loss_date,
        days.is_young,
        newest.newest_date - days.loss_date as age
    from push_loss_days as days
    inner join newest
        on days.loss_date > newest.newest_date - 90
    where days.revision > 0

),

recent_losses as (

    select losses.*
    from push_loss as losses
    inner join newest
        on losses.loss_date > newest.newest_date - 90

),

met as (

    select
        sdk_app_id,
        loss_date,
        1 as depth,
        null as stage,
        null as platform_id,
        null as platform,
        null as err_code,
        sum(err_count) as lost_count
    from recent_losses
    where scope = 'overall'
    group by sdk_app_id, loss_date

    union all

    select
        sdk_app_id,
        loss_date,
        2 as depth,
        stage,
        null as platform_id,
        null as platform,
        null as err_code,
        sum(err_count) as lost_count
    from recent_losses
    where scope = 'overall'
    group by sdk_app_id, loss_date, stage

    union all

    select
        sdk_app_id,
        loss_date,
        3 as depth,
        stage,
        platform_id,
        platform,
        null as err_code,
        sum(err_count) as lost_count
    from recent_losses
    where scope = 'platform'
    group by sdk_app_id, loss_date, stage, platform_id, platform

    union all

    select
        sdk_app_id,
        loss_date,
        4 as depth,
        stage,
        platform_id,
        platform,
        err_code,
        err_count as lost_count
    from recent_losses
    where scope = 'platform'

),

nodes as (

    select
        sdk_app_id,
        depth,
        stage,
        platform_id,
        platform,
        err_code,
        -- by its key: numbered by chance, each use of this would number anew
        row_number() over (
            order by sdk_app_id, depth, stage, platform_id, err_code
        ) as node
    from met
    group by
        sdk_app_id,
        depth,
        stage,
        platform_id,
        platform,
        err_code
    having max(lost_count) >= 50

),

node_counts as (

    select
        nodes.node,
        met.loss_date,
        cast(met.lost_count as bigint) as lost_count
    from met
    inner join nodes
        on
            met.sdk_app_id = nodes.sdk_app_id
            and met.depth = nodes.depth
            and met.stage is not distinct from nodes.stage
            and met.platform_id is not distinct from nodes.platform_id
            and met.err_code is not distinct from nodes.err_code

),

series as (

    select
        nodes.node,
        days.loss_date,
        days.age,
        days.is_young,
        coalesce(counts.lost_count, 0) as lost_count,
        sqrt(coalesce(counts.lost_count, 0)) as root
    from nodes
    inner join recent_days as days
        on nodes.sdk_app_id = days.sdk_app_id
    left join node_counts as counts
        on
            nodes.node = counts.node
            and days.loss_date = counts.loss_date

),

baselines as (

    select
        *,
        list(root) filter (where not is_young) over (
            partition by node, age % 7
            order by age
            range between 7 following and 56 following
        ) as past_roots
    from series

),

usuals as (

    select
        node,
        loss_date,
        age,
        is_young,
        lost_count,
        root,
        past_roots,
        list_median(past_roots) as usual_root,
        greatest(0.5, 0.05 * usual_root) as least_step
    from baselines
    where age < 34 and len(past_roots) >= 4

),

judged as (

    select
        nodes.*,
        usuals.loss_date,
        usuals.is_young,
        usuals.lost_count,
        cast(round(usuals.usual_root ^ 2) as bigint) as expected_count,
        usuals.lost_count
        - cast(round(usuals.usual_root ^ 2) as bigint) as excess_count,
        usuals.root - usuals.usual_root as distance,
        usuals.least_step
    from usuals
    inner join nodes
        on usuals.node = nodes.node
    where usuals.age < 28

),

-- The others cannot raise an alarm, however small their spread.
restless as (

    select distinct node
    from judged
    where abs(distance) >= (3 + depth / 2) * least_step

),

spreads as (

    select
        *,
        -- Few values understate their spread.
        1.4826 * list_mad(past_roots)
        * len(past_roots) / (len(past_roots) - 1) as spread
    from usuals
    where node in (select restless.node from restless)

),

steps as (

    select
        node,
        loss_date,
        greatest(
            least_step,
            spread,
            avg(spread) over (
                partition by node
                order by age
                range between current row and 6 following
            )
        ) as step
    from spreads

),

scores as (

    select
        judged.*,
        judged.distance / steps.step as score,
        sign(judged.distance) as direction,
        greatest(50, 0.01 * app.expected_count) as least_excess
    from judged
    inner join steps
        on
            judged.node = steps.node
            and judged.loss_date = steps.loss_date
    left join judged as app
        on
            judged.sdk_app_id = app.sdk_app_id
            and judged.loss_date = app.loss_date
            and app.depth = 1

),

anomalies as (

    select *
    from scores
    where
        abs(score) >= 3 + depth / 2
        and abs(excess_count) >= least_excess
        and (direction > 0 or not is_young)

),

families as (

    select
        sdk_app_id,
        loss_date,
        depth,
        stage,
        platform_id,
        sum(expected_count) as expected_count,
        sum(excess_count) as excess_count
    from judged
    where
        (sdk_app_id, loss_date) in (
            select (anomalies.sdk_app_id, anomalies.loss_date)
            from anomalies
        )
    group by
        grouping sets (
            (sdk_app_id, loss_date, depth),
            (sdk_app_id, loss_date, depth, stage),
            (sdk_app_id, loss_date, depth, stage, platform_id)
        )

),

explained as (

    select
        whole.node,
        whole.loss_date
    from anomalies as whole
    inner join anomalies as part
        on
            whole.sdk_app_id = part.sdk_app_id
            and whole.loss_date = part.loss_date
            and whole.direction = part.direction
            and whole.depth < part.depth
            and coalesce(whole.stage = part.stage, true)
            and coalesce(whole.platform_id = part.platform_id, true)
    inner join families as family
        on
            part.sdk_app_id = family.sdk_app_id
            and part.loss_date = family.loss_date
            and part.depth = family.depth
            and whole.stage is not distinct from family.stage
            and whole.platform_id is not distinct from family.platform_id
    where
        abs(part.excess_count) >= 0.7 * abs(whole.excess_count)
        and whole.direction * (family.excess_count - part.excess_count)
        < greatest(
            whole.least_excess,
            0.5 * abs(whole.excess_count)
            * (family.expected_count - part.expected_count)
            / nullif(whole.expected_count, 0)
        )

),

causes as (

    select anomalies.*
    from anomalies
    anti join explained
        on
            anomalies.node = explained.node
            and anomalies.loss_date = explained.loss_date

),

highest as (

    select *
    from causes
    qualify
        (
            depth = 1
            or min(depth) over (partition by sdk_app_id, loss_date, direction) > 1
        )
        and (
            depth <= 2
            or min(depth) over (
                partition by sdk_app_id, loss_date, direction, stage
            ) > 2
        )
        and (
            depth <= 3
            or min(depth) over (
                partition by sdk_app_id, loss_date, direction, stage, platform_id
            ) > 3
        )

)

select
    highest.loss_date,
    highest.sdk_app_id,
    apps.app,
    case highest.depth
        when 1 then 'app'
        when 2 then 'stage'
        when 3 then 'platform'
        when 4 then 'code'
    end as level,
    highest.stage,
    highest.platform_id,
    highest.platform,
    highest.err_code,
    codes.meaning,
    codes.category,
    codes.owner,
    codes.action,
    case when highest.excess_count > 0 then 'rise' else 'drop' end as direction,
    highest.is_young,
    highest.lost_count,
    highest.expected_count,
    highest.excess_count,
    highest.score
from highest
inner join apps
    on highest.sdk_app_id = apps.sdk_app_id
left join error_codes as codes
    on
        highest.stage = codes.stage
        and highest.platform = codes.platform
        and highest.err_code = codes.err_code
