"""The frame that all benchmarks report through."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from bench._frame import Case, report

HUNDRED = [float(number) for number in range(100, 0, -1)]


def printed(*cases: Case, as_json: bool) -> list[str]:
    file = io.StringIO()
    report("pick", cases, as_json=as_json, console=Console(file=file, width=120))
    return file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("samples", "p50", "p99"), [(HUNDRED, 50.0, 99.0), ([7.0], 7.0, 7.0), ([1.0, 2.0], 1.0, 2.0)]
)
def test_quantiles_are_samples(samples: list[float], p50: float, p99: float) -> None:
    """A quantile is the nearest-rank sample, whatever the order they came in."""
    case = Case("c", "us", samples)
    assert (case.quantile("p50"), case.quantile("p99")) == (p50, p99)


def test_no_samples_is_an_error() -> None:
    """A benchmark that measured nothing doesn't report a number."""
    with pytest.raises(ValueError, match="no samples"):
        Case("empty", "us", []).quantile("p50")


def test_last_line_is_the_json_of_the_contract() -> None:
    """With --json the last line is one object with exactly the fields that tools read."""
    lines = printed(Case("4 pools", "us", HUNDRED, {"p50": 50, "p99": 98}), as_json=True)
    assert json.loads(lines[-1]) == {
        "bench": "pick",
        "cases": [
            {
                "case": "4 pools",
                "unit": "us",
                "n": 100,
                "p50": 50.0,
                "p99": 99.0,
                "target": {"p50": 50, "p99": 98},
                "met": False,
            }
        ],
    }


def test_table_says_what_was_missed() -> None:
    """People see each case with its target and whether it was met, and no JSON unless asked for."""
    text = "\n".join(
        printed(Case("a", "ms", [1.0], {"p50": 2}), Case("b", "ms", [3.0], {"p50": 2}), as_json=False)
    )
    assert "p50 <= 2" in text
    assert "yes" in text
    assert "NO" in text
    assert "{" not in text
