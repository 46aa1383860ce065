"""What `make demo` installs, one requirement a line: what `milo-voice` needs and a Redis, without what is large."""

from __future__ import annotations

import re
import sys
from importlib.metadata import requires

LEFT_OUT = {
    "torch": "only the reference engine, VITS voices and training use it",
    "transformers": "as torch",
    "silero-vad": "asks for torch; installed by itself, for the file in it",
}
EMBEDDED = re.compile(r"""(?: and |; )extra == ['"]embedded['"]""")


def demo_packages(requirements: list[str]) -> list[str]:
    """Those of the package's requirements (with their markers) that the demo needs."""
    kept = []
    for one in requirements:
        name = re.match(r"[\w.-]+", one)
        assert name is not None, f"no requirement: {one}"
        plain = EMBEDDED.sub("", one)
        if "extra ==" not in plain and name.group() not in LEFT_OUT:
            kept.append(plain)
    return kept


if __name__ == "__main__":
    sys.stdout.write("\n".join(demo_packages(requires("milo-voice") or [])) + "\n")
