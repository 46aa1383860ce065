"""`make audit`: are there known vulnerabilities in the versions that constraints.txt pins? Asks pypi.org (pip-audit).

Ends with 0 when there are none, 1 when there are, 2 when not every package was looked up: then nothing is promised.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PINNED = Path(__file__).resolve().parent.parent / "constraints.txt"
WAIT_S = 300


def report(stdout: str) -> tuple[int, str]:
    """The exit code and what to say about pip-audit's JSON; `ValueError` when it is none."""
    packages: list[dict[str, Any]] = json.loads(stdout)["dependencies"]
    checked = [one for one in packages if "skip_reason" not in one]
    lines = [
        f"{one['name']} {one['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'none yet'}"
        for one in checked
        for found in one["vulns"]
    ]
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    known = sum(len(one["vulns"]) for one in checked)
    lines.append(f"{len(checked)} of {len(packages)} packages looked up, {known} known vulnerabilities.")
    if skipped:
        more = " …" if len(skipped) > 5 else ""
        lines.append(f"The advisory service does not know {', '.join(skipped[:5])}{more}: is a mirror in its place?")
    return 1 if known else 2 if skipped or not checked else 0, "\n".join(lines)


def main() -> int:
    command = [sys.executable, "-m", "pip_audit", "-r", str(PINNED), "--no-deps", "--disable-pip", "--format", "json"]
    try:
        ended = subprocess.run([*command, "--progress-spinner", "off"], capture_output=True, text=True, timeout=WAIT_S)
        code, text = report(ended.stdout)
    except (ValueError, KeyError):
        reason = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        text = f"Nothing was audited: the advisory service at pypi.org can't be reached. ({reason[:300]})"
        code = 2
    except subprocess.TimeoutExpired:
        code, text = 2, f"Nothing was audited: the advisory service at pypi.org gave no answer in {WAIT_S} s."
    sys.stdout.write(text + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
