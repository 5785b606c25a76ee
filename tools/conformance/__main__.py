"""Compares the files of tests/conformance with what the Python client gives, or writes them anew."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from tools.conformance import samples, worlds
from tools.conformance.plain import Json
from tools.conformance.play import expected, outcomes

FOLDER = Path(__file__).parents[2] / "tests" / "conformance"
SCENARIO_SEEDS, SCENARIO_STEPS = range(8), 110
REQUEST_SEEDS, REQUEST_STEPS = range(100, 110), 110
CROWD = 75
Makers = dict[str, Callable[[], Iterable[Json]]]


def makers() -> Makers:
    """Kind -> the inputs of its cases."""
    by_hand: Makers = {
        name: getattr(samples, name)
        for name in (
            "affinity", "answers", "bodies", "destinations", "exclusions",
            "limits", "scenarios", "shapes", "streams", "tables", "waits",
        )
    }  # fmt: skip
    return by_hand | {
        "scenarios": lambda: [
            *samples.scenarios(),
            *(worlds.scenario(seed, SCENARIO_STEPS) for seed in SCENARIO_SEEDS),
        ],
        "requests": lambda: [
            *(worlds.requests(seed, REQUEST_STEPS) for seed in REQUEST_SEEDS),
            *(worlds.crowd(result, CROWD) for result in ("server_error", "connect", "throttled")),
        ],
    }


def completed(kind: str, case: Json) -> Json:
    """The case with what it gives."""
    values = outcomes(kind, case)
    if "steps" not in case:
        return {**case, "gives": values[0]}
    steps = [{**step, "gives": value} for step, value in zip(case["steps"], values, strict=True)]
    return {**case, "steps": steps}


def text_of(cases: Iterable[Json]) -> str:
    """The cases as JSON: each on a line of its own, or each of its steps."""
    return "[\n" + ",\n".join(map(_case_text, cases)) + "\n]\n"


def _case_text(case: Json) -> str:
    if "steps" not in case:
        return _line(case)
    head = {name: value for name, value in case.items() if name != "steps"}
    steps = ",\n  ".join(map(_line, case["steps"]))
    return f'{_line(head)[:-1]},"steps":[\n  {steps}\n]}}'


def _line(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def differences() -> list[str]:
    """One line for each case of the files that the Python client sees otherwise."""
    lines = []
    for path in sorted(FOLDER.glob("*.json")):
        for case in json.loads(path.read_text()):
            values = json.loads(json.dumps(outcomes(path.stem, case)))
            if values != expected(case):
                lines.append(f"{path.name}: {case['name']}: gives something else now")
    return lines


def main(arguments: list[str]) -> int:
    """0: the files hold what the client does; 1: they differ."""
    parser = argparse.ArgumentParser(prog="python -m tools.conformance", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the files anew")
    if parser.parse_args(arguments).write:
        FOLDER.mkdir(exist_ok=True)
        for kind, make in makers().items():
            (FOLDER / f"{kind}.json").write_text(text_of(completed(kind, case) for case in make()))
        return 0
    lines = differences()
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
