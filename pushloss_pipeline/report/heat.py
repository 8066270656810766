"""Losses of platforms by day, in shades."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pushloss_pipeline.domain.words import platform_order
from pushloss_pipeline.report.model import AppReport, DayFigures

_SHADE_SHARES = (0.2, 0.4, 0.6, 0.85, 0.985)
_ROUND_STEPS = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80)
HEAT_STEPS = 1 + len(_SHADE_SHARES)
"""Shades of the heat map; shade 0 stands for no losses."""


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Losses of each platform on each day, with the bounds of its shades."""

    days: tuple[DayFigures, ...]
    platforms: tuple[str, ...]
    counts: dict[tuple[date, str], int]
    bounds: tuple[int, ...]
    """Where shade 2, 3 … begin; shade 1 is from 1."""

    def count(self, day: DayFigures, platform: str) -> int | None:
        """What a platform lost; 0 where a known day tells nothing of it."""
        count = self.counts.get((day.loss_date, platform))
        return 0 if count is None and day.lost_count is not None else count

    def shade(self, count: int) -> int:
        """0 for none, then 1 to `HEAT_STEPS`."""
        if count <= 0:
            return 0
        return 1 + sum(count >= bound for bound in self.bounds)


def heat_map(part: AppReport) -> HeatMap:
    """Platforms by day, the platform that lost most first."""
    counts = {(c.loss_date, c.platform): c.lost_count for c in part.platform_days}
    totals: Counter[str] = Counter()
    for (_, platform), lost_count in counts.items():
        totals[platform] += lost_count
    platforms = sorted(totals, key=lambda name: (-totals[name], platform_order(name)))
    first = min((day for day, _ in counts), default=None)
    return HeatMap(
        days=tuple(d for d in part.days if first is not None and d.loss_date >= first),
        platforms=tuple(platforms),
        counts=counts,
        bounds=_round_bounds(sorted(filter(None, counts.values()))),
    )


def _round_bounds(counts: Sequence[int]) -> tuple[int, ...]:
    """Where shades begin: about as many counts in each, and few in the darkest."""
    if not counts:
        return ()
    exact = (counts[int(share * len(counts))] for share in _SHADE_SHARES)
    return tuple(sorted({_rounded(count) for count in exact} - {0, 1}))


def _rounded(count: int) -> int:
    """Down to a round number: 1,234 is 1,200."""
    unit: int = 10 ** (len(str(count)) - 1)
    return max(
        (step * unit // 10 for step in _ROUND_STEPS if step * unit <= count * 10),
    )
