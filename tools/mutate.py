"""Breaks the rules one at a time, in a copy of the project, and says whether a test notices.

`python -m tools.mutate [NAME...]`; the list is `tools/mutations/*.toml`. A mutation is a short text that
stands exactly once in a file, what to put in its place, the rule that this breaks, and the tests that should
notice. Exits 1 if one survives, takes longer than its limit, can't be run, or no longer fits the code.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tools" / "mutations"
AT_ONCE = 2
LIMIT_S = 90.0
ALL_LIMIT_S = 300.0  # for the tests as they are
FIELDS = {"name": str, "rule": str, "file": str, "old": str, "new": str, "tests": list}
NEVER_RAN = re.compile(r"\b(NameError|SyntaxError|ImportError|ModuleNotFoundError|UnboundLocalError)\b")
PYTEST = (
    "-x",
    "-q",
    "--tb=line",
    "-p",
    "no:cacheprovider",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)
# Libraries that every run needs, loaded once: half of a short run's time.
LOADED = [
    "pytest",
    "hypothesis.strategies",
    "msgspec",
    "valkey",
    "yaml",
    "aiokafka",
    "redis.asyncio",
    "httpx2",
]
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(LOADED)


class ListError(ValueError):
    """A mistake in the list; says file and place."""


@dataclass(frozen=True)
class Mutation:
    """One broken rule. ``tests`` are pytest's own ids, relative to the project."""

    name: str
    rule: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self, text: str) -> str:
        """The file's text with the rule broken."""
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Outcome:
    """What came of one mutation. ``said``: the test that noticed, or what went wrong."""

    mutation: Mutation
    result: str  # caught, SURVIVED, TOO SLOW, CAN'T RUN, DOES NOT APPLY
    said: str
    took_s: float = 0.0


def entries_of(file: Path, fields: Mapping[str, type]) -> Iterator[dict[str, Any]]:
    """The entries of one file, each with exactly these fields. Raises ``ListError``."""
    try:
        entries = tomllib.loads(file.read_text())["mutation"]
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise ListError(f"{file.name}: {error}") from None
    for number, entry in enumerate(entries, 1):
        place = f"{file.name}: mutation {number} ({entry.get('name', 'unnamed')})"
        if wrong := [name for name, kind in fields.items() if not isinstance(entry.get(name), kind)]:
            raise ListError(f"{place}: {', '.join(wrong)} missing or of the wrong type")
        if unknown := sorted(set(entry) - set(fields)):
            raise ListError(f"{place}: unknown field {unknown[0]}")
        yield entry


def read(folder: Path = FOLDER) -> list[Mutation]:
    """The whole list, by file and place. Raises ``ListError``."""
    found = [
        Mutation(**{**entry, "tests": tuple(entry["tests"])})
        for file in sorted(folder.glob("*.toml"))
        for entry in entries_of(file, FIELDS)
    ]
    names = [mutation.name for mutation in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ListError(f"two mutations are called {twice[0]}")
    return found


def fault(mutation: Mutation, root: Path = ROOT) -> str:
    """Why the mutation no longer fits the code, or an empty string."""
    file = root / mutation.file
    if not file.is_file():
        return f"{mutation.file} is not there"
    if (times := file.read_text().count(mutation.old)) != 1:
        return f"its text stands {times} times in {mutation.file}, not once"
    if mutation.old == mutation.new or not mutation.tests:
        return "it changes nothing" if mutation.tests else "it names no test"
    return next((missing for test in mutation.tests if (missing := missing_test(test, root))), "")


def missing_test(test: str, root: Path = ROOT) -> str:
    """What of a pytest id (file, class, function, parameter) is not there, or an empty string."""
    file, *parts = test.split("::")
    if not (root / file).exists():
        return f"{file} is not there"
    text = (root / file).read_text() if parts else ""
    for part in parts:
        name, _, parameter = part.partition("[")
        if not re.search(rf"^\s*(async def|def|class) {re.escape(name)}\b", text, re.MULTILINE):
            return f"{file} has no {name}"
        if name == "test_scenario" and not (root / file).with_name(f"{parameter[:-1]}.scenario").is_file():
            return f"there is no scenario {parameter[:-1]}"
    return ""


@contextmanager
def copies(root: Path, count: int) -> Iterator[list[Path]]:
    """The project as it stands, work not yet committed included, ``count`` times."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    names = [name for name in listed.stdout.decode().split("\0") if name and (root / name).is_file()]
    with tempfile.TemporaryDirectory(prefix="tieline-mutations-") as place:
        found = [Path(place) / str(number) for number in range(count)]
        for copy in found:
            for name in names:
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, copy / name)
            # Compiled by content: a file changed within one second and to the same size is compiled anew.
            kept = ["-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "client", "."]
            subprocess.run([sys.executable, *kept], cwd=copy, stdout=subprocess.DEVNULL, check=False)
        yield found


def run_tests(copy: Path, tests: Sequence[str], limit_s: float) -> tuple[int | None, str]:
    """pytest's exit status and output in the copy; status None when the limit was reached."""
    output = copy / ".pytest-output"
    child = FORKED.Process(target=_pytest, args=(copy, tuple(tests), output))
    child.start()
    child.join(limit_s)
    if child.is_alive() and child.pid is not None:
        os.killpg(child.pid, signal.SIGKILL)
        child.join()
        return None, output.read_text()
    return child.exitcode, output.read_text()


def _pytest(copy: Path, tests: tuple[str, ...], output: Path) -> None:
    """In a process of its own that has libraries loaded and nothing of the project but this file."""
    import pytest

    os.setsid()
    os.chdir(copy)
    os.environ.setdefault("TIELINE_CACHE", str(ROOT / ".cache"))
    sys.dont_write_bytecode = True
    sys.path[:] = [
        str(copy),
        str(copy / "client"),
        *(path for path in sys.path if path not in ("", str(ROOT))),
    ]
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.exit(pytest.main([*PYTEST, *tests]))


def judge(mutation: Mutation, copy: Path) -> Outcome:
    """Applies one mutation in the copy, runs its tests, takes it back."""
    file = copy / mutation.file
    whole = file.read_text()
    began = time.monotonic()
    file.write_text(mutation.applied(whole))
    try:
        status, output = run_tests(copy, mutation.tests, LIMIT_S)
    finally:
        file.write_text(whole)
    took_s = time.monotonic() - began
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    if status is None:
        return Outcome(mutation, "TOO SLOW", f"not done after {LIMIT_S:.0f} s", took_s)
    if status == 0:
        return Outcome(mutation, "SURVIVED", mutation.rule, took_s)
    if status != 1 or NEVER_RAN.search(output) or failed is None:
        last = output.strip().splitlines()[-1:] or ["no output"]
        return Outcome(mutation, "CAN'T RUN", last[0], took_s)
    return Outcome(mutation, "caught", failed[1].rpartition("/")[2], took_s)


def run(mutations: Sequence[Mutation], tell: Callable[[Outcome], None], root: Path = ROOT) -> list[Outcome]:
    """Every mutation's outcome, in the list's order. Raises ``ListError`` if the tests fail as they are."""
    unfit = {
        mutation.name: Outcome(mutation, "DOES NOT APPLY", fault(mutation, root)) for mutation in mutations
    }
    fit = [mutation for mutation in mutations if not unfit[mutation.name].said]
    found = {name: outcome for name, outcome in unfit.items() if outcome.said}
    for outcome in found.values():
        tell(outcome)
    if not fit:
        return list(found.values())
    with copies(root, min(AT_ONCE, len(fit))) as places:
        _check_unbroken(places[0], fit)
        free: SimpleQueue[Path] = SimpleQueue()
        for place in places:
            free.put(place)

        def one(mutation: Mutation) -> Outcome:
            place = free.get()
            try:
                return judge(mutation, place)
            finally:
                free.put(place)

        with ThreadPoolExecutor(len(places)) as pool:
            for done in as_completed([pool.submit(one, mutation) for mutation in fit]):
                outcome = done.result()
                found[outcome.mutation.name] = outcome
                tell(outcome)
    return [found[mutation.name] for mutation in mutations]


def _check_unbroken(copy: Path, mutations: Sequence[Mutation]) -> None:
    tests = sorted({test for mutation in mutations for test in mutation.tests})
    status, output = run_tests(copy, tests, ALL_LIMIT_S)
    if status != 0:
        raise ListError(f"the tests do not pass with every rule in place:\n{output[-2_000:]}")


def main(names: Sequence[str]) -> int:
    """Prints each outcome as it comes and all as a table. Returns the exit status."""
    try:
        listed = read()
        known = {mutation.name: mutation for mutation in listed}
        if unknown := [name for name in names if name not in known]:
            raise ListError(f"there is no mutation {unknown[0]}; there are: {' '.join(known)}")
        chosen = [known[name] for name in dict.fromkeys(names)] or listed
        print(f"mutations: {len(chosen)} of {len(listed)}, {AT_ONCE} at a time; first the tests as they are")
        began = time.monotonic()
        outcomes = run(
            chosen, lambda outcome: print(f"{outcome.result:<14} {outcome.mutation.name}", flush=True)
        )
    except ListError as error:
        print(f"mutations: {error}", file=sys.stderr)
        return 2
    bad = [outcome for outcome in outcomes if outcome.result != "caught"]
    print()
    for outcome in outcomes:
        print(f"{outcome.result:<14} {outcome.mutation.name:<34} {outcome.took_s:5.1f} s  {outcome.said}")
    took_s = time.monotonic() - began
    print(f"\n{len(outcomes) - len(bad)} of {len(outcomes)} mutations caught in {took_s:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
