"""Draws the health table as a picture: `python tools/diagram.py` writes it into docs/concepts.md.

With `--check` it writes nothing and exits 1 if the picture there is not the table's.
"""

from __future__ import annotations

import sys
from pathlib import Path

from controller.core.evidence.health import LEADS_TO, TRANSITIONS, Act
from controller.core.model.reasons import State

PAGE = Path(__file__).parents[1] / "docs" / "concepts.md"
BEGIN, END = "<!-- drawn by tools/diagram.py -->\n", "<!-- end -->\n"
CONDITIONS = {
    Act.CLEAR: "that lasts 10 s",
    Act.RISE: "once the hold-down is over",
    Act.CLIMB: "on the last step of the ramp",
}


def picture() -> str:
    """The table as a mermaid state diagram: an arrow names the findings that lead along it."""
    arrows: dict[tuple[State, State, str], list[str]] = {}
    for (state, kind), act in TRANSITIONS.items():
        for after in LEADS_TO.get(act, ()):
            arrows.setdefault((state, after, CONDITIONS.get(act, "")), []).append(kind.value)
    lines = ["stateDiagram-v2", f"    [*] --> {State.UNKNOWN.value}"]
    for (state, after, condition), kinds in arrows.items():
        said = " ".join([" / ".join(kinds), condition]).strip()
        lines.append(f"    {state.value} --> {after.value}: {said}")
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


def drawn(page: str) -> str:
    """The page with the picture of today. Raises ValueError if its place is not marked."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks the lines {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}{picture()}{END}{after}"


def main(arguments: list[str]) -> int:
    """Writes, or with --check only looks."""
    page = PAGE.read_text()
    new = drawn(page)
    if new == page:
        return 0
    if "--check" in arguments:
        print("docs/concepts.md: the picture is not the table's: python tools/diagram.py", file=sys.stderr)
        return 1
    PAGE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
