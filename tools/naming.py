"""Rules of how values are built and named, for `tools/tidy.py`.

They hold for what ships and for the lab. Tests may be shorter.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from tools.source import Finding, Source

PLACES = ("client/tieline", "streams", "controller", "gateway", "picker", "lab")
POSITIONAL_MAX = 3
# Names that tell how a value came about, or nothing at all, and not what it is.
EMPTY_NAMES = frozenset(
    {"asked", "found", "given", "held", "kept", "known", "made", "one", "said", "seen", "told"}
)


def fields_are_named(sources: list[Source]) -> Iterator[Finding]:
    """A class of the project is called with at most three positional values: the rest are named."""
    sources = [source for source in sources if source.within(*PLACES)]
    classes = {node.name for source in sources for node in _classes(source)}
    for source in sources:
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func).rpartition(".")[2]
            count = sum(not isinstance(value, ast.Starred) for value in node.args)
            if name in classes and count > POSITIONAL_MAX:
                remedy = f"name the fields from the {POSITIONAL_MAX + 1}th on"
                yield source.at(node, f"{name} is called with {count} positional values: {remedy}")


def classes_are_unique(sources: list[Source]) -> Iterator[Finding]:
    """Within a wing no two classes have the same name. A module beside the wings is a wing of its own."""
    places: dict[tuple[str, str], list[tuple[Source, ast.ClassDef]]] = defaultdict(list)
    for source in sources:
        if source.within(*PLACES):
            for node in _classes(source):
                places[_wing(source), node.name].append((source, node))
    for (home, name), twins in places.items():
        for source, node in twins[1:]:
            first = twins[0][0].path
            yield source.at(node, f"{home} has another class {name} in {first}: give each a name of its own")


def names_are_nouns(source: Source) -> Iterator[Finding]:
    """A local name or a parameter says what the value is."""
    if not source.within(*PLACES):
        return
    for node in ast.walk(source.tree):
        name = node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else ""
        if isinstance(node, ast.arg):
            name = node.arg
        if name in EMPTY_NAMES:
            yield source.at(node, f"{name!r} does not say what the value is: name it by a noun")


def _classes(source: Source) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef))


def _wing(source: Source) -> str:
    """``controller.core``, ``tieline._tables``, ``tieline.table``, ``lab.demo``; ``streams`` is one wing."""
    parts = source.name.split(".")
    return parts[0] if parts[0] == "streams" else ".".join(parts[:2])
