-- At which ages of a day (whole days since its end, 0 the morning after) its app was
-- asked, and what stood then; is_forgotten: an answer came after the API forgot it.
-- An answer that changed nothing leaves no entry; but each daily run brings a first
-- entry for the day before, so an app was asked at the times of all its answers,
-- whatever day they are of. What was decided after the API had forgotten a day is no
-- answer; and from an answer that was no good to the next good one, nothing is known.
-- Grain: one row per sdk_app_id, loss_date, age_days.
-- Reads: day_answers, day_bounds.

with bounds as (

    select
        loss_date,
        ended_at,
        expires_at,
        -- where the clock is moved, the ages are an hour more or less in all
        cast(round((epoch(expires_at) - epoch(ended_at)) / 86400) as integer)
            as age_count
    from day_bounds

),

askings as (

    -- one for all answers of a run; in every zone days end at a quarter of an hour
    select
        answers.sdk_app_id,
        max(answers.fetched_at) as asked_at
    from day_answers as answers
    inner join bounds
        on answers.loss_date = bounds.loss_date
    where
        answers.state in ('loaded', 'empty', 'held')
        and answers.fetched_at < bounds.expires_at
    group by
        answers.sdk_app_id,
        time_bucket(interval 15 minute, answers.fetched_at)

),

newest as (

    select max(asked_at) as asked_at
    from askings

),

-- nearest in UTC: the end of a day is at most 14 hours away from its midnight there
days_back as (

    select unnest(range(max(age_count) + 3)) as number
    from bounds

),

asked_days as (

    select
        askings.sdk_app_id,
        askings.asked_at,
        cast(askings.asked_at as date) - cast(days_back.number as integer)
            as loss_date
    from askings
    cross join days_back

),

standing as (

    select
        sdk_app_id,
        loss_date,
        revision,
        fetched_at as from_at,
        lead(fetched_at) over (
            partition by sdk_app_id, loss_date
            order by entry_key
        ) as until_at
    from day_answers
    qualify state in ('loaded', 'empty')

),

asked as (

    select
        asked_days.sdk_app_id,
        asked_days.loss_date,
        asked_days.asked_at,
        standing.revision,
        bounds.age_count,
        bounds.expires_at <= newest.asked_at as is_forgotten,
        least(
            cast(
                (epoch_us(asked_days.asked_at) - epoch_us(bounds.ended_at))
                // 86400000000 as integer
            ),
            bounds.age_count - 1
        ) as age_days
    from asked_days
    inner join bounds
        on
            asked_days.loss_date = bounds.loss_date
            and asked_days.asked_at >= bounds.ended_at
            and asked_days.asked_at < bounds.expires_at
    inner join standing
        on
            asked_days.sdk_app_id = standing.sdk_app_id
            and asked_days.loss_date = standing.loss_date
            and asked_days.asked_at >= standing.from_at
            and (
                standing.until_at is null
                or asked_days.asked_at < standing.until_at
            )
    cross join newest

)

select
    sdk_app_id,
    loss_date,
    age_days,
    age_count,
    is_forgotten,
    arg_max(revision, asked_at) as revision
from asked
group by sdk_app_id, loss_date, age_days, age_count, is_forgotten
