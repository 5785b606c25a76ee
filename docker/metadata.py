"""Writes the metadata of a distribution from its pyproject.toml: its name, its version and its entry points.

The images hold the project as files on the path, without an installer. An installer would write the same.
"""

import sys
import tomllib
from pathlib import Path


def main(source: Path, target: Path) -> None:
    """Creates ``target/NAME-VERSION.dist-info`` with METADATA and entry_points.txt."""
    project = tomllib.loads(source.read_text())["project"]
    place = target / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    place.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {project['name']}", f"Version: {project['version']}"]
    (place / "METADATA").write_text("\n".join(lines) + "\n")
    sections = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project.get("entry-points", {}).items()
    ]
    (place / "entry_points.txt").write_text("\n".join(sections))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
