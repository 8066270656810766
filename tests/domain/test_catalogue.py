"""The catalogue of error codes: what a file of it may hold."""

import pytest

from pushloss_pipeline.adapters.sql_files import catalogue
from pushloss_pipeline.domain.catalogue import (
    COLUMNS,
    Category,
    KnownCode,
    Owner,
    read_catalogue,
)
from pushloss_pipeline.domain.errors import ConfigurationError
from pushloss_pipeline.domain.model import PLATFORM_NAMES

HEADER = ",".join(COLUMNS)
ROW = (
    ',fcm,UNREGISTERED,"App removed, or token retired",token_invalid,app team,Drop it,'
)


def test_a_catalogue_is_read_row_by_row():
    """Blank lines and blanks around a cell do no harm; empty cells stay empty."""
    (code,) = read_catalogue(f"\ufeff{HEADER}\n\n{ROW} \n", name="codes.csv")

    expected = KnownCode(
        stage="",
        platform="fcm",
        err_code="UNREGISTERED",
        meaning="App removed, or token retired",
        category="token_invalid",
        owner="app team",
        action="Drop it",
        source="",
    )
    assert expected == code


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"codes.csv: the first line must be {HEADER}"),
        ("code,meaning\n", f"codes.csv: the first line must be {HEADER}"),
        (f"{HEADER}\n,fcm,1,a, b,unknown,user,x,y\n", "line 2: 9 cells where 8"),
        (f"{HEADER}\n{ROW}\n{ROW}\n", "line 3: fcm UNREGISTERED stands there twice"),
        (f"{HEADER}\n,fcm,,m,unknown,user,x,y\n", "line 2: err_code is empty"),
        (f"{HEADER}\n,fcm,1,m,oops,user,x,y\n", "line 2: category 'oops' is none of"),
        (f"{HEADER}\n,fcm,1,m,unknown,me,x,y\n", "owner 'me' is none of app team, ba"),
        (f"{HEADER}\n,APNs,1,m,unknown,user,x,y\n", "platform 'APNs' is none of unkno"),
        (f"{HEADER}\nsent,fcm,1,m,unknown,user,x,y\n", "stage 'sent' is none of ready"),
        (f'{HEADER}\n,fcm,1,"m,unknown,user,x,y\n', "line 2: unexpected end of data"),
    ],
    ids=lambda value: value[-30:],
)
def test_a_mistake_in_a_catalogue_is_told_by_its_line(text, message):
    """Whoever wrote it can mend it without the source."""
    with pytest.raises(ConfigurationError) as told:
        read_catalogue(text, name="codes.csv")

    assert message in str(told.value)


def test_a_platform_that_no_page_names_may_have_codes():
    """It is called as in the tables."""
    text = f"{HEADER}\n,platform_9,1,m,unknown,user,x,y\n"

    assert "platform_9" == read_catalogue(text, name="codes.csv")[0].platform


def test_the_catalogue_of_the_package_holds_each_vendor():
    """It reads without a mistake, and uses every category and owner."""
    codes = catalogue()

    vendors = {code.platform for code in codes} - {""}
    assert set(PLATFORM_NAMES.values()) - {"unknown"} == vendors
    assert set(Category) == {code.category for code in codes}
    assert set(Owner) == {code.owner for code in codes}
    assert {"-1", "-2"} == {code.err_code for code in codes if not code.platform}
    assert len(codes) > 290
