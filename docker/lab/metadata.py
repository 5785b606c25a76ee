"""Writes what Python needs to find a distribution's entry points, out of its pyproject.toml.

The image holds the lab as files on the path, without an installer. An installer would note this of it.
"""

import sys
import tomllib
from pathlib import Path


def main(source: Path, target: Path) -> None:
    """Makes ``target/NAME-VERSION.dist-info`` with METADATA and entry_points.txt."""
    project = tomllib.loads(source.read_text())["project"]
    place = target / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    place.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {project['name']}", f"Version: {project['version']}"]
    (place / "METADATA").write_text("\n".join(lines) + "\n")
    groups = project["entry-points"].items()
    text = [f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in named.items()) for group, named in groups]
    (place / "entry_points.txt").write_text("\n".join(text))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
