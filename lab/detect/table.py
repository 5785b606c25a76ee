"""PURE. Detections as the table of docs/probing.md."""

from collections.abc import Sequence
from pathlib import Path

from lab.detect.run import Detection

BEGIN, END = "<!-- made by python -m lab.detect --docs -->\n", "<!-- end -->\n"
BY = {
    "probes_failing": "two probers",
    "one_source_failing": "one prober",
    "some_failing": "each prober",
    "configuration_auth": "two probers",
    "configuration_not_found": "two probers",
}


def table(detections: Sequence[Detection]) -> str:
    """A row for each case: what was found, by whom, and in how many seconds (the longest of its pools)."""
    head = ("| fault | found as | by | after | at most |", "|---|---|---|---|---|")
    rows = ("| " + " | ".join((each.case.name, *_cells(each))) + " |" for each in detections)
    return "\n".join((*head, *rows)) + "\n"


def _cells(detection: Detection) -> tuple[str, str, str, str]:
    seconds = sorted(detection.seconds)
    if not seconds:
        return f"not without clients: {detection.case.why_not}", "-", "-", "-"
    worst = detection.pools[0]
    middle, longest = seconds[(len(seconds) - 1) // 2], seconds[-1]
    most = f"{longest:.1f} s" if len(seconds) > 1 else ""
    return f"{worst.worst} (`{worst.reason}`)", BY.get(worst.reason, worst.reason), f"{middle:.1f} s", most


def write(detections: Sequence[Detection], page: Path) -> None:
    """Puts the table in the place of the last one. Raises ValueError if the page has no place for it."""
    text = page.read_text("utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} has no line {BEGIN.strip()!r} with {END.strip()!r} behind it")
    page.write_text(f"{head}{begin}\n{table(detections)}\n{end}{tail}", "utf-8")
