"""Writes `lab/stack/jars.sha256`: run it after changing a version below, and review the diff."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

from jgo.env import EnvironmentBuilder, LinkStrategy
from jgo.maven import MavenContext

KAFKA = "org.apache.kafka:kafka_2.13:4.1.1"
# Kafka logs through slf4j 1.7; its published dependencies bring log4j but not the bridge between the two.
# Fetched without dependencies of its own: resolved beside Kafka, log4j's versions would replace Kafka's.
LOG_BRIDGE = ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3")
SUMS = Path(__file__).parents[1] / "lab" / "stack" / "jars.sha256"


def main() -> int:
    """Resolves Kafka into an empty repository and writes one line per jar: sum, path in the repository."""
    with tempfile.TemporaryDirectory() as scratch:
        repository = Path(scratch, "repository")
        context = MavenContext(repo_cache=repository)
        environments = Path(scratch, "environments")
        builder = EnvironmentBuilder(context=context, cache_dir=environments, link_strategy=LinkStrategy.AUTO)
        builder.from_endpoint(KAFKA)
        group, artifact, version = LOG_BRIDGE
        context.project(group, artifact).at_version(version).artifact().resolve()
        jars = sorted(repository.rglob("*.jar"))
        lines = [
            f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.relative_to(repository)}" for jar in jars
        ]
    SUMS.write_text("\n".join(lines) + "\n")
    print(f"{SUMS}: {len(lines)} jars")
    return 0


if __name__ == "__main__":
    sys.exit(main())
