"""What the documents name exists, and what exists is documented."""

import re
import tomllib
from pathlib import Path

import pyarrow as pa
import pytest

from pushloss_pipeline.adapters.sql_files import (
    SQL_FOLDER,
    Statement,
    read_statements,
)
from pushloss_pipeline.cli import app
from pushloss_pipeline.domain import parse
from pushloss_pipeline.domain.tables import LAKE_TABLES, PUBLISHED_TABLES, Table
from pushloss_pipeline.domain.verdict import State
from pushloss_pipeline.settings import AppSettings, Settings
from tests.sql.rows import holding

ROOT = Path(__file__).parents[1]
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
SQL_TYPES = {
    pa.int64(): "BIGINT",
    pa.int32(): "INTEGER",
    pa.string(): "VARCHAR",
    pa.date32(): "DATE",
    pa.bool_(): "BOOLEAN",
    pa.float64(): "DOUBLE",
    pa.binary(): "BLOB",
    pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
}


def section(title: str) -> str:
    """Give the part of the reference under a heading."""
    return re.split(r"\n#+ ", REFERENCE.split(f"# {title}\n", 1)[1], maxsplit=1)[0]


@pytest.mark.parametrize(
    "table", [*LAKE_TABLES, *PUBLISHED_TABLES], ids=lambda t: t.name
)
def test_the_reference_lists_the_columns_of_each_table(table: Table):
    """Name, type and meaning of each column stand in declared order."""
    expected = [f"| {c.name} | {_type(c.type)} | {c.doc} |" for c in table.columns]

    rows = [row for row in section(f"`{table.name}`").splitlines() if "|" in row]
    assert expected == rows[2:]


def _type(arrow_type: pa.DataType) -> str:
    if pa.types.is_list(arrow_type):
        return f"{SQL_TYPES[arrow_type.value_type]}[]"
    return SQL_TYPES[arrow_type]


MACRO_CALLS = {
    "push_loss_change": "push_loss_change('2026-03-09', '2026-03-15')",
    "push_loss_top": "push_loss_top('shop', 28)",
}


@pytest.mark.parametrize(
    "statement",
    [
        *read_statements("views"),
        # the columns of push_loss_as_of are those of push_loss
        *(m for m in read_statements("macros") if m.name != "push_loss_as_of"),
    ],
    ids=lambda statement: statement.name,
)
def test_the_reference_lists_each_view_and_macro(statement: Statement):
    """What it answers, its grain, and its real columns with their types."""
    with holding({}, with_views=True) as connection:
        source = MACRO_CALLS.get(statement.name, statement.name)
        columns = connection.execute(f"describe from {source}").fetchall()
    expected = [
        [name, type_.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")]
        for name, type_, *_ in columns
    ]

    parameters = statement.labels.get("Parameters")
    lines = section(
        f"`{statement.name}({parameters})`" if parameters else f"`{statement.name}`"
    ).splitlines()
    rows = [line.split(" | ")[:2] for line in lines if line.startswith("| ")]
    assert expected == [[name.strip("| "), type_] for name, type_ in rows[1:]]
    assert statement.about in lines
    assert f"Grain: {statement.labels['Grain']}." in lines


def test_the_reference_lists_no_view_that_is_not_there():
    """Every name that the reference gives a heading exists."""
    named = re.findall(r"^### `(\w+)", REFERENCE, re.MULTILINE)
    tables = {table.name for table in (*LAKE_TABLES, *PUBLISHED_TABLES)}
    others = {
        each.name for kind in ("views", "macros") for each in read_statements(kind)
    }

    assert tables | others == set(named)


def test_the_reference_lists_the_checks():
    """Each file of sql/checks stands with its severity and promise."""
    expected = [
        f"| {check.name} | {check.labels['Severity']} | {check.about} |"
        for check in read_statements("checks")
    ]

    rows = [row for row in section("Checks").splitlines() if "|" in row]
    assert expected == rows[2:]


def test_the_reference_lists_the_states_and_warnings():
    """No state and no kind of warning is left out."""
    kinds = {
        value
        for name, value in vars(parse).items()
        if name.isupper() and isinstance(value, str) and not name.startswith("_")
    }

    assert {state.value for state in State} == _first_cells("States of a day")
    assert kinds == _first_cells("Warnings of an answer")


def test_the_reference_lists_the_settings():
    """Every key of pushloss.toml stands, and no other."""
    apps = {f"apps.NAME.{name}" for name in AppSettings.model_fields}
    keys = set(Settings.model_fields) - {"apps", "config_path"}

    assert keys | apps == {
        cell
        for cell in _first_cells("Settings of `pushloss.toml`")
        if not cell.isupper() and cell not in ("variable",)
    }


def _first_cells(title: str) -> set[str]:
    rows = [row for row in section(title).splitlines() if row.startswith("| ")]
    return {row.split("|")[1].strip() for row in rows[1:]}


def test_the_readme_lists_the_commands():
    """Every command stands in the README's table, and no other."""
    commands = {command.callback.__name__ for command in app.registered_commands}

    assert commands == set(re.findall(r"^\| `pushloss (\w+)", README, re.MULTILINE))


def test_the_operator_is_told_commands_that_exist():
    """Each command, make target and file that docs/operations.md names is there."""
    told = re.sub(r"<!--.*?-->", "", OPERATIONS, flags=re.DOTALL)
    commands = {command.callback.__name__ for command in app.registered_commands}
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)

    called = r"(?:`|-u pushloss |exec pushloss-daemon )pushloss ([a-z]+)"
    assert {"check", "load", "report"} <= set(re.findall(called, told)) <= commands
    assert set(re.findall(r"^sudo make ([a-z-]+)", told, re.MULTILINE)) <= set(targets)
    assert [] == [
        name
        for name in re.findall(r"\bdeploy/[\w.-]+", told)
        if not (ROOT / name).is_file()
    ]


@pytest.mark.parametrize(
    "name",
    ["README.md", "CONTRIBUTING.md", "data/README.md", "docs/operations.md"],
)
def test_targets_and_files_that_documents_name_exist(name):
    """Nobody is sent to a make target or file that is not there."""
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )

    named = set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE))
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert named <= targets
    assert [] == [
        link for link in links if not (ROOT / name).parent.joinpath(link).exists()
    ]


def test_every_statement_says_what_it_is():
    """Each file of sql/ has a header: what it answers, what it reads."""
    for kind in sorted(path.name for path in SQL_FOLDER.iterdir() if path.is_dir()):
        for statement in read_statements(kind):
            assert statement.about, statement.name
            assert "Reads" in statement.labels, statement.name
            assert {"Grain", "Severity"} & set(statement.labels), statement.name


def test_the_package_and_the_workspace_agree_on_the_location():
    """Schedule and sensor state hangs on the location's name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dagster"]

    assert project["code_location_name"] in (ROOT / "workspace.yaml").read_text()
    assert project["module_name"] in (ROOT / "workspace.yaml").read_text()
