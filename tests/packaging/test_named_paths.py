"""What documents and rules name exists, and the layout names everything there is."""

from __future__ import annotations

import configparser
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import ROOT
from tools import tidy
from tools.docs_site import LINK, target_of

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "client/*.md", "docs/**/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
)
FOLDERS = "bench|client|controller|docker|docs|examples|lab|script|streams|tests|tools"
PATH = re.compile(rf"(?<![\w./:-])(?:{FOLDERS})/[\w./*-]*\w")
LAYOUT = (ROOT / "docs" / "layout.md").read_text()


def exists(path: str) -> bool:
    """Whether the project has this path; one with `*` needs a file that fits."""
    return any(ROOT.glob(path)) if "*" in path else (ROOT / path).exists()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_document_names_paths_that_exist(document: str) -> None:
    """Every path that begins with a folder of the project, and every link, leads to a file or a folder."""
    text = (ROOT / document).read_text()
    links = [target_of(document, match["path"]) for match in LINK.finditer(text)]
    assert [path for path in [*PATH.findall(LINK.sub("", text)), *links] if not exists(path)] == []


def packages() -> Iterator[str]:
    """Every package of the product and the lab, as a path."""
    for root in ("client/tieline", "controller", "gateway", "lab", "streams"):
        yield from (path.parent.relative_to(ROOT).as_posix() for path in (ROOT / root).rglob("__init__.py"))


def test_layout_names_every_room() -> None:
    """Each package has its line in the table of rooms; `controller` is all of its wings."""
    rooms = set(re.findall(r"`([\w/]+)`", LAYOUT))
    assert set(packages()) - rooms - {"controller"} == set()


@pytest.mark.parametrize(
    ("contract", "heading"),
    [("controller", "the controller"), ("core", "the core"), ("client", "the client library")],
)
def test_layout_shows_the_order_of_imports(contract: str, heading: str) -> None:
    """The layers in the layout are those that import-linter checks."""
    rules = configparser.ConfigParser()
    rules.read(ROOT / ".importlinter")
    layers = rules[f"importlinter:contract:{contract}"]["layers"].strip().splitlines()
    drawn = "".join(f"    {layer.replace(' : ', ', ')}\n" for layer in layers)
    assert f"\n{heading}\n{drawn}" in LAYOUT, f"docs/layout.md needs these layers of .importlinter:\n{drawn}"


def expanded(pattern: str) -> Iterator[str]:
    """A pattern without its braces: `a/{b,c}.py` is `a/b.py` and `a/c.py`."""
    before, brace, rest = pattern.partition("{")
    choices, _, after = rest.partition("}")
    yield from (f"{before}{choice}{after}" for choice in choices.split(",")) if brace else [pattern]


def test_rules_name_places_that_exist() -> None:
    """No rule of tidy, ruff, mypy or pytest is left over from a place that has moved."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    exceptions = settings["ruff"]["lint"]["per-file-ignores"]
    places = [
        *tidy.CHECKED,
        *tidy.CLOCKS,
        *settings["mypy"]["files"],
        *settings["pytest"]["ini_options"]["testpaths"],
        *(place for pattern in exceptions for place in expanded(pattern)),
    ]
    assert [place for place in places if not exists(place)] == []


def mirrored(folder: str, tree: Path) -> list[str]:
    """Folders of unit tests that mirror no folder of the tree; a wing loses its underscore."""
    tests = ROOT / "tests" / "unit" / folder
    return [
        place
        for path in tests.rglob("test_*.py")
        if (place := path.parent.relative_to(tests).as_posix()) != "."
        and not any((tree / prefix).is_dir() for prefix in (place, f"_{place}"))
    ]


@pytest.mark.parametrize(
    ("folder", "tree"),
    [
        ("client", "client/tieline"),
        ("controller", "controller"),
        ("gateway", "gateway"),
        ("lab", "lab"),
        ("streams", "streams"),
    ],
)
def test_unit_tests_mirror_the_tree(folder: str, tree: str) -> None:
    """Each folder of unit tests is named after the wing or chapter that it tests."""
    assert mirrored(folder, ROOT / tree) == []
