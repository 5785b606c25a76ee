"""Kafka's jars. Each is named with its SHA-256 in `jars.sha256`, fetched once, and checked at every start.

jgo fetches them. It doesn't verify its cache (it accepted a jar with four altered bytes), so this module
does. `python -m lab.stack.jars` fetches and checks them ahead of the first start, for scripts and images.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from lab.errors import JarError, StackError
from lab.stack.cache import cache_directory, exclusive

SUMS = Path(__file__).with_name("jars.sha256")
FETCHES_AT_ONCE = 8
SAY_EVERY_JARS = 10
TIMEOUT_S = 30

Say = Callable[[str], None]
Fetch = Callable[["Jar", Path], Path]


@dataclass(frozen=True)
class Jar:
    """One pinned jar. `path` is that in a Maven repository: `group/as/path/artifact/version/file`."""

    path: str
    sha256: str

    @property
    def coordinate(self) -> tuple[str, str, str]:
        """Group, artifact and version."""
        *group, artifact, version, _file = self.path.split("/")
        return ".".join(group), artifact, version

    def is_intact(self, repository: Path) -> bool:
        """Whether the file in `repository` is exactly the pinned one."""
        return _sum(repository / self.path) == self.sha256


def pinned(sums: Path = SUMS) -> tuple[Jar, ...]:
    """The jars that `sums` lists, in its order.

    Its lines are those of `sha256sum`, relative to the repository.
    """
    lines = (line.split() for line in sums.read_text().splitlines())
    return tuple(Jar(path, digest) for digest, path in lines)


def fetch_with_jgo(jar: Jar, repository: Path) -> Path:
    """Downloads one jar from Maven Central into `repository`, without dependencies. Raises JarError."""
    try:
        from jgo.maven import MavenContext
    except ImportError:
        raise JarError(
            "the embedded Kafka needs the package jgo, which is not installed: "
            "install tieline-lab with its dependencies"
        ) from None
    group, artifact, version = jar.coordinate
    context = MavenContext(repo_cache=repository, timeout=TIMEOUT_S)
    try:
        return Path(context.project(group, artifact).at_version(version).artifact().resolve())
    except (OSError, RuntimeError) as error:  # network errors are OSErrors; a 404 is a RuntimeError of jgo's
        raise JarError(f"could not download {Path(jar.path).name} ({type(error).__name__})") from error


def ensure_jars(
    cache: Path, say: Say, jars: Iterable[Jar] | None = None, fetch: Fetch = fetch_with_jgo
) -> list[Path]:
    """Checks all pinned jars under `cache`, fetches those that are missing or wrong, and returns the paths.

    `say` hears of the progress. Raises JarError, which names the jar and the remedy.
    """
    wanted = tuple(pinned() if jars is None else jars)
    repository = cache / "maven"
    with exclusive(cache / "maven.lock"):
        wrong = [jar for jar in wanted if not jar.is_intact(repository)]
        for jar in wrong:
            if (repository / jar.path).exists():
                say(f"{repository / jar.path} is not the pinned jar (its SHA-256 differs): fetching it again")
        if wrong:
            _fetch_all(wrong, repository, say, fetch)
    return [repository / jar.path for jar in wanted]


def _fetch_all(jars: list[Jar], repository: Path, say: Say, fetch: Fetch) -> None:
    """Fetches into a scratch directory and moves each jar into place once its SHA-256 is right.

    Thus a later start meets neither an interrupted download nor a wrong file.
    """
    say(f"downloading Apache Kafka: {len(jars)} jars")
    repository.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=repository, prefix=".fetch-") as scratch,
        ThreadPoolExecutor(FETCHES_AT_ONCE) as pool,
    ):
        pending = {pool.submit(fetch, jar, Path(scratch)): jar for jar in jars}
        for done, future in enumerate(as_completed(pending), start=1):
            try:
                _place(pending[future], future.result(), repository)
            except JarError as error:
                pool.shutdown(wait=True, cancel_futures=True)
                raise _with_remedy(pending[future], repository, error) from error
            if done % SAY_EVERY_JARS == 0 or done == len(jars):
                say(f"downloading Apache Kafka: {done} of {len(jars)} jars")


def _place(jar: Jar, fetched: Path, repository: Path) -> None:
    digest = _sum(fetched)
    if digest != jar.sha256:
        raise JarError(f"the downloaded {fetched.name} has SHA-256 {digest}, not the pinned {jar.sha256}")
    target = repository / jar.path
    target.parent.mkdir(parents=True, exist_ok=True)
    fetched.replace(target)


def _with_remedy(jar: Jar, repository: Path, error: JarError) -> JarError:
    place = repository / jar.path
    state = "its cached copy is not the pinned one and " if place.exists() else ""
    return JarError(
        f"Kafka can't start without {jar.path}: {state}{error}; "
        f"check the network (or the proxy in between) and start again, or put the right file at {place}"
    )


def _sum(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def main() -> int:
    """Fetches and checks the jars. Progress and errors go to standard error. Returns the exit status."""
    try:
        ensure_jars(cache_directory(), lambda progress: print(progress, file=sys.stderr, flush=True))
    except StackError as error:
        print(f"tieline: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
