"""What a report of pip-audit comes to: `python -m tools.audit REPORT IMAGE`, files of script/audit.

pip-audit passes over a package whose version the service doesn't know, and says all the same that nothing was
found. Here such a package was not audited, and the check fails.
"""

import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

CLEAN, FOUND, NOT_AUDITED = 0, 1, 69


def verdict(packages: Collection[Mapping[str, Any]], image: Collection[str]) -> tuple[int, list[str]]:
    """The exit status and what to say. `packages`: the report's dependencies; `image`: NAME==VERSION each."""
    answers = {f"{one['name']}=={one['version']}": one["vulns"] for one in packages if "vulns" in one}
    lines = [
        f"{pin}{' in the image' if pin in image else ''}: {' '.join([flaw['id'], *flaw['aliases']])}, "
        f"fixed in {' '.join(flaw['fix_versions']) or 'no version'}"
        for pin, flaws in answers.items()
        for flaw in flaws
    ]
    status = FOUND if lines else CLEAN
    missed = {one["name"] for one in packages if "vulns" not in one}
    missed |= {pin.partition("==")[0] for pin in image if pin not in answers}
    if missed:
        lines.append(f"NOT AUDITED, there is no data on {len(missed)} packages: {', '.join(sorted(missed))}")
        return status or NOT_AUDITED, lines
    return status, lines or [f"no known vulnerability in {len(answers)} packages, {len(image)} in the image"]


if __name__ == "__main__":
    report, pins = (Path(name).read_text() for name in sys.argv[1:])
    said = verdict(json.loads(report)["dependencies"], [word for word in pins.split() if "==" in word])
    print("\n".join(said[1]))
    sys.exit(said[0])
