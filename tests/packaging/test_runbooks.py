"""Every runbook has the same parts and is in the index; transcripts are compared by what does not change."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.integration.runbook_pages import Excerpt, blocks_of, difference, excerpt_of, shape, with_blocks
from tests.places import ROOT

FOLDER = ROOT / "docs" / "runbooks"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
SECTIONS = ["How it looks", "First command", "What to do", "How to undo"]
PAGE = "Before.\n```console\n$ tieline status\nold\n```\nAfter.\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_runbook_has_its_four_parts_and_a_first_command(page: Path) -> None:
    """How it looks, the first command with what it prints, what to do, how to undo."""
    text = page.read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    first = text.split("## First command")[1].split("\n## ")[0]
    assert blocks_of(first)
    assert all(re.match(r"\$ tieline \S+.*\n.*\S", block) for block in blocks_of(text))


def test_every_runbook_is_run_and_listed() -> None:
    """The index, the site's navigation and the test with the faults name each page."""
    names = {page.name for page in PAGES}
    assert len(names) == 12
    assert set(re.findall(r"\]\(([a-z-]+\.md)\)", (FOLDER / "README.md").read_text())) == names
    site = (ROOT / "mkdocs.yml").read_text()
    assert set(re.findall(r"runbooks/([a-z-]+\.md)", site)) == names
    run = (ROOT / "tests" / "integration" / "test_runbooks.py").read_text()
    functions = {node.name for node in ast.parse(run).body if isinstance(node, ast.AsyncFunctionDef)}
    assert {name.removesuffix(".md").replace("-", "_") for name in names} <= functions


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("leader 09502df7 (epoch 0), heard 533 ms ago", "leader b37f537e (epoch 12), heard 1 s ago"),
        ("gcp/a   down    -   1,760", "gcp/a down 12 0"),
        ("moves 475 tokens/s: 243 to coreweave, 233 to gcp", "moves 1,000 tokens/s: 1,000 to azure"),
        ("drain oci until 2026-11-27 15:30:17 UTC by kim", "drain oci until 2026-12-01 03:04:05 UTC by kim"),
    ],
)
def test_figures_times_and_names_of_processes_differ_from_run_to_run(one: str, other: str) -> None:
    """Two runs print the same shape."""
    assert shape(one) == shape(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("gcp/a down 3 s clients' requests fail there", "gcp/a down 3 s requests succeed there"),
        ("drain oci by kim", "evacuate oci by kim"),
    ],
)
def test_words_make_a_difference(one: str, other: str) -> None:
    """What was printed is not what the page says."""
    assert shape(one) != shape(other)


def test_an_excerpt_needs_every_pattern() -> None:
    """The last line of each pattern, in the order of the output; nothing while one is missing."""
    output = "head\ngcp 1\nazure\ngcp 2\n"
    assert excerpt_of(output, ("gcp", "head")) == ("head", "gcp 2")
    assert excerpt_of(output, ("gcp", "oci")) == ()
    assert excerpt_of(output, ()) == ("head", "gcp 1", "azure", "gcp 2")


def test_a_page_is_written_anew_and_then_agrees() -> None:
    """Only the transcripts change; a page with more or fewer of them does not agree."""
    excerpt = Excerpt("tieline status", ("new",))
    assert "the page says" in difference(PAGE, [excerpt])
    page = with_blocks(PAGE, [excerpt])
    assert page == PAGE.replace("old", "new")
    assert difference(page, [excerpt]) == ""
    assert "1 transcripts, and 2 commands" in difference(page, [excerpt, excerpt])
