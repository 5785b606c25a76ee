"""Only the pinned jars come onto the classpath."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from lab.errors import JarError
from lab.stack.jars import Jar, ensure_jars, pinned

GOOD = b"the right jar"
PATH = "org/example/thing/1.0/thing-1.0.jar"
JAR = Jar(PATH, hashlib.sha256(GOOD).hexdigest())


class Shop:
    """A source of jars that serves fixed bytes, and counts its visits."""

    def __init__(self, content: bytes | None) -> None:
        self.content = content
        self.visits = 0

    def __call__(self, jar: Jar, repository: Path) -> Path:
        self.visits += 1
        if self.content is None:
            raise JarError("could not download thing-1.0.jar (ConnectionError)")
        path = repository / jar.path
        path.parent.mkdir(parents=True)
        path.write_bytes(self.content)
        return path


def ensure(cache: Path, shop: Shop) -> tuple[list[Path], list[str]]:
    said: list[str] = []
    return ensure_jars(cache, said.append, [JAR], shop), said


def put(cache: Path, content: bytes) -> Path:
    path = cache / "maven" / PATH
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_every_pinned_line_is_whole() -> None:
    """jars.sha256 names each jar once, with a full sum and a path whose coordinate fits the file's name."""
    jars = pinned()
    assert len({jar.path for jar in jars}) == len(jars) > 40
    for jar in jars:
        assert re.fullmatch("[0-9a-f]{64}", jar.sha256)
        _, artifact, version = jar.coordinate
        assert jar.path.endswith(f"/{artifact}-{version}.jar")
    assert "org/apache/kafka/kafka_2.13/4.1.1/kafka_2.13-4.1.1.jar" in {jar.path for jar in jars}


def test_coordinate() -> None:
    """The Maven coordinate is read from the path."""
    assert JAR.coordinate == ("org.example", "thing", "1.0")


def test_missing_is_fetched_and_said(tmp_path: Path) -> None:
    """What is missing is fetched, with progress, and leaves no scratch behind."""
    shop = Shop(GOOD)
    paths, said = ensure(tmp_path, shop)
    assert [path.read_bytes() for path in paths] == [GOOD]
    assert said == ["downloading Apache Kafka: 1 jars", "downloading Apache Kafka: 1 of 1 jars"]
    assert not list((tmp_path / "maven").glob(".fetch-*"))


def test_intact_is_not_fetched(tmp_path: Path) -> None:
    """A cached jar with the right sum needs no network and no message."""
    put(tmp_path, GOOD)
    shop = Shop(None)
    assert ensure(tmp_path, shop)[1] == []
    assert shop.visits == 0


def test_spoilt_is_replaced_once(tmp_path: Path) -> None:
    """A cached jar with a wrong sum is reported and fetched again, once."""
    path = put(tmp_path, b"another jar")
    shop = Shop(GOOD)
    _, said = ensure(tmp_path, shop)
    assert "is not the pinned jar" in said[0]
    assert path.read_bytes() == GOOD
    assert shop.visits == 1


def test_wrong_download_is_refused(tmp_path: Path) -> None:
    """A download with a wrong sum is never put into the cache, and the error names jar, sums and remedy."""
    shop = Shop(b"poisoned")
    with pytest.raises(JarError, match=rf"{PATH}.*not the pinned {JAR.sha256}.*check the network"):
        ensure(tmp_path, shop)
    assert not (tmp_path / "maven" / PATH).exists()
    assert shop.visits == 1


def test_no_network_is_one_sentence(tmp_path: Path) -> None:
    """Without a network the error is one line that names the jar and the place to put a copy."""
    with pytest.raises(JarError) as caught:
        ensure(tmp_path, Shop(None))
    assert "\n" not in str(caught.value)
    assert "check the network" in str(caught.value)
    assert str(tmp_path / "maven" / PATH) in str(caught.value)
