"""Runbooks as files: the transcripts in a page, what a live run printed, and whether both say the same.

A page of docs/runbooks has blocks that begin with ```` ```console ````. Each has one command and an excerpt
of what it printed. `pytest tests/integration/test_runbooks.py --rewrite` writes the blocks. Without the flag
the test compares them by `shape`, because figures, times and names of processes differ in every run and words
do not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from controller.core.model.reasons import Reason
from controller.core.model.words import WORDS

OPENING, CLOSING = "```console", "```"
_BLOCK = re.compile(rf"^{OPENING}\n(?P<text>.*?)^{CLOSING}$", re.MULTILINE | re.DOTALL)
_NOTICED_BY = "|".join(
    re.escape(WORDS[reason])
    for reason in (
        Reason.CLIENTS_AND_PROBES_FAILING,
        Reason.CLIENTS_FAILING,
        Reason.PROBES_FAILING,
        Reason.EJECTED_BY_CLIENTS,
        Reason.NO_PROGRESS,
    )
)
_SHAPES = (
    (re.compile(r"can't be read: .*"), "can't be read"),  # refused, reset or too late
    (re.compile(r"topic id [^)]*"), "topic id"),
    (
        re.compile(r": .*might use\b.*|: add --force\b.*|, setting aside\b.*"),
        ": objections",
    ),  # all rules that are broken then
    (re.compile(_NOTICED_BY), "it fails"),  # which of them depends on who notices first
    (re.compile(r"(?<=\s)-(?=\s)"), "0"),  # a figure that nobody knows
    (re.compile(r"\b(?=[a-f0-9]*[a-f])[a-f0-9]{6,64}\b"), "0"),  # a process, a policy, a key
    (re.compile(r"\d[\d,.:T-]*Z?"), "#"),
    (re.compile(r"# ?(?:ms|s|min|h|d)\b"), "#"),
    (re.compile(r"#(?: #)+"), "#"),
    (re.compile(r", (?:for #|# to go)"), ""),
    (re.compile(r"\b(?:it )?moves\b.*"), "moves #"),  # how much, and to which providers
    (re.compile(r"#[^:]*moved at once\b.*"), "#"),
    (re.compile(r"why: \S+: its load"), "why: its load"),  # whichever pool of the provider was left last
    (re.compile(r"#% from [a-z]+(?:, #% from [a-z]+)*"), "#%"),
    (re.compile(r"[─━]+"), "─"),
)


class Excerpt(NamedTuple):
    """One command as it was typed, and the lines of its output that the page shows."""

    command: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join((f"$ {self.command}", *self.lines, ""))


def shape(line: str) -> str:
    """The line without what differs from run to run: figures, times, names of processes, widths of columns,
    and the list of providers that a load went to."""
    text = " ".join(line.split())
    for pattern, replacement in _SHAPES:
        text = pattern.sub(replacement, text)
    return text


def excerpt_of(output: str, shows: Sequence[str]) -> tuple[str, ...]:
    """For each of these patterns the last line in which it is found, in the order of the output; without any
    pattern all lines. Empty if a pattern is found nowhere."""
    lines = tuple(line.rstrip() for line in output.splitlines() if line.strip())
    if not shows:
        return lines
    places = [[place for place, line in enumerate(lines) if re.search(pattern, line)] for pattern in shows]
    if not all(places):
        return ()
    return tuple(lines[place] for place in sorted({matches[-1] for matches in places}))


def blocks_of(text: str) -> tuple[str, ...]:
    """What stands within the transcripts of a page."""
    return tuple(match["text"] for match in _BLOCK.finditer(text))


def with_blocks(text: str, excerpts: Sequence[Excerpt]) -> str:
    """The page with these transcripts in the places of those that it has. Their numbers must be equal."""
    remaining = list(excerpts)
    assert len(blocks_of(text)) == len(remaining), difference(text, excerpts)
    return _BLOCK.sub(lambda _: f"{OPENING}\n{remaining.pop(0)}{CLOSING}", text)


def difference(text: str, excerpts: Sequence[Excerpt]) -> str:
    """How the transcripts of a page differ in shape from what was printed; empty if they do not."""
    blocks = blocks_of(text)
    if len(blocks) != len(excerpts):
        return f"the page has {len(blocks)} transcripts, and {len(excerpts)} commands were run"
    for block, excerpt in zip(blocks, excerpts, strict=True):
        page, live = (
            [shape(line) for line in lines] for lines in (block.splitlines(), str(excerpt).splitlines())
        )
        if page != live:
            return "\n".join(("the page says:", block, "and the run printed:", str(excerpt)))
    return ""


class Page:
    """One runbook while its commands are run. ``excerpts``: what they printed so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.excerpts: list[Excerpt] = []

    def add(self, command: str, lines: Sequence[str]) -> None:
        """Appends the transcript of one command."""
        self.excerpts.append(Excerpt(command, tuple(lines)))

    def close(self, *, rewrites: bool) -> None:
        """Writes the page anew if a transcript differs in shape, or fails because of the difference."""
        text = self.path.read_text()
        if not (fault := difference(text, self.excerpts)):
            return
        assert rewrites, f"{self.path.name}: {fault}\nwrite it anew with --rewrite, and read the difference"
        self.path.write_text(with_blocks(text, self.excerpts))
