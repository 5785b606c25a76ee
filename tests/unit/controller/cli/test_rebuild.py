"""What `tieline rebuild` refuses before it writes anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.cli.rebuild import overlay_in, require_same_history, writing_seal
from controller.process.clock import now_ms
from controller.process.errors import UserError
from controller.process.seal import NO_SEAL
from controller.process.settings import Settings
from tieline.overlay import Overlay, sign
from tieline.table import Generation

NEWEST = Generation("l1", 3, 7)
SETTINGS = Settings("127.0.0.1:1", namespace="here")


def stored(lineage: str = "l1", epoch: int = 3, seq: int = 7, history: str = "topic-1") -> list[bytes | None]:
    """The fields of the routes in Redis, as it gives them."""
    return [lineage.encode(), str(epoch).encode(), str(seq).encode(), history.encode()]


def written(path: Path, *, namespace: str = "here", age_ms: int = 0) -> Path:
    """A file with a signed overlay that lasted a minute."""
    at_ms = now_ms() - age_ms
    overlay = Overlay("fire", namespace, ("gcp",), issued_ms=at_ms, expires_ms=at_ms + 60_000,
                      actor="kim", reason="a fire")  # fmt: skip
    # An overlay is signed while it lasts; this one is looked at later.
    path.write_bytes(sign(overlay, Ed25519PrivateKey.generate()))
    return path


@pytest.mark.parametrize(
    "fields",
    [
        stored(),
        stored(seq=6),
        stored(epoch=2, seq=90),
        stored(history=""),
        [None, None, None, None],
    ],
)
def test_the_same_history_is_written_again(fields: list[bytes | None]) -> None:
    """Redis holds the newest, less, nothing, or does not know the topic."""
    require_same_history(fields, NEWEST, "topic-1")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (stored("l0"), "run `tieline adopt-lineage`"),
        (stored(seq=8), "name a new `lineage`"),
        (stored(epoch=4, seq=1), "name a new `lineage`"),
        (stored(history="topic-0"), "name a new `lineage`"),
    ],
)
def test_another_history_is_left_as_it_is(fields: list[bytes | None], words: str) -> None:
    """Another lineage, a newer table than Kafka has, or one from another topic."""
    with pytest.raises(UserError, match=f"LINEAGE: .*{words}"):
        require_same_history(fields, NEWEST, "topic-1")


def test_routes_that_nobody_would_believe_are_not_written(tmp_path: Path) -> None:
    """Where tables are checked they must be signed as well, and the error says by which setting."""
    checked = replace(SETTINGS, controller_keys=tmp_path / "controllers.pub")
    with pytest.raises(UserError, match=r"clients take no others: set TIELINE_SIGNING_KEY_FILE, or start"):
        writing_seal(checked)
    assert writing_seal(SETTINGS) == NO_SEAL


def test_an_overlay_comes_from_its_file(tmp_path: Path) -> None:
    """As long as it lasts, and only to its own installation."""
    overlay, data = overlay_in(written(tmp_path / "overlay"), SETTINGS)
    assert overlay.id == "fire"
    assert data == (tmp_path / "overlay").read_bytes()
    with pytest.raises(UserError, match="it has expired"):
        overlay_in(written(tmp_path / "old", age_ms=61_000), SETTINGS)
    with pytest.raises(UserError, match="for the namespace there"):
        overlay_in(written(tmp_path / "other", namespace="there"), SETTINGS)
    (tmp_path / "rubbish").write_bytes(b"{}")
    for name in ("rubbish", "missing"):
        with pytest.raises(UserError, match="it can't be used"):
            overlay_in(tmp_path / name, SETTINGS)
