"""The rule that pure files keep nothing between calls, for `tools/tidy.py`.

A file is pure if it lies in the decision core or its docstring says so (`PURE` or `Pure`). What a caller
wants to keep between calls belongs to an object that the caller owns: in the core that is `Memo`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tools.source import Finding, Source

CORE = "controller/core"
SAYS_PURE = re.compile(r"\b(PURE|Pure)\b")
CONTAINERS = (ast.Dict, ast.DictComp, ast.List, ast.ListComp, ast.Set, ast.SetComp)
CONTAINER_CALLS = {"bytearray", "Counter", "defaultdict", "deque", "dict", "list", "OrderedDict", "set"}
CHANGES = {
    "add", "append", "appendleft", "clear", "difference_update", "discard", "extend", "insert",
    "intersection_update", "move_to_end", "pop", "popitem", "popleft", "remove", "reverse", "rotate",
    "setdefault", "sort", "symmetric_difference_update", "update",
}  # fmt: skip
CACHES = {"cache", "lru_cache"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def pure_files_keep_nothing(source: Source) -> Iterator[Finding]:
    """A pure file has tables that nobody changes, in upper case, and no other containers of its own."""
    if not _is_pure(source):
        return
    own = dict(_own_names(source.tree))
    for name, (node, value) in own.items():
        if _is_container(value) and not name.isupper() and name != "__all__":
            remedy = "an upper-case name for a constant table, an argument for what is kept between calls"
            yield source.at(node, f"{name} is a container of the module: {remedy}")
    for function in ast.walk(source.tree):
        if isinstance(function, Function):
            yield from _kept_by(function, set(own), source)


def _is_pure(source: Source) -> bool:
    docstring = ast.get_docstring(source.tree) if source.tree.body else None
    return source.within(CORE) or bool(SAYS_PURE.search(docstring or ""))


def _own_names(tree: ast.Module) -> Iterator[tuple[str, tuple[ast.stmt, ast.expr | None]]]:
    """The names that the module's own statements bind, with the statement and its value."""
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    yield target.id, (node, node.value)


def _is_container(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call):
        function = value.func.value if isinstance(value.func, ast.Subscript) else value.func
        return ast.unparse(function).rpartition(".")[2] in CONTAINER_CALLS
    return isinstance(value, CONTAINERS)


def _kept_by(function: Function, own: set[str], source: Source) -> Iterator[Finding]:
    """What a function changes in the module, and what is kept of its answers."""
    own = own - _locals(function)
    for node in ast.walk(function):
        if isinstance(node, ast.Global):
            yield source.at(node, f"{function.name} rebinds {', '.join(node.names)} of the module: return it")
        elif (name := _changed(node)) in own:
            yield source.at(node, f"{function.name} changes {name} of the module: take it as an argument")
    for mark in function.decorator_list if source.within(CORE) else ():
        if ast.unparse(mark).partition("(")[0].rpartition(".")[2] in CACHES:
            yield source.at(
                mark, f"the answers of {function.name} are kept in the module: ask through a Memo"
            )


def _locals(function: Function) -> set[str]:
    """The names that the function binds itself: it does not mean the module's."""
    names = {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)}
    stored = (node for node in ast.walk(function) if isinstance(node, ast.Name))
    return names | {node.id for node in stored if isinstance(node.ctx, ast.Store)}


def _changed(node: ast.AST) -> str:
    """The name whose content a node changes: `name[0] = 1`, `del name[0]`, `name.append(1)`; else nothing."""
    target: ast.expr | None = None
    if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        target = node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
        target = node.func.value
    return target.id if isinstance(target, ast.Name) else ""
