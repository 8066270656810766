-- Codes that came, came back or went, app by app. Only known days count; a code is
-- met on a day where it has losses.
-- first_seen: met for the first time ever, the app having at least 7 known days
-- before. returned: met again after at least 7 known days without it. Both only where
-- it loses at least 20 messages within 7 known days from then on.
-- vanished: the first of at least 7 known days without it, where in the 7 known days
-- before it was met on at least 5 and lost at least 20 messages; lost_count is that of
-- the last day it was met. Rare codes, which come and go by chance, stay out.
-- What a later answer withdrew counts as met before: a code that is told of young days
-- only is not new every day. Where is_young, codes may be missing, or be withdrawn
-- in a later answer.
-- Grain: one row per sdk_app_id, stage, platform_id, err_code, event, loss_date.
-- Reads: push_loss and push_loss_history (scope platform), push_loss_days, apps,
--     error_codes.

with known_days as (

    select
        sdk_app_id,
        loss_date,
        is_young,
        row_number() over (partition by sdk_app_id order by loss_date) as day_number,
        count(*) over (partition by sdk_app_id) as day_count
    from push_loss_days
    where revision > 0

),

code_spans as (

    select
        losses.sdk_app_id,
        losses.stage,
        losses.platform_id,
        losses.err_code,
        any_value(losses.platform) as platform,
        any_value(days.day_count) as day_count,
        min(days.day_number) as first_number,
        max(days.day_number) as last_number,
        count(*) as met_count
    from push_loss as losses
    inner join known_days as days
        on
            losses.sdk_app_id = days.sdk_app_id
            and losses.loss_date = days.loss_date
    where losses.scope = 'platform' and losses.err_count > 0
    group by
        losses.sdk_app_id,
        losses.stage,
        losses.platform_id,
        losses.err_code

),

-- the others, most of them, were never long away: no event can be theirs
patchy_codes as (

    select *
    from code_spans
    where
        first_number > 7
        or day_count - last_number >= 7
        or last_number - first_number + 1 - met_count >= 7

),

met_days as (

    select
        codes.sdk_app_id,
        codes.stage,
        codes.platform_id,
        codes.platform,
        codes.err_code,
        codes.day_count,
        days.loss_date,
        days.day_number,
        losses.err_count,
        lag(days.loss_date) over day_by_day as previous_date,
        lag(days.day_number) over day_by_day as previous_number,
        lead(days.day_number) over day_by_day as next_number,
        sum(losses.err_count) over (
            day_by_day range between current row and 6 following
        ) as following_count,
        sum(losses.err_count) over (
            day_by_day range between 6 preceding and current row
        ) as preceding_count,
        count(*) over (
            day_by_day range between 6 preceding and current row
        ) as met_count
    from push_loss as losses
    inner join known_days as days
        on
            losses.sdk_app_id = days.sdk_app_id
            and losses.loss_date = days.loss_date
    inner join patchy_codes as codes
        on
            losses.sdk_app_id = codes.sdk_app_id
            and losses.stage = codes.stage
            and losses.platform_id = codes.platform_id
            and losses.err_code = codes.err_code
    where losses.scope = 'platform' and losses.err_count > 0
    window day_by_day as (
        partition by
            codes.sdk_app_id,
            codes.stage,
            codes.platform_id,
            codes.err_code
        order by days.day_number
    )

),

events as (

    select
        *,
        day_number as event_number,
        case when previous_number is null then 'first_seen' else 'returned' end
            as event
    from met_days
    where day_number - coalesce(previous_number, 0) > 7 and following_count >= 20
    union all
    select
        *,
        day_number + 1 as event_number,
        'vanished' as event
    from met_days
    where
        coalesce(next_number, day_count + 1) - day_number > 7
        and met_count >= 5
        and preceding_count >= 20

),

-- met in an answer that another one replaced, since the day it was last met
withdrawn as (

    select distinct
        events.sdk_app_id,
        events.stage,
        events.platform_id,
        events.err_code,
        events.event_number
    from push_loss_history as history
    inner join events
        on
            history.sdk_app_id = events.sdk_app_id
            and history.stage = events.stage
            and history.platform_id = events.platform_id
            and history.err_code = events.err_code
            and history.loss_date < events.loss_date
            and (
                events.previous_date is null
                or history.loss_date > events.previous_date
            )
    where history.superseded_at is not null and events.event <> 'vanished'

)

select
    days.loss_date,
    events.sdk_app_id,
    apps.app,
    events.event,
    events.stage,
    events.platform_id,
    events.platform,
    events.err_code,
    codes.meaning,
    codes.category,
    codes.owner,
    codes.action,
    days.is_young,
    events.err_count as lost_count
from events
anti join withdrawn
    on
        events.event <> 'vanished'
        and events.sdk_app_id = withdrawn.sdk_app_id
        and events.stage = withdrawn.stage
        and events.platform_id = withdrawn.platform_id
        and events.err_code = withdrawn.err_code
        and events.event_number = withdrawn.event_number
inner join known_days as days
    on
        events.sdk_app_id = days.sdk_app_id
        and events.event_number = days.day_number
inner join apps
    on events.sdk_app_id = apps.sdk_app_id
inner join error_codes as codes
    on
        events.stage = codes.stage
        and events.platform = codes.platform
        and events.err_code = codes.err_code
