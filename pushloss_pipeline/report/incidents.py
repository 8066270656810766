"""Anomalies of successive days as one incident, with its place above the chart."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from pushloss_pipeline.report.model import Anomaly, AppReport, Code

SHOWN_INCIDENTS = 12
"""More marks than this cannot be told apart."""


@dataclass(frozen=True, slots=True)
class Incident:
    """One count out of its usual range on one day or on days in a row."""

    number: int
    """1 is the newest."""
    lane: int
    """Above the chart; marks of the same days lie in different lanes."""
    first_day: date
    last_day: date
    app: str
    level: str
    code: Code
    direction: str
    lost_count: int
    expected_count: int

    @property
    def excess_count(self) -> int:
        """More (or less) than usual, over all its days."""
        return self.lost_count - self.expected_count


def find_incidents(part: AppReport) -> tuple[Incident, ...]:
    """All incidents of a part, newest first."""
    merged = _merge(part.anomalies)
    newest_first = sorted(
        merged, key=lambda i: (i.last_day, abs(i.excess_count)), reverse=True
    )
    return tuple(
        replace(incident, number=number)
        for number, incident in enumerate(newest_first, start=1)
    )


def marked_incidents(incidents: Sequence[Incident]) -> tuple[Incident, ...]:
    """Those that the chart marks: the greatest, newest first, each in its lane."""
    greatest = sorted(incidents, key=lambda i: -abs(i.excess_count))[:SHOWN_INCIDENTS]
    return tuple(_lay_out(sorted(greatest, key=lambda i: i.number)))


def _merge(anomalies: Iterable[Anomaly]) -> list[Incident]:
    incidents: dict[tuple[str, str, Code, str], list[Incident]] = {}
    for anomaly in sorted(anomalies, key=lambda a: a.loss_date):
        key = (anomaly.app, anomaly.level, anomaly.code, anomaly.direction)
        same = incidents.setdefault(key, [])
        if same and anomaly.loss_date - same[-1].last_day <= timedelta(days=1):
            same[-1] = _prolonged(same[-1], anomaly)
        else:
            same.append(_begun(anomaly))
    return [incident for same in incidents.values() for incident in same]


def _begun(anomaly: Anomaly) -> Incident:
    return Incident(
        number=0,
        lane=0,
        first_day=anomaly.loss_date,
        last_day=anomaly.loss_date,
        app=anomaly.app,
        level=anomaly.level,
        code=anomaly.code,
        direction=anomaly.direction,
        lost_count=anomaly.lost_count,
        expected_count=anomaly.expected_count,
    )


def _prolonged(incident: Incident, anomaly: Anomaly) -> Incident:
    return replace(
        incident,
        last_day=anomaly.loss_date,
        lost_count=incident.lost_count + anomaly.lost_count,
        expected_count=incident.expected_count + anomaly.expected_count,
    )


def _lay_out(incidents: Sequence[Incident]) -> Iterable[Incident]:
    """The first lane in which an incident meets no other; a mark needs elbow room."""
    lanes: list[list[Incident]] = []
    for incident in incidents:
        lane = next(
            (n for n, others in enumerate(lanes) if _is_free(others, incident)),
            len(lanes),
        )
        if lane == len(lanes):
            lanes.append([])
        lanes[lane].append(incident)
        yield replace(incident, lane=lane)


def _is_free(others: Iterable[Incident], incident: Incident) -> bool:
    room = timedelta(days=1)
    return all(
        incident.last_day + room < other.first_day
        or other.last_day + room < incident.first_day
        for other in others
    )
