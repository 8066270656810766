"""Made-up input: few examples in every run, the same ones; many anew in a long run."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Made = TypeVar("Made")


def effort(few: int, many: int, *, is_long: bool, **options: Any) -> settings:
    """How hard to try: alike on every machine, or as chance has it and for long."""
    return settings(
        max_examples=many if is_long else few,
        derandomize=not is_long,
        database=None,
        deadline=None,
        print_blob=is_long,
        suppress_health_check=list(HealthCheck),
        **options,
    )


@dataclass(frozen=True)
class Trial:
    """Tries a promise on examples, and counts them."""

    tally: Counter[str]
    is_long: bool

    def holds(
        self, promise: str, made: st.SearchStrategy[Made], *, few: int, many: int
    ) -> Callable[[Callable[[Made], None]], None]:
        """Run the decorated check on each of the examples, now."""

        def run(check: Callable[[Made], None]) -> None:
            def counted(example: Made) -> None:
                self.tally[promise] += 1
                check(example)

            effort(few, many, is_long=self.is_long)(given(made)(counted))()

        return run
