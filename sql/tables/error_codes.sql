-- What each code means: every code of the catalogue, and every other one ever met.
-- A row of the catalogue without stage or platform holds for all of them. The rows
-- of one stage go first (the vendor's own codes at ready-to-send), then the user's
-- own, then those of one platform; last comes a code that stands as a word in the
-- text that came with an unknown one.
-- Grain: one row per stage, platform, err_code.
-- Reads: known_codes, push_loss, platforms.

with met as (

    select
        stage,
        platform,
        err_code,
        err_info,
        sum(err_count) as lost_count
    from push_loss
    where scope = 'platform'
    group by
        stage,
        platform,
        err_code,
        err_info

),

stages as (

    select unnest(['ready_to_send', 'post_send_delivered']) as stage

),

vendors as (

    select platform from platforms
    union
    select platform from met
    union
    select platform from known_codes
    where platform <> ''

),

catalogue as (

    select
        stages.stage,
        vendors.platform,
        known.err_code,
        known.meaning,
        known.category,
        known.owner,
        known.action,
        known.source,
        case when known.stage = '' then 0 else 4 end
        + case when known.is_users then 2 else 0 end
        + case when known.platform = '' then 0 else 1 end as precedence
    from known_codes as known
    inner join stages
        on known.stage in ('', stages.stage)
    inner join vendors
        on known.platform in ('', vendors.platform)

),

by_code as (

    select
        stage,
        platform,
        err_code,
        meaning,
        category,
        owner,
        action,
        source,
        'code' as resolved_by
    from catalogue
    qualify
        precedence = max(precedence) over (partition by stage, platform, err_code)

),

unresolved as (

    select met.*
    from met
    anti join by_code
        on
            met.stage = by_code.stage
            and met.platform = by_code.platform
            and met.err_code = by_code.err_code

),

words as (

    select
        stage,
        platform,
        err_code,
        unnest(regexp_split_to_array(err_info, '[^A-Za-z0-9_]+')) as word,
        lost_count
    from unresolved

),

by_text as (

    select
        words.stage,
        words.platform,
        words.err_code,
        named.meaning,
        named.category,
        named.owner,
        named.action,
        named.source,
        'text' as resolved_by
    from words
    inner join by_code as named
        on
            words.stage = named.stage
            and words.platform = named.platform
            and words.word = named.err_code
    where regexp_matches(words.word, '[A-Za-z]')
    qualify
        row_number() over (
            partition by words.stage, words.platform, words.err_code
            order by
                words.lost_count desc,
                length(words.word) desc,
                words.word asc
        ) = 1

),

by_nothing as (

    select distinct
        unresolved.stage,
        unresolved.platform,
        unresolved.err_code,
        'Not in the catalogue' as meaning,
        'unknown' as category,
        'backend' as owner,
        'Look it up at the vendor, then add it to error_codes.csv beside'
        || ' the configuration' as action,
        '' as source,
        'nothing' as resolved_by
    from unresolved
    anti join by_text
        on
            unresolved.stage = by_text.stage
            and unresolved.platform = by_text.platform
            and unresolved.err_code = by_text.err_code

),

resolved as (

    select * from by_code
    union all
    select * from by_text
    union all
    select * from by_nothing

)

select
    stage,
    platform,
    err_code,
    meaning,
    category,
    owner,
    action,
    nullif(source, '') as source,
    resolved_by
from resolved
