"""The project's rules that no other tool checks, as a program: `python -m tools.tidy`.

Each finding is one line, `file:line: what is wrong: the remedy`. Exits 1 if there is any.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.naming import classes_are_unique, fields_are_named, names_are_nouns
from tools.purity import pure_files_keep_nothing
from tools.source import Finding, Source

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
SHIPPED = ("client/tieline", "streams", "controller", "gateway", "picker")
CHECKED = (*SHIPPED, "lab", "examples", "bench", "tools", "tests")
# The rim: where a clock may be read. Everything else takes its time as an argument.
CLOCKS = (
    "controller/process/clock.py",
    "client/tieline/_process/clock.py",
    "bench/",
    "examples/producers/",
    "tests/",
    "tools/",
)
CLOCK_CALLS = {
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}
LEFTOVER = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
MOCKS = {"mock", "unittest.mock", "pytest_mock"}
MAY_PATCH = "tests/packaging/"
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


Rule = Callable[[Source], Iterator[Finding]]


def file_is_short(source: Source) -> Iterator[Finding]:
    """A file tells one thing."""
    if (lines := source.text.count("\n")) > FILE_LINES_MAX:
        yield Finding(
            source.path, lines, f"{lines} lines, more than {FILE_LINES_MAX}: split it by what it does"
        )


def functions_are_short(source: Source) -> Iterator[Finding]:
    """A function fits on a screen, its signature and docstring included."""
    for node in ast.walk(source.tree):
        if isinstance(node, FUNCTION) and (lines := _last_line(node) - node.lineno + 1) > FUNCTION_LINES_MAX:
            remedy = "move the work into helpers, keep the branches"
            yield source.at(node, f"{node.name} has {lines} lines, more than {FUNCTION_LINES_MAX}: {remedy}")


def nothing_is_left_over(source: Source) -> Iterator[Finding]:
    """Unfinished work belongs in an issue."""
    for number, line in enumerate(source.text.splitlines(), start=1):
        if found := LEFTOVER.search(line):
            yield Finding(
                source.path, number, f"{found.group()} left in the code: do it, or file it and remove it"
            )


def nothing_is_a_stub(source: Source) -> Iterator[Finding]:
    """What isn't implemented isn't there."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name) and node.id == "NotImplementedError":
            yield source.at(
                node, "NotImplementedError: implement it, or use a Protocol or an abstract method"
            )


def clock_is_at_the_rim(source: Source) -> Iterator[Finding]:
    """Time is an argument; only the files in CLOCKS read it."""
    if source.within(*CLOCKS):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and _is_clock(node):
            yield source.at(node, f"{ast.unparse(node)} reads a clock: take now_ms as an argument")
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            for alias in node.names:
                if alias.name in CLOCK_CALLS["time"]:
                    yield source.at(node, f"imports time.{alias.name}: take now_ms as an argument")


def tests_use_real_parts(source: Source) -> Iterator[Finding]:
    """No mocks: a double is a product module that passes the same tests as the real part."""
    if not source.within("tests") or source.within(MAY_PATCH):
        return
    for node in ast.walk(source.tree):
        names = set(_imported(node, source)) if isinstance(node, (ast.Import, ast.ImportFrom)) else set()
        if names & MOCKS:
            yield source.at(node, "imports a mock library: use the real part or a memory part of the product")


def tests_wait_for_conditions(source: Source) -> Iterator[Finding]:
    """A test that sleeps is slow when all is well and wrong when it isn't. `sleep(0)` only yields."""
    if not source.within("tests") or source.path == "tests/waiting.py":
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and _called(node) == "sleep" and not _is_zero(node):
            yield source.at(node, "sleeps: wait for a condition with tests.waiting.until")


def tests_state_their_promise(source: Source) -> Iterator[Finding]:
    """A test's docstring is its promise."""
    if not source.within("tests"):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, FUNCTION) and node.name.startswith("test_") and not ast.get_docstring(node):
            yield source.at(node, f"{node.name} has no docstring: say what it promises")


def modules_are_introduced(source: Source) -> Iterator[Finding]:
    """A newcomer learns from the first line what a file is for."""
    if source.tree.body and not ast.get_docstring(source.tree):
        yield Finding(source.path, 1, "no module docstring: say in a line what the file is for")


def client_is_documented(source: Source) -> Iterator[Finding]:
    """What applications call says what it does."""
    if not source.within("client/tieline"):
        return
    for holder in _public_scopes(source.tree):
        for node in holder.body:
            if isinstance(node, (*FUNCTION, ast.ClassDef)) and _lacks_docstring(node):
                yield source.at(
                    node, f"{node.name} is public and has no docstring: say what it does and raises"
                )


RULES: tuple[Rule, ...] = (
    file_is_short,
    functions_are_short,
    nothing_is_left_over,
    nothing_is_a_stub,
    clock_is_at_the_rim,
    tests_use_real_parts,
    tests_wait_for_conditions,
    tests_state_their_promise,
    modules_are_introduced,
    client_is_documented,
    names_are_nouns,
    pure_files_keep_nothing,
)


def every_module_is_used(sources: list[Source]) -> Iterator[Finding]:
    """Each shipped module is imported by one that isn't a test, is a program, or is the client's face."""
    used = {name for source in sources if not source.within("tests") for name in _uses(source)}
    for source in sources:
        if source.within(*SHIPPED) and not _stands_alone(source) and source.name not in used:
            yield Finding(source.path, 1, "nobody imports this module: use it or remove it")


def check(sources: list[Source]) -> list[Finding]:
    """All findings, by file and line."""
    findings = [finding for source in sources for rule in RULES for finding in rule(source)]
    findings += every_module_is_used(sources)
    findings += fields_are_named(sources)
    findings += classes_are_unique(sources)
    return sorted(findings, key=lambda finding: (finding.path, finding.line, finding.what))


def read(root: Path) -> list[Source]:
    """The project's Python files."""
    paths = sorted(path for place in CHECKED for path in (root / place).rglob("*.py"))
    return [Source(path.relative_to(root).as_posix(), path.read_text()) for path in paths]


def main(root: Path) -> int:
    """Prints the findings. Returns the exit status."""
    sources = read(root)
    findings = check(sources)
    for finding in findings:
        print(finding)
    if not findings:
        print(f"tidy: {len(sources)} files keep the rules")
    return 1 if findings else 0


def _last_line(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return node.end_lineno or node.lineno


def _is_clock(node: ast.Attribute) -> bool:
    """`time.monotonic`, `datetime.now`, `datetime.datetime.now`."""
    owner = node.value
    name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
    return node.attr in CLOCK_CALLS.get(name, ())


def _called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _is_zero(node: ast.Call) -> bool:
    return len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0


def _imported(node: ast.Import | ast.ImportFrom, source: Source) -> Iterator[str]:
    """Every dotted name that an import statement could mean: `from a import b` is `a` and `a.b`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        package = (
            source.name.split(".") if source.path.endswith("__init__.py") else source.name.split(".")[:-1]
        )
        kept = package[: len(package) - node.level + 1]
        base = ".".join([*kept, base] if base else kept)
    yield base
    yield from (f"{base}.{alias.name}" for alias in node.names)


def _uses(source: Source) -> Iterator[str]:
    """What a file imports; a package's `__init__` may name its modules as strings, to load them lazily."""
    may_be_lazy = source.path.endswith("__init__.py")
    for node in ast.walk(source.tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (name for name in _imported(node, source) if name != source.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and may_be_lazy:
            yield node.value
            yield f"{source.name}.{node.value.lstrip('.')}"


def _stands_alone(source: Source) -> bool:
    """Packages, programs, and the client's public modules."""
    last = source.name.rpartition(".")[2]
    if source.path.endswith(("__init__.py", "__main__.py")) or not source.tree.body:
        return True
    if source.within("client/tieline") and not last.startswith("_") and "._" not in source.name:
        return True
    return any(isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) for node in source.tree.body)


def _public_scopes(tree: ast.Module) -> Iterator[ast.Module | ast.ClassDef]:
    yield tree
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node


def _lacks_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Overloads, setters and a protocol's members are documented with what they belong to."""
    if isinstance(node.body[0], ast.Expr) and ast.unparse(node.body[0]) == "...":
        return False
    marks = {ast.unparse(mark).rpartition(".")[2] for mark in node.decorator_list}
    return (
        not node.name.startswith("_") and not marks & {"overload", "setter"} and not ast.get_docstring(node)
    )


if __name__ == "__main__":
    sys.exit(main(Path(__file__).parents[1]))
