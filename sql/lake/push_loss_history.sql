-- Every revision ever accepted, over the Delta table push_loss_revisions, for any
-- engine.
-- Grain: one row per sdk_app_id, loss_date, revision, stage, scope, platform_id,
--     err_code.
-- Reads: push_loss_revisions.

with markers as (

    select
        sdk_app_id,
        loss_date,
        revision,
        entry_key,
        recorded_at,
        max(entry_key) over (partition by sdk_app_id, loss_date, revision)
            as winning_key
    from push_loss_revisions
    where row_kind = 'marker'

),

spans as (

    select
        sdk_app_id,
        loss_date,
        entry_key,
        lead(recorded_at)
            over (partition by sdk_app_id, loss_date order by revision)
            as superseded_at
    from markers
    where entry_key = winning_key

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
