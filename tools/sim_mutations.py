"""Breaks one rule of the product at a time and runs worlds of `tieline sim` until its invariant is breached.

`python -m tools.sim_mutations [--search N] [--jobs J] [NAME...]`; the list is `tools/sim_mutations.toml`. An
entry is a mutation as `tools.mutate` has them, with the invariant of the simulator that must notice it and
the seeds of worlds in which it does, in place of tests. Every invariant of `lab.system.rules.INVARIANTS` has
one. With `--search N` the first N seeds are tried where the listed ones notice nothing; with `--write` the
seeds that were found are written into the list.

Nothing is copied: each mutation runs in a process of its own, in which the one module is compiled from the
changed text. Exits 1 if an invariant did not notice, or a mutation no longer fits the code.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from tools.mutate import ROOT, ListError, entries_of

LIST = ROOT / "tools" / "sim_mutations.toml"
LIMIT_S = 600.0
FIELDS = {"name": str, "rule": str, "file": str, "old": str, "new": str, "invariant": str, "seeds": list}


@dataclass(frozen=True)
class SimMutation:
    """One broken rule of the product. ``invariant``: what must notice it, in a world of ``seeds``."""

    name: str
    rule: str
    file: str
    old: str
    new: str
    invariant: str
    seeds: tuple[int, ...]

    def fault(self) -> str:
        """Why it no longer fits the code, or an empty string."""
        file = ROOT / self.file
        if file.suffix != ".py" or not file.is_file():
            return f"{self.file} is no module of the product"
        if (times := file.read_text().count(self.old)) != 1:
            return f"its text stands {times} times in {self.file}, not once"
        return "it changes nothing" if self.old == self.new else ""


@dataclass(frozen=True)
class SimOutcome:
    """What came of one mutation. ``result``: caught, SURVIVED, CAN'T RUN or DOES NOT APPLY."""

    mutation: SimMutation
    result: str
    report: str
    took_s: float = 0.0
    seed: int | None = None


def read_list(file: Path = LIST) -> list[SimMutation]:
    """The whole list. Raises ``ListError``."""
    entries = entries_of(file, FIELDS)
    return [SimMutation(**{**entry, "seeds": tuple(entry["seeds"])}) for entry in entries]


def write_seed(mutation: SimMutation, seed: int, file: Path = LIST) -> None:
    """Puts a seed in the place of those that the list has for this mutation."""
    before, name, after = file.read_text().partition(f'name = "{mutation.name}"\n')
    entry, invariant, rest = after.partition("\nseeds = [")
    file.write_text(f"{before}{name}{entry}{invariant}{seed}{rest[rest.index(']') :]}")


class BrokenModule(SourceFileLoader):
    """Loads a module with one rule broken."""

    def __init__(self, name: str, mutation: SimMutation) -> None:
        super().__init__(name, str(ROOT / mutation.file))
        self._mutation = mutation

    def get_code(self, fullname: str) -> CodeType:
        """Compiles the changed text; nothing is stored."""
        text = Path(self.path).read_text().replace(self._mutation.old, self._mutation.new)
        return compile(text, self.get_filename(fullname), "exec", dont_inherit=True)


class BrokenRule(MetaPathFinder):
    """Finds the one module that is broken, and no other."""

    def __init__(self, mutation: SimMutation) -> None:
        self._mutation = mutation
        self._place = ROOT / mutation.file

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See ``MetaPathFinder``."""
        if fullname.rpartition(".")[2] != self._place.stem or path is None:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin == str(self._place):
            spec.loader = BrokenModule(fullname, self._mutation)
        return spec


def first_breach(mutation: SimMutation, seeds: Sequence[int]) -> dict[str, object]:
    """Breaks the rule in this process and runs these worlds until the invariant is breached.

    Returns seed, second and story of the breach; without one ``others``, the invariants that were breached.
    """
    sys.meta_path.insert(0, BrokenRule(mutation))
    run_seed = importlib.import_module("lab.system.command").run_seed
    others: set[str] = set()
    for seed in seeds:
        for breach in run_seed(seed).breaches:
            if breach.invariant == mutation.invariant:
                return {
                    "seed": seed,
                    "second": breach.second,
                    "story": breach.story,
                    "others": sorted(others),
                }
            others.add(breach.invariant)
    return {"others": sorted(others)}


def judge(mutation: SimMutation, search: int) -> SimOutcome:
    """Runs the mutation in a process of its own."""
    if fault := mutation.fault():
        return SimOutcome(mutation, "DOES NOT APPLY", fault)
    seeds = list(dict.fromkeys((*mutation.seeds, *range(search))))
    began = time.monotonic()
    command = (sys.executable, "-m", "tools.sim_mutations", "--in-this-process", mutation.name)
    try:
        ended = subprocess.run(
            (*command, *map(str, seeds)),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return SimOutcome(mutation, "CAN'T RUN", f"not done after {LIMIT_S:.0f} s", LIMIT_S)
    took_s = time.monotonic() - began
    if ended.returncode != 0:
        last = ended.stderr.strip().splitlines()[-1:] or ["no output"]
        return SimOutcome(mutation, "CAN'T RUN", last[0], took_s)
    report = json.loads(ended.stdout.splitlines()[-1])
    if "seed" in report:
        text = f"seed {report['seed']}, second {report['second']}: {report['story']}"
        return SimOutcome(mutation, "caught", text, took_s=took_s, seed=report["seed"])
    others = ", ".join(report["others"]) or "nothing"
    return SimOutcome(mutation, "SURVIVED", f"{len(seeds)} worlds; breached: {others}", took_s)


def run(mutations: Sequence[SimMutation], search: int, jobs: int) -> Iterator[SimOutcome]:
    """Every mutation's outcome, in the list's order."""
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(lambda mutation: judge(mutation, search), mutations)


def main(arguments: Sequence[str]) -> int:
    """Prints each outcome as it comes. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.sim_mutations", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--search", type=int, default=0, metavar="N", help="also try the first N seeds (0)")
    parser.add_argument("--write", action="store_true", help="write the seeds that were found into the list")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="processes (1)")
    parser.add_argument("--in-this-process", metavar="NAME", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    try:
        mutations = {mutation.name: mutation for mutation in read_list()}
        if unknown := [name for name in args.names if not args.in_this_process and name not in mutations]:
            raise ListError(f"there is no mutation {unknown[0]}; there are: {' '.join(mutations)}")
    except ListError as error:
        print(f"sim_mutations: {error}", file=sys.stderr)
        return 2
    if args.in_this_process:
        output = os.dup(1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the solver prints a banner there
        report = first_breach(mutations[args.in_this_process], [int(seed) for seed in args.names])
        os.write(output, json.dumps(report).encode() + b"\n")
        return 0
    chosen = [mutations[name] for name in dict.fromkeys(args.names)] or list(mutations.values())
    bad = 0
    for outcome in run(chosen, args.search, args.jobs):
        bad += outcome.result != "caught"
        print(f"{outcome.result:<14} {outcome.mutation.name} ({outcome.mutation.invariant})", flush=True)
        print(f"{'':<14} {outcome.took_s:.1f} s, {outcome.report[:200]}", flush=True)
        if args.write and outcome.seed is not None:
            write_seed(outcome.mutation, outcome.seed)
    print(f"{len(chosen) - bad} of {len(chosen)} mutations caught")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
