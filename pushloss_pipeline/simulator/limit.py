"""The API's call frequency: so many calls in any second, for each app by itself."""

from collections import Counter, deque


class CallLimit:
    """Sliding window over the arrivals that were let in; refused calls do not count.

    With a rate below 1 the window is longer than a second: one call in 1 / rate.
    """

    def __init__(self, calls_per_second: float | None) -> None:
        self.refused_counts: Counter[int] = Counter()
        self._capacity = max(1, int(calls_per_second or 0))
        self._span_seconds = (
            self._capacity / calls_per_second if calls_per_second else None
        )
        self._arrivals: dict[int, deque[float]] = {}

    def admit(self, sdk_app_id: int, arrived_at: float) -> bool:
        """Let a call in or refuse it, by the monotonic second of its arrival."""
        if self._span_seconds is None:
            return True
        arrivals = self._arrivals.setdefault(sdk_app_id, deque(maxlen=self._capacity))
        is_full = len(arrivals) == self._capacity
        if is_full and arrived_at - arrivals[0] < self._span_seconds:
            self.refused_counts[sdk_app_id] += 1
            return False
        arrivals.append(arrived_at)
        return True
