"""A place to run in, for one test or for all of a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.defs.site import Site, a_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A simulator, a configuration and a Dagster instance of the test's own."""
    with a_site(tmp_path) as site:
        yield site
