"""What is installed, and what is shipped."""

import os
import re
import subprocess
import sys
import venv
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pushloss_pipeline.simulator.scenario import Scenario
from pushloss_pipeline.simulator.server import running
from pushloss_pipeline.simulator.truth import UTC8
from tests.trust.audit import ROOT, export, judged
from tests.world import THREE_APPS, configuration, secret_variable

MISSING = {"name": "arrow", "skip_reason": "not found"}
SOUND = {"name": "httpx", "version": "0.28.1", "vulns": []}
KNOWN = {
    "name": "jinja2",
    "version": "3.1.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1.6"]}],
}


@pytest.mark.parametrize(
    ("packages", "code", "told"),
    [
        ([SOUND], 0, "1 of 1 packages audited, 0 known"),
        ([SOUND, KNOWN], 1, "jinja2 3.1.0: PYSEC-1, mended in 3.1.6"),
        ([KNOWN, MISSING], 1, "1 of 2 packages audited, 1 known"),
        ([MISSING, SOUND], 2, "does not tell of them: arrow"),
        ([MISSING], 2, "nothing was audited"),
    ],
    ids=["sound", "known", "known and missing", "missing", "nothing"],
)
def test_an_audit_says_what_it_did_not_look_up(packages, code, told):
    """What could not be looked up is named, and is no success."""
    lines, ended = judged(packages)

    assert code == ended
    assert told in "\n".join(lines)


def test_all_that_is_installed_has_a_hash(tmp_path: Path):
    """Each locked requirement, of users, developers and builds, names its hashes."""
    locked = tmp_path / "locked.txt"
    export(locked, "--all-extras", "--all-groups", "--no-emit-project")
    requirements = locked.read_text().replace("\\\n", "").splitlines()
    named = [line for line in requirements if re.match(r"\w", line)]

    assert len(named) > 100
    assert [] == [line for line in named if "--hash=sha256:" not in line]


def test_what_builds_is_locked_as_well(tmp_path: Path):
    """bootstrap.txt is what uv.lock says of the tools that install and build."""
    exported = tmp_path / "bootstrap.txt"
    export(exported, "--only-group", "build", "--no-header")
    written = (ROOT / "bootstrap.txt").read_text()

    assert exported.read_text() == re.sub(r"\A(#.*\n)+", "", written)


def test_every_install_asks_for_hashes():
    """No line of the Makefile or the image lets in what the lock does not name."""
    texts = [(ROOT / name).read_text() for name in ("Makefile", "Dockerfile")]
    installs = re.findall(r"(?:PIP\)|bin/pip) install[^\n]*", "\n".join(texts))

    assert len(installs) == 6
    for line in installs:
        assert "--no-deps" in line, line
        assert "--require-hashes" in line or "--no-build-isolation" in line, line


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    options = ["--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([*build, *options, "--wheel-dir", folder, ROOT], check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_has_all_that_it_reads(wheel: Path):
    """Statements, catalogue, page and script are in it; tests and data are not."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    statements = {path.relative_to(ROOT) for path in ROOT.glob("sql/**/*.*")}
    beside = {
        path.relative_to(ROOT)
        for path in ROOT.glob("pushloss_pipeline/**/*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert {f"pushloss_pipeline/{path}" for path in statements} <= names
    assert {str(path) for path in beside} <= names
    assert "pushloss_pipeline/sql/dimensions/error_codes.csv" in names
    assert [] == [n for n in names if not n.startswith(("pushloss_pipeline", "."))]


@pytest.mark.slow
def test_the_wheel_works_in_an_empty_environment(wheel: Path, tmp_path: Path):
    """Installed by hash beside nothing else, it loads, answers and reports."""
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=True)
    locked = tmp_path / "locked.txt"
    export(locked, "--no-dev", "--no-emit-project")
    pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet"]
    for what in (
        ["--require-hashes", "--requirement", ROOT / "bootstrap.txt"],
        ["--require-hashes", "--no-build-isolation", "--requirement", locked],
        [wheel],
    ):
        subprocess.run([*pip, "--no-deps", *what], check=True, timeout=600)

    with running(Scenario(7, THREE_APPS)) as simulator:
        (tmp_path / "pushloss.toml").write_text(
            configuration(simulator.url, THREE_APPS)
        )
        keys = {secret_variable(app): app.secret_key for app in THREE_APPS}

        def pushloss(*arguments: str) -> str:
            """What the installed command says."""
            ran = subprocess.run(
                [environment / "bin" / "pushloss", *arguments],
                cwd=tmp_path,
                env={"PATH": os.defpath, "HOME": str(tmp_path), **keys},
                capture_output=True,
                text=True,
                check=False,
            )
            assert 0 == ran.returncode, ran.stderr
            return ran.stdout

        yesterday = str((datetime.now(UTC8) - timedelta(days=1)).date())
        catalogue = "select count(*) as codes from error_codes where meaning <> ''"
        assert "simulate" in pushloss("--help")
        assert "3 app days done" in pushloss("load", yesterday, yesterday)
        assert (tmp_path / "data" / "report" / "index.html").exists()
        assert int(pushloss("sql", catalogue, "--format", "csv").split()[1]) >= 299
