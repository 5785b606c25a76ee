"""What the HTTP endpoint serves, and to whom: no socket here."""

import json
from pathlib import Path

import pytest

from controller.process.errors import SettingError
from controller.web.board import Served, served
from controller.web.limits import Limits, Rates
from controller.web.server import read_listen
from controller.web.tokens import TOKENS, Tokens
from tieline.keys import MANIFEST_FIELD, slice_field
from tieline.table import (
    Generation,
    ModelOffer,
    PoolInfo,
    Route,
    RouteTable,
    Split,
    TableError,
    checksum,
    decode_bundle,
    decode_manifest,
    manifest,
    slices,
)

POOLS = (
    PoolInfo("azure/uksouth/gpt", "eu", "https://a/v1", models=(ModelOffer("chat-large", "big"),)),
    PoolInfo("gcp/europe-west4/gpt", "eu", "https://g/v1", "vertex", "gcp"),
)
FIRST = "a-token-of-some-length"


def fields(seq: int, *, lineage: str = "l", urgent_seq: int = 0) -> dict[str, bytes]:
    """A table of two routes as it lies in Redis."""
    lost = {"azure": Split((1,), (1_000_000,))}
    routes = tuple(
        Route("chat", origin, "critical", Split((0, 1), (1, 999_999)), on_loss=lost, last_resort=(1,))
        for origin in ("eu", "us")
    )
    wanted = RouteTable(Generation(lineage, 1, seq), 1, POOLS, routes)
    parts = slices(wanted)
    found = {slice_field(name): data for name, data in parts.items()}
    return found | {MANIFEST_FIELD: manifest(wanted, parts, urgent_seq=urgent_seq)}


def show(seq: int, before: Served | None = None, overlay: bytes = b"", **more: object) -> Served:
    """What is served after it."""
    found = served(fields(seq, **more), overlay, before)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_what_is_served_never_goes_back() -> None:
    """Older or the same within a lineage is nothing new; an adopted lineage is."""
    held = show(5)
    assert served(fields(4), b"", held) is None
    assert served(fields(5), b"", held) is None
    assert show(6, held).generation.seq == 6
    assert show(1, held, lineage="next").generation.lineage == "next"


def test_an_overlay_is_served_with_whatever_table_is_the_newest() -> None:
    """It changes the ETag, is urgent, and goes as it came, also while an old table lies in Redis."""
    held = show(5)
    with_overlay = show(4, held, b"signed")
    assert with_overlay.generation.seq == 5
    assert with_overlay.etag != held.etag
    assert with_overlay.is_urgent_after(held)
    assert show(5, with_overlay).etag == held.etag


@pytest.mark.parametrize("spoil", [MANIFEST_FIELD, slice_field("chat/us")])
def test_what_is_damaged_is_not_served(spoil: str) -> None:
    """A missing or damaged part: an error, and what is served stays."""
    whole = fields(1)
    with pytest.raises(TableError):
        served({name: value for name, value in whole.items() if name != spoil}, b"", None)
    with pytest.raises(TableError):
        served({**whole, spoil: b"x"}, b"", None)


def test_urgency_is_relative_to_what_a_reader_had() -> None:
    """Whoever missed the urgent generation is told so by the next one."""
    first = show(1)
    second = show(2, first, urgent_seq=2)
    third = show(3, second, urgent_seq=2)
    assert second.is_urgent_after(first)
    assert third.is_urgent_after(first)
    assert not third.is_urgent_after(second)


def test_a_bundle_holds_the_routes_asked_for() -> None:
    """The slices' own bytes and a manifest that names only these; without origins all of the workload."""
    held = show(7)
    bundle = decode_bundle(held.bundle(held.routes("chat", ("eu",))))
    few = decode_manifest(bundle.manifest)
    assert list(few.slices) == list(bundle.slices) == ["chat/eu"]
    assert checksum(bundle.slices["chat/eu"]) == few.slices["chat/eu"]
    assert held.routes("chat", ()) == ("chat/eu", "chat/us")
    for workload, origins, missing in (("chat", ("mars",), "chat/mars"), ("api", (), "api/*")):
        with pytest.raises(KeyError, match=missing.replace("*", r"\*")):
            held.routes(workload, origins)


def test_json_says_everything_in_full() -> None:
    """Pools with their weights and addresses, defaults written out, the split for a lost provider, and the
    last resort, whose pools have no weight."""
    held = show(7)
    told = json.loads(held.json(held.routes("chat", ("eu",))))
    assert told["generation"] == "l:1:7"
    (route,) = told["routes"]
    assert [(pool["pool"], pool["weight_ppm"]) for pool in route["pools"]] == [
        ("azure/uksouth/gpt", 1),
        ("gcp/europe-west4/gpt", 999_999),
    ]
    assert route["pools"][1]["adapter"] == "vertex"
    assert route["pools"][1]["credential"] == "gcp"
    assert [pool["pool"] for pool in route["on_loss"]["azure"]["pools"]] == ["gcp/europe-west4/gpt"]
    assert [(pool["pool"], pool["weight_ppm"], pool["url"]) for pool in route["last_resort"]] == [
        ("gcp/europe-west4/gpt", 0, "https://g/v1")
    ]
    assert told["settings"]["first_token_timeout_ms"] == 10_000
    assert sum(pool["weight_ppm"] for pool in route["pools"]) + route["shed_ppm"] == 1_000_000


def test_each_address_has_a_rate_of_its_own() -> None:
    """A burst passes, then the rate; the wait told is enough; others don't feel it."""
    rates = Rates(Limits(requests_per_s=10.0, burst=2.0))
    assert [rates.wait_ms("a", 0) for _ in range(3)] == [0, 0, 100]
    assert rates.wait_ms("b", 0) == 0
    assert rates.wait_ms("a", 99) > 0
    assert rates.wait_ms("a", 100) == 0


def test_tokens_are_kept_as_digests_only(tmp_path: Path) -> None:
    """From a file and the environment; a changed file is read anew; a bad one changes nothing."""
    path = tmp_path / "tokens"
    path.write_text(f"# clients\n\n{FIRST}\n")
    tokens = Tokens(path, {TOKENS: "b" * 20})
    assert tokens.allowed(f"Bearer {FIRST}")
    assert tokens.allowed("bearer " + "b" * 20)
    assert not tokens.allowed(f"Basic {FIRST}")
    assert not tokens.allowed("")
    assert FIRST not in repr(tokens) + str(vars(tokens))
    path.write_text("short\n")
    with pytest.raises(SettingError, match="token 1 is no token") as caught:
        tokens.reread()
    assert "short" not in str(caught.value)
    assert tokens.allowed(f"Bearer {FIRST}")
    path.write_text("c" * 20 + "\n")
    assert tokens.reread()
    assert not tokens.reread()
    assert tokens.allowed("Bearer " + "c" * 20)
    assert not tokens.allowed(f"Bearer {FIRST}")


@pytest.mark.parametrize(
    ("text", "loopback"),
    [("127.0.0.1:8440", True), ("localhost:0", True), ("[::1]:1", True), ("0.0.0.0:80", False)],
)
def test_addresses_to_listen_on(text: str, loopback: bool) -> None:
    """Addresses, not names: what is bound is what was said."""
    assert read_listen(text).is_loopback is loopback
    for wrong in ("8440", "controller.example:80", f"{text}99999"):
        with pytest.raises(SettingError, match="--listen"):
            read_listen(wrong)


def test_an_answer_is_made_once() -> None:
    """The same routes of one generation are the same bytes, not made again for each client."""
    held = show(7)
    names = held.routes("chat", ("eu",))
    assert held.bundle(names) is held.bundle(names)
