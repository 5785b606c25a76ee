"""The conformance vectors, by which clients in other languages are measured, and the Python client itself.

A change that is meant to decide otherwise writes them anew (`python -m tools.conformance --write`), says in
its commit message what differs, and mends the other clients.
"""

import json
from pathlib import Path

import pytest

from tests.places import ROOT
from tools.conformance.play import KINDS, expected, outcomes

FILES = sorted((ROOT / "tests" / "conformance").glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_python_client_gives_what_the_vectors_say(path: Path) -> None:
    """Every case of the file, played by the pure parts of the client."""
    cases = json.loads(path.read_text())
    assert cases
    for case in cases:
        values = json.loads(json.dumps(outcomes(path.stem, case)))
        for number, (value, wanted) in enumerate(zip(values, expected(case), strict=True)):
            assert value == wanted, f"{case['name']}, step {number}"


def test_every_kind_has_a_file() -> None:
    """No rule that the player knows is left without cases."""
    assert {path.stem for path in FILES} == {*KINDS, "scenarios", "requests"}
