"""What mkdocs calls while it builds the documentation (`mkdocs.yml`).

Some pages lie elsewhere in the repository, where they are read without a site: README.md, CONTRIBUTING.md and
the client's own. Those of the reference are made from docstrings, one for each public module of the client
library and one for each chapter of the core, in the order of `.importlinter`. Links keep the form that works
in the repository and are rewritten here. A linked file that is no page (a policy) is copied into the site.
"""

from __future__ import annotations

import ast
import configparser
import hashlib
import posixpath
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = {
    "index.md": "README.md",
    "client.md": "client/README.md",
    "typescript.md": "clients/typescript/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "changelog.md": "CHANGELOG.md",
}
HOMES = {source: page for page, source in PAGES.items()}
LINK = re.compile(r"\]\((?P<path>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")
CLIENT = "client/tieline"
# The file that the project Mermaid releases as `mermaid.min.js` of version 11.16.0.
MERMAID_SHA256 = "74d7c46dabca328c2294733910a8aa1ed0c37451776e8d5295da38a2b758fb9b"


def on_config(config: Any) -> Any:
    """Appends the reference to the navigation and names the decisions one by one."""
    for entry in config.nav:
        if entry.get("Decisions"):
            entry["Decisions"] = [page.relative_to(ROOT / "docs").as_posix() for page in decisions()]
    client = [f"reference/{name}.md" for name in client_modules()]
    core = [f"reference/{name}.md" for name in core_modules()]
    config.nav.append({"Reference": [{"Client library": client}, {"The core": core}]})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds what does not lie in docs/."""
    from mkdocs.structure.files import File

    for page, source in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    for name, text in references():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    for path in sorted(linked_files()):
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    files.append(File.generated(config, "mermaid.min.js", abs_src_path=str(mermaid())))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with its links as the site has them. A page without sections needs no table of contents."""
    here = page.file.src_uri
    if "\n## " not in markdown and not here.startswith("reference/"):
        page.meta.setdefault("hide", ["toc"])

    def replaced(match: re.Match[str]) -> str:
        target = target_of(PAGES.get(here, f"docs/{here}"), match["path"])
        place = HOMES.get(target, target.removeprefix("docs/"))
        return f"]({posixpath.relpath(place, posixpath.dirname(here) or '.')}{match['anchor'] or ''})"

    return LINK.sub(replaced, markdown)


def target_of(source: str, link: str) -> str:
    """The path within the repository of what a file there links to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link))


def linked_files() -> set[str]:
    """Paths within the repository of linked files that are neither pages nor below docs/."""
    sources = [
        *PAGES.values(),
        *(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
    ]
    targets = {
        target_of(source, match["path"])
        for source in sources
        for match in LINK.finditer((ROOT / source).read_text())
    }
    return {
        path for path in targets - HOMES.keys() if not path.startswith("docs/") and (ROOT / path).is_file()
    }


def decisions() -> list[Path]:
    """The index of the decisions, then each in the order of its number."""
    return sorted((ROOT / "docs" / "decisions").glob("*.md"), key=lambda path: (path.stem != "README", path))


def client_modules() -> list[str]:
    """The client's face and its public modules, by name."""
    modules = {path.stem for path in (ROOT / CLIENT).glob("*.py")}
    packages = {path.parent.name for path in (ROOT / CLIENT).glob("*/__init__.py")}
    return ["tieline", *sorted(f"tieline.{name}" for name in modules | packages if not name.startswith("_"))]


def core_modules() -> list[str]:
    """The core's chapters and modules, from those that all others rest on to those that look at decisions."""
    rules = configparser.ConfigParser()
    rules.read(ROOT / ".importlinter")
    layers = rules["importlinter:contract:core"]["layers"].replace(":", " ").split()
    return ["controller.core", *(f"controller.core.{name}" for name in reversed(layers))]


def references() -> Iterator[tuple[str, str]]:
    """Name and text of each page of the reference."""
    for name in client_modules():
        yield name, f"# {name}\n\n" + ("".join(face()) if name == "tieline" else directive(name))
    for name in core_modules():
        yield name, f"# {name}\n\n" + directive(name, members=name != "controller.core")


def directive(name: str, *, members: bool = True) -> str:
    """What mkdocstrings replaces by the docstrings of a module, or of one name in it."""
    options = "    options:\n      show_root_heading: false\n      show_root_toc_entry: false\n"
    return f"::: {name}\n{options}" + ("" if members else "      members: false\n") + "\n"


def face() -> Iterator[str]:
    """The names of `tieline` whose modules are private."""
    yield directive("tieline", members=False)
    tree = ast.parse((ROOT / CLIENT / "__init__.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tieline._"):
            yield from (f"::: tieline.{alias.name}\n\n" for alias in node.names)


def mermaid() -> Path:
    """The copy of Mermaid in a locked package. Raises ValueError if it is not Mermaid's own release."""
    spec = find_spec("mermaidx")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "assets" / "mermaid.js"
    if hashlib.sha256(path.read_bytes()).hexdigest() != MERMAID_SHA256:
        raise ValueError(
            f"{path} is not the Mermaid that tools/docs_site.py names: check it and change MERMAID_SHA256"
        )
    return path
