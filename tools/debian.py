"""Programs that tests need and that only Debian has ready: from the path, or from the package, unpacked in
the cache.

Installing a package may start a server of its own, and needs root. Unpacking does neither.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.stack.cache import cache_directory, exclusive


class NoProgramError(Exception):
    """A program is not here, and its package can't be had: says why."""


def programs(package: str, *names: str) -> Path:
    """The directory with these programs of the package. Raises NoProgramError."""
    places = {str(Path(path).parent) if (path := shutil.which(name)) else "" for name in names}
    if len(places) == 1 and "" not in places:
        return Path(places.pop())
    place = cache_directory() / "debian" / package
    with exclusive(place.with_suffix(".lock")):
        if not all((place / "usr" / "bin" / name).is_file() for name in names):
            _unpack(package, place)
    return place / "usr" / "bin"


def _unpack(package: str, place: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NoProgramError(f"neither the programs of {package} nor apt-get are here: install {package}")
    place.mkdir(parents=True, exist_ok=True)
    download = ["apt-get", "download", "-qq", package]
    words = _run(download, place)
    if words:
        _run(["apt-get", "update", "-qq"], place)
        words = _run(download, place)
    files = sorted(place.glob(f"{package}_*.deb"))
    if words or not files:
        raise NoProgramError(f"Debian's package {package} can't be had: {words or 'nothing was downloaded'}")
    words = _run(["dpkg-deb", "-x", str(files[-1]), str(place)], place)
    if words:
        raise NoProgramError(f"Debian's package {package} can't be unpacked: {words}")


def _run(command: Sequence[str], place: Path) -> str:
    """What went wrong; empty if nothing did."""
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or f"{command[0]} ended with {done.returncode}"
