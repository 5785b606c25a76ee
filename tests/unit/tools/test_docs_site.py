"""The site's pages, links and reference follow the repository."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.places import ROOT
from tools.docs_site import (
    PAGES,
    client_modules,
    core_modules,
    face,
    linked_files,
    on_page_markdown,
    target_of,
)


@pytest.mark.parametrize(
    ("source", "link", "target"),
    [
        ("README.md", "docs/events.md", "docs/events.md"),
        ("client/README.md", "../docs/events.md", "docs/events.md"),
        ("docs/decisions/README.md", "../benchmarks.md", "docs/benchmarks.md"),
    ],
)
def test_link_leads_to_a_path_in_the_repository(source: str, link: str, target: str) -> None:
    """A link is read from the folder of the file that it stands in."""
    assert target_of(source, link) == target


@pytest.mark.parametrize(
    ("page", "markdown", "site"),
    [
        ("index.md", "[a](docs/events.md#topics)", "[a](events.md#topics)"),
        ("index.md", "[a](client/README.md)", "[a](client.md)"),
        ("client.md", "[a](../README.md)", "[a](index.md)"),
        ("decisions/README.md", "[a](../benchmarks.md)", "[a](../benchmarks.md)"),
        (
            "index.md",
            "[a](https://example.org/a.md), [b](#here)",
            "[a](https://example.org/a.md), [b](#here)",
        ),
    ],
)
def test_link_keeps_its_meaning_on_the_site(page: str, markdown: str, site: str) -> None:
    """Links between files become links between pages. Addresses and anchors alone stay as they are."""
    described: Any = SimpleNamespace(file=SimpleNamespace(src_uri=page), meta={})
    assert on_page_markdown(markdown, described, config=None, files=None) == site


def test_every_page_from_elsewhere_and_every_linked_file_exists() -> None:
    """Nothing that the site is made of has been moved away."""
    assert [source for source in PAGES.values() if not (ROOT / source).is_file()] == []
    assert "examples/multicloud.yaml" in linked_files()


def test_reference_covers_what_is_public_and_no_more() -> None:
    """The client's public modules, names of `tieline` from private ones, and the core's chapters in order."""
    assert {"tieline", "tieline.events", "tieline.providers", "tieline.testing"} <= set(client_modules())
    assert not [name for name in client_modules() if "._" in name]
    assert "::: tieline.AsyncClient\n\n" in set(face())
    chapters = core_modules()
    assert chapters.index("controller.core.model") < chapters.index("controller.core.planner")
