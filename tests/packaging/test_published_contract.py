"""The contract in docs/contract: as the code says it, and valid for the official parser of AsyncAPI."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.cli import main
from tests.places import ROOT
from tools.toolchains import node, node_packages

PUBLISHED = ROOT / "docs" / "contract"
KIT = sorted((PUBLISHED / "golden").glob("*.ndjson"))
VALIDATOR = ROOT / "tools" / "asyncapi"


def test_what_is_published_is_what_the_code_does(capsys: pytest.CaptureFixture[str]) -> None:
    """After a change of an event: `tieline contract --write docs/contract`."""
    assert main(["contract", "--check", str(PUBLISHED)]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("file", KIT, ids=lambda path: path.stem)
def test_every_golden_record_is_taken_or_refused_as_it_says(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By `tieline contract verify`, as anybody runs it."""
    assert main(["contract", "verify", str(file)]) == 0, capsys.readouterr().out


def test_the_official_parser_accepts_the_document(tmp_path: Path) -> None:
    """And every example and golden record is valid by the published schemas. It would notice a document
    that breaks AsyncAPI's rules, an example that breaks its schema, and a record that its schema refuses."""
    broken, wrong = tmp_path / "broken", tmp_path / "wrong"
    spoil(broken, lambda document: document["info"].pop("title"))
    spoil(wrong, lambda document: examples(document)[0]["payload"].update(provider="Azure!"))
    schema = wrong / "schemas" / "demand.v1.json"
    schema.write_text(schema.read_text().replace('"maximum": 900000', '"maximum": 900'))
    faults = validated(PUBLISHED, broken, wrong)
    assert faults[str(PUBLISHED)] == []
    assert 'info: "info" property must have required property "title"' in faults[str(broken)]
    text = " | ".join(faults[str(wrong)])
    assert "Report, example report-full, payload: /provider must match pattern" in text
    assert "golden record demand-full.json: /interval_ms must be <= 900" in text


def spoil(place: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """A copy of what is published, with another document."""
    shutil.copytree(PUBLISHED, place)
    document = yaml.safe_load((place / "asyncapi.yaml").read_text())
    change(document)
    (place / "asyncapi.yaml").write_text(yaml.safe_dump(document))


def examples(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of a report in the binary mode."""
    rows: list[dict[str, Any]] = document["components"]["messages"]["Report"]["examples"]
    return rows


def validated(*directories: Path) -> dict[str, list[str]]:
    """What is wrong, by directory. Raises NoToolchainError."""
    place = node_packages(VALIDATOR)
    command = [node(), place / "validate.mjs", *directories]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, list[str]] = json.loads(done.stdout)
    return answer
