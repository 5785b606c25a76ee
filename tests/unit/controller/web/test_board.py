"""What the HTTP endpoint serves."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.web.board import ServedTable, newer_table
from tieline.keys import MANIFEST_FIELD, SIGNATURE_FIELD, slice_field
from tieline.order_signing import key_name
from tieline.signatures import manifest_flaw, sign_manifest
from tieline.table import (
    Generation,
    ModelOffer,
    PoolInfo,
    Route,
    RouteTable,
    SignedManifest,
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


def show(seq: int, before: ServedTable | None = None, overlay: bytes = b"", **more: object) -> ServedTable:
    """What is served after it."""
    found = newer_table(fields(seq, **more), overlay, before)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_what_is_served_never_goes_back() -> None:
    """Older or the same within a lineage is nothing new; an adopted lineage is."""
    held = show(5)
    assert newer_table(fields(4), b"", held) is None
    assert newer_table(fields(5), b"", held) is None
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
def test_what_is_damaged_is_not_newer_table(spoil: str) -> None:
    """A missing or damaged part: an error, and what is served stays."""
    whole = fields(1)
    with pytest.raises(TableError):
        newer_table({name: value for name, value in whole.items() if name != spoil}, b"", None)
    with pytest.raises(TableError):
        newer_table({**whole, spoil: b"x"}, b"", None)


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
    assert told["parents"] == []
    assert sum(pool["weight_ppm"] for pool in route["pools"]) + route["shed_ppm"] == 1_000_000


def test_an_answer_is_made_once() -> None:
    """The same routes of one generation are the same bytes, not made again for each client."""
    held = show(7)
    names = held.routes("chat", ("eu",))
    assert held.bundle(names) is held.bundle(names)


PRIVATE = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
KEYS = {key_name(PRIVATE.public_key().public_bytes_raw()): PRIVATE.public_key()}


def signed_fields(seq: int) -> dict[str, bytes]:
    """A table of controllers that sign, as it lies in Redis."""
    plain = fields(seq)
    signature = sign_manifest(PRIVATE, plain[MANIFEST_FIELD], "tieline")
    return {**plain, SIGNATURE_FIELD: signature.encode()}


def test_a_signed_table_is_handed_on_with_its_signature() -> None:
    """A bundle of one route has the whole manifest, as it was signed, so that clients can check it too."""
    served = newer_table(signed_fields(5), b"", None)
    assert served is not None
    bundle = decode_bundle(served.bundle(("chat/eu",)))
    assert list(bundle.slices) == ["chat/eu"]
    assert manifest_flaw(SignedManifest(bundle.manifest, bundle.signature), KEYS, "tieline") == ""


def test_with_controllers_keys_an_unsigned_table_is_not_served() -> None:
    """The endpoint keeps the last table that it believed."""
    assert newer_table(signed_fields(5), b"", None, accepted=KEYS, namespace="tieline") is not None
    with pytest.raises(TableError, match="the table in Redis is not signed"):
        newer_table(fields(5), b"", None, accepted=KEYS, namespace="tieline")
    with pytest.raises(TableError, match="not what was signed"):
        newer_table(signed_fields(5), b"", None, accepted=KEYS, namespace="other")
