"""Breaks one rule of the product at a time and runs a world of `tieline sim` that must show it.

`python -m tools.sim_mutations [--search N] [--jobs J] [NAME...]`; the list is `tools/sim_mutations.toml`. An
entry is a mutation as `tools.mutate` has them, with the invariant of the simulator that must notice it and a
world in which it does, in place of tests.

A world is a file in `tools/sim_worlds`, which changes of the generator leave alone. Several mutations may
share one. The unbroken product must keep every promise in it, which is tried as well.

With `--search N` the first N seeds are tried where the world notices nothing. With `--write` the world that
was found is made smaller and becomes the file of that mutation's name.

Nothing is copied: each mutation runs in a process of its own, in which the one module is compiled from the
changed text. Exits 1 if an invariant did not notice, if a mutation no longer fits the code, or if a world
breaks a promise of the unbroken product.
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

from lab.workers import workers
from tools.mutate import ROOT, ListError, entries_of

LIST = ROOT / "tools" / "sim_mutations.toml"
WORLDS = ROOT / "tools" / "sim_worlds"
LIMIT_S = 600.0
SEARCH_LIMIT_S = 7_200.0
FIELDS = {"name": str, "rule": str, "file": str, "old": str, "new": str, "invariant": str, "world": str}


@dataclass(frozen=True)
class SimMutation:
    """One broken rule of the product. ``invariant`` must notice it in ``world``, a file of ``WORLDS``."""

    name: str
    rule: str
    file: str
    old: str
    new: str
    invariant: str
    world: str

    @property
    def path(self) -> Path:
        """The file of the world."""
        return WORLDS / f"{self.world}.json"

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
    """What came of one mutation. ``result``: caught, SURVIVED, CAN'T RUN or DOES NOT APPLY. ``world``: the
    text of a smaller world that was found by a search."""

    mutation: SimMutation
    result: str
    report: str
    took_s: float = 0.0
    world: str = ""


def read_list(file: Path = LIST) -> list[SimMutation]:
    """The whole list. Raises ``ListError``."""
    return [SimMutation(**entry) for entry in entries_of(file, FIELDS)]


def write_world(mutation: SimMutation, world: str, file: Path = LIST, folder: Path = WORLDS) -> None:
    """Writes a world to a file of the mutation's own, and names it in the list."""
    (folder / f"{mutation.name}.json").write_text(world)
    before, name, after = file.read_text().partition(f'name = "{mutation.name}"\n')
    entry, field, rest = after.partition('\nworld = "')
    file.write_text(f"{before}{name}{entry}{field}{mutation.name}{rest[rest.index(chr(34)) :]}")


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


def first_breach(mutation: SimMutation, search: int, *, shrinks: bool) -> dict[str, object]:
    """Breaks the rule in this process and runs worlds until the invariant is breached.

    Returns place, second and story of the breach, and with ``shrinks`` a smaller world if a seed made it;
    without a breach ``others``, the invariants that were breached.
    """
    sys.meta_path.insert(0, BrokenRule(mutation))
    command = importlib.import_module("lab.system.command")
    worlds = [(mutation.world, command.read_world(mutation.path))] if mutation.path.is_file() else []
    seeds = ((f"seed {seed}", command.generate_system(str(seed))) for seed in range(search))
    others: set[str] = set()
    for place, world in (*worlds, *seeds):
        for breach in command.run_world(world).breaches:
            if breach.invariant != mutation.invariant:
                others.add(breach.invariant)
                continue
            report = {"place": place, "second": breach.second, "story": breach.story}
            if shrinks and place != mutation.world:
                report["world"] = command.world_text(command.shrink_system(world, mutation.invariant))
            return report
    return {"others": sorted(others)}


def judge(mutation: SimMutation, search: int = 0, *, shrinks: bool = False) -> SimOutcome:
    """Runs the mutation in a process of its own."""
    if fault := mutation.fault():
        return SimOutcome(mutation, "DOES NOT APPLY", fault)
    began = time.monotonic()
    command = [sys.executable, "-m", "tools.sim_mutations", "--in-this-process", mutation.name]
    command += ["--search", str(search), *(["--write"] if shrinks else [])]
    limit_s = SEARCH_LIMIT_S if search else LIMIT_S
    try:
        ended = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        return SimOutcome(mutation, "CAN'T RUN", f"not done after {limit_s:.0f} s", limit_s)
    took_s = time.monotonic() - began
    if ended.returncode != 0:
        last = ended.stderr.strip().splitlines()[-1:] or ["no output"]
        return SimOutcome(mutation, "CAN'T RUN", last[0], took_s)
    report = json.loads(ended.stdout.splitlines()[-1])
    if "place" in report:
        text = f"{report['place']}, second {report['second']}: {report['story']}"
        return SimOutcome(mutation, "caught", text, took_s=took_s, world=report.get("world", ""))
    others = ", ".join(report["others"]) or "nothing"
    return SimOutcome(mutation, "SURVIVED", f"breached: {others}", took_s)


def run(
    mutations: Sequence[SimMutation], search: int, jobs: int, *, shrinks: bool = False
) -> Iterator[SimOutcome]:
    """Every mutation's outcome, in the list's order."""
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(lambda mutation: judge(mutation, search, shrinks=shrinks), mutations)


def unbroken_faults(path: Path) -> list[str]:
    """The promises that the unbroken product breaks in a world: none, or the world shows nothing."""
    command = importlib.import_module("lab.system.command")
    return [
        f"{breach.invariant}: {breach.story}"
        for breach in command.run_world(command.read_world(path)).breaches
    ]


def broken_worlds(mutations: Sequence[SimMutation], jobs: int) -> Iterator[str]:
    """A line for each world of these mutations in which the unbroken product breaks a promise."""
    paths = sorted({mutation.path for mutation in mutations if mutation.path.is_file()})
    with workers(jobs) as pool:
        for path, faults in zip(paths, pool.map(unbroken_faults, paths), strict=True):
            if faults:
                yield f"{path.name}: the unbroken product breaks {faults[0]}"


def main(arguments: Sequence[str]) -> int:
    """Prints each outcome as it comes. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.sim_mutations", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--search", type=int, default=0, metavar="N", help="also try the first N seeds (0)")
    parser.add_argument(
        "--write", action="store_true", help="make the worlds that a search finds smaller, and write them"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="processes (1)")
    parser.add_argument("--in-this-process", metavar="NAME", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    try:
        mutations = {mutation.name: mutation for mutation in read_list()}
        if unknown := [name for name in args.names if name not in mutations]:
            raise ListError(f"there is no mutation {unknown[0]}; there are: {' '.join(mutations)}")
    except ListError as error:
        print(f"sim_mutations: {error}", file=sys.stderr)
        return 2
    if args.in_this_process:
        output = os.dup(1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the solver prints a banner there
        report = first_breach(mutations[args.in_this_process], args.search, shrinks=args.write)
        os.write(output, json.dumps(report).encode() + b"\n")
        return 0
    chosen = [mutations[name] for name in dict.fromkeys(args.names)] or list(mutations.values())
    bad = 0
    for outcome in run(chosen, args.search, args.jobs, shrinks=args.write):
        bad += outcome.result != "caught"
        print(f"{outcome.result:<14} {outcome.mutation.name} ({outcome.mutation.invariant})", flush=True)
        print(f"{'':<14} {outcome.took_s:.1f} s, {outcome.report[:200]}", flush=True)
        if args.write and outcome.world:
            write_world(outcome.mutation, outcome.world)
    faults = list(broken_worlds(chosen, args.jobs))
    print("\n".join([*faults, f"{len(chosen) - bad} of {len(chosen)} mutations caught"]))
    return 1 if bad or faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
