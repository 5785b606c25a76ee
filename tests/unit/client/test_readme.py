"""The Python snippets in the client's README compile, name what exists, and run."""

import ast
import importlib
import inspect
import re
from typing import Any

import pytest

import tieline
from tests.places import ROOT
from tieline.testing import FakePools

SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "client" / "README.md").read_text("utf-8"), re.DOTALL)
RUN = ('http_client(library="httpx"', "match choice:", "FakePools(")

for library in ("httpx", "httpx2"):  # loading one reads files, which must not happen within an event loop
    importlib.import_module(library)


def compiled(snippet: str) -> Any:
    """The snippet as code that may await, as `python -m asyncio` takes it."""
    return compile(snippet, "client/README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def exists(name: ast.Attribute) -> bool:
    """Whether a name like ``tieline.table.ClientSettings`` leads to something."""
    value: Any = tieline
    for part in ast.unparse(name).split(".")[1:]:
        value = getattr(value, part, None)
    return value is not None


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_a_snippet_compiles_and_names_what_exists(snippet: str) -> None:
    """Every name that begins with ``tieline.`` leads to something public."""
    compiled(snippet)
    for node in ast.walk(ast.parse(snippet)):
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("tieline."):
            assert exists(node), ast.unparse(node)


@pytest.mark.parametrize("part", RUN)
async def test_a_snippet_runs(part: str) -> None:
    """Over fake pools, with the names that the README has introduced before it."""
    (snippet,) = (snippet for snippet in SNIPPETS if part in snippet)
    fake = FakePools({"azure/swedencentral/gpt-4o": 1}, model="chat-large")
    async with tieline.AsyncClient(fake, workload="chat", origin="eu") as tl:
        assert await tl.ready()
        messages = [{"role": "user", "content": "Where does it flow?"}]
        running = eval(compiled(snippet), {"tieline": tieline, "tl": tl, "messages": messages})
        if inspect.isawaitable(running):
            await running
