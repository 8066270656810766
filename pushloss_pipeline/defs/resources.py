"""The one resource: the pipeline's parts, opened from the configuration at run time."""

from dataclasses import dataclass

import dagster as dg

from pushloss_pipeline.parts import OpenParts
from pushloss_pipeline.settings import Settings
from pushloss_pipeline.steps import DayOutcome, Listener, Parts

RESOURCE = "pushloss"


@dataclass(frozen=True)
class PushLoss:
    """Parts to work with, and who else hears of each outcome."""

    parts: Parts
    listener: Listener


def pushloss_resource(
    settings: Settings, open_parts: OpenParts, listener: Listener | None
) -> dg.ResourceDefinition:
    """Parts of this configuration; keys stay in the environment until a call."""

    def ignore(outcome: DayOutcome) -> None:
        pass

    return dg.ResourceDefinition(
        lambda _: PushLoss(open_parts(settings), listener or ignore),
        description=f"Configuration of {settings.config_path}.",
    )
