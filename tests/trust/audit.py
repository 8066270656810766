"""`make audit`: all that uv.lock names, looked up among the known vulnerabilities.

pip-audit says "none found" also where it could look nothing up; this does not. Ends
with 0 where all was looked up and nothing is known, 1 where something is, 2 where some
of it could not be looked up.
"""

import json
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
FOLDER = ROOT / ".venv" / "audit"
OPTIONS = (
    "--disable-pip",
    "--require-hashes",
    "--progress-spinner=off",
    "--format=json",
)


def main() -> int:
    """Install pip-audit by its locked hashes, ask it, and judge what it says."""
    tool, audited = FOLDER / "tool.txt", FOLDER / "audited.txt"
    if not (FOLDER / "bin" / "pip-audit").exists():
        venv.create(FOLDER, with_pip=True)
        export(tool, "--only-group", "audit")
        pip = [FOLDER / "bin" / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run(
            [*pip, "--require-hashes", "--no-deps", "--requirement", tool], check=True
        )
    export(audited, "--all-extras", "--all-groups", "--no-emit-project")
    asked = subprocess.run(
        [FOLDER / "bin" / "pip-audit", *OPTIONS, "--requirement", audited],
        capture_output=True,
        text=True,
        check=False,
    )
    if not asked.stdout:
        reason = asked.stderr.strip().rpartition("\n")[2]
        print(f"nothing was audited: {reason or 'pip-audit said nothing'}")
        return 2
    lines, code = judged(json.loads(asked.stdout)["dependencies"])
    print("\n".join(lines))
    return code


def export(path: Path, *what: str) -> None:
    """Write a part of uv.lock, with its hashes, as pip reads it; asks no registry."""
    subprocess.run(
        [UV, "export", "--quiet", "--frozen", *what, "--output-file", path],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def judged(packages: Sequence[Mapping[str, Any]]) -> tuple[list[str], int]:
    """What to tell of pip-audit's answer, and how to end."""
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    found = [
        f"{package['name']} {package['version']}: {known['id']}, mended in"
        f" {', '.join(known['fix_versions']) or 'no version yet'}"
        for package in packages
        for known in package.get("vulns", ())
    ]
    count = len(packages) - len(skipped)
    if not count:
        return ["nothing was audited: no database of vulnerabilities is reached"], 2
    lines = [*found, f"{count} of {len(packages)} packages audited, {len(found)} known"]
    if skipped:
        lines.append(
            "not audited, as the database of known vulnerabilities does not tell of"
            f" them: {', '.join(skipped)}"
        )
    return lines, 1 if found else 2 if skipped else 0


if __name__ == "__main__":
    sys.exit(main())
