"""The names that completion offers: those of the installation that was looked at last, in a file.

`tieline status` writes them; the completion scripts read them without starting Tieline.
"""

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

NAMES_MAX = 10_000
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")  # nothing that a shell would take for more than a name


def names_path(environment: Mapping[str, str]) -> Path | None:
    """``names`` in ``$XDG_CACHE_HOME/tieline``, else in ``~/.cache/tieline``; None for a process without a
    home."""
    if base := environment.get("XDG_CACHE_HOME", ""):
        return Path(base) / "tieline" / "names"
    home = environment.get("HOME", "")
    return Path(home) / ".cache" / "tieline" / "names" if home else None


def names_of(pools: Iterable[str], routes: Iterable[str]) -> tuple[str, ...]:
    """Pools, their providers and regions, routes and their workloads; sorted."""
    names = {*pools, *routes}
    names |= {name.rsplit("/", 1)[0] for name in names} | {name.split("/", 1)[0] for name in names}
    return tuple(sorted(name for name in names if _PLAIN.fullmatch(name)))[:NAMES_MAX]


def remember(names: Iterable[str], environment: Mapping[str, str] = os.environ) -> None:
    """Writes these names, one a line, if they differ from those that are there.

    A file that can't be written is no reason to fail: then completion offers what it has.
    """
    if (path := names_path(environment)) is None:
        return
    text = "".join(f"{name}\n" for name in names)
    try:
        if path.exists() and path.read_text() == text:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(text)
        Path(file.name).replace(path)
    except (OSError, UnicodeDecodeError):
        return
