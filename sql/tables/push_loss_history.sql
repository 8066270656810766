-- Every revision ever accepted, of the days in changed_days.
-- Grain: one row per sdk_app_id, loss_date, revision, stage, scope, platform_id,
--     err_code.
-- Reads: push_loss_revisions, changed_days.

with markers as (

    select
        sdk_app_id,
        loss_date,
        revision,
        -- one machine's entry only, should two have judged the same answer
        max(entry_key) as entry_key,
        arg_max(recorded_at, entry_key) as recorded_at
    from push_loss_revisions
    where
        row_kind = 'marker'
        and (sdk_app_id, loss_date) in (
            select (changed_days.sdk_app_id, changed_days.loss_date)
            from changed_days
        )
    group by sdk_app_id, loss_date, revision

),

spans as (

    select
        sdk_app_id,
        loss_date,
        entry_key,
        recorded_at,
        lead(recorded_at) over (
            partition by sdk_app_id, loss_date
            order by revision
        ) as superseded_at
    from markers

)

select
    losses.sdk_app_id,
    losses.app,
    losses.loss_date,
    losses.stage,
    losses.scope,
    losses.platform_id,
    losses.platform,
    losses.err_code,
    losses.err_info,
    losses.err_count,
    losses.revision,
    losses.fetched_at,
    losses.recorded_at,
    spans.superseded_at
from push_loss_revisions as losses
inner join spans
    on
        losses.sdk_app_id = spans.sdk_app_id
        and losses.loss_date = spans.loss_date
        and losses.entry_key = spans.entry_key
where losses.row_kind = 'loss'
