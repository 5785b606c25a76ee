"""The emergency overlay: who may say it, for how long, and what becomes of a table under it."""

import base64
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

import tieline
from tests.unit.client.made_tables import generation, part
from tieline._tables.exclusion import without_excluded
from tieline._tables.overlays import Overlays
from tieline.events import in_scope
from tieline.order_signing import key_name
from tieline.overlay import LASTS_MAX_MS, Overlay, OverlayError, sign, verify
from tieline.signatures import public_keys
from tieline.table import MILLION, Slice

NOW_MS = 1_790_000_000_000
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
KEYS = {key_name(PRIVATE.public_key().public_bytes_raw()): PRIVATE.public_key()}
A, B, C = "azure/uksouth/gpt", "azure/francecentral/gpt", "gcp/europe-west4/gpt"


def pem(private: Ed25519PrivateKey | X25519PrivateKey) -> str:
    """Its public half as a file holds it."""
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def overlay(*exclude: str, issued_ms: int = NOW_MS, lasts_ms: int = 3_600_000, **more: str) -> Overlay:
    """One that holds, unless told otherwise."""
    settings = {"id": "ov-1", "namespace": "tieline", "actor": "root", "reason": "fire", **more}
    return Overlay(exclude=exclude, issued_ms=issued_ms, expires_ms=issued_ms + lasts_ms, **settings)


def refused(data: bytes, *, now_ms: int = NOW_MS, namespace: str = "tieline") -> str:
    """Why."""
    with pytest.raises(OverlayError) as caught:
        verify(data, KEYS, namespace=namespace, now_ms=now_ms)
    return str(caught.value)


def test_what_was_signed_is_what_holds() -> None:
    """The whole of it, up to its last millisecond."""
    made = overlay("azure", C)
    data = sign(made, PRIVATE)
    assert verify(data, KEYS, namespace="tieline", now_ms=NOW_MS) == made
    assert verify(data, KEYS, namespace="tieline", now_ms=made.expires_ms - 1) == made


def test_what_anybody_else_could_have_made_is_refused() -> None:
    """Another key, another text, a signature for something else, another installation's, none at all."""
    data = sign(overlay("azure"), PRIVATE)
    assert "not among overlay_keys" in refused(sign(overlay("azure"), OTHER))
    fields = msgspec.json.decode(data)
    assert "signature" in refused(
        msgspec.json.encode({**fields, "payload": fields["payload"].replace("azure", "gcp")})
    )
    bare = base64.b64encode(PRIVATE.sign(fields["payload"].encode())).decode()
    assert "signature" in refused(msgspec.json.encode({**fields, "signature": bare}))
    assert "signature" in refused(msgspec.json.encode({**fields, "signature": "?"}))
    assert "namespace" in refused(data, namespace="staging")
    for rubbish in (b"", b"{}", b"\xff", b"x" * 200_000, msgspec.json.encode({"exclude": ["azure"]})):
        assert refused(rubbish)


def test_it_never_outlives_four_hours() -> None:
    """None that lasts longer can be made or honoured; nor one from the future; nor one whose time is over."""
    with pytest.raises(OverlayError, match="4 h"):
        sign(overlay(lasts_ms=LASTS_MAX_MS + 1), PRIVATE)
    with pytest.raises(OverlayError, match="4 h"):
        sign(overlay(lasts_ms=0), PRIVATE)
    data = sign(overlay(lasts_ms=LASTS_MAX_MS), PRIVATE)
    assert "expired" in refused(data, now_ms=NOW_MS + LASTS_MAX_MS)
    assert "future" in refused(data, now_ms=NOW_MS - 60_001)


def test_keys_are_pem_texts_or_files(tmp_path: Path) -> None:
    """Several in one file; anything else is said with its place."""
    path = tmp_path / "keys.pem"
    path.write_text(pem(PRIVATE) + "\n" + pem(OTHER))
    assert set(public_keys([path], "overlay_keys")) == {
        key_name(one.public_key().public_bytes_raw()) for one in (PRIVATE, OTHER)
    }
    assert set(public_keys([pem(PRIVATE)], "overlay_keys")) == set(KEYS)
    path.write_text(pem(X25519PrivateKey.from_private_bytes(b"x" * 32)))
    for wrong in (path, tmp_path / "none.pem"):
        with pytest.raises(tieline.ConfigurationError, match=str(wrong)):
            public_keys([wrong], "overlay_keys")


def test_the_newest_holds_until_its_own_end() -> None:
    """What is deleted is not taken back, an older one changes nothing, a newer one replaces all; a clock that
    is set back does not prolong it."""
    overlays = Overlays(KEYS, "tieline")
    first, second = sign(overlay("azure"), PRIVATE), sign(overlay("gcp", issued_ms=NOW_MS + 1), PRIVATE)
    assert overlays.consider("table", first, NOW_MS, 0)
    assert not overlays.consider("table", first, NOW_MS, 0)
    assert not overlays.consider("table", b"", NOW_MS, 0)
    assert list(overlays.excluded) == ["azure"]
    assert overlays.consider("file", second, NOW_MS, 0)
    assert not overlays.consider("table", first, NOW_MS, 0)
    assert list(overlays.excluded) == ["gcp"]
    assert not overlays.expire(3_600_000)
    assert overlays.expire(3_600_001)
    assert not overlays.excluded
    assert not overlays.error


def test_a_withdrawal_is_a_newer_one_that_excludes_nothing() -> None:
    """And the older one, still lying somewhere, does not come back."""
    overlays = Overlays(KEYS, "tieline")
    old = sign(overlay("azure"), PRIVATE)
    overlays.consider("file", old, NOW_MS, 0)
    assert overlays.consider("table", sign(overlay(issued_ms=NOW_MS + 1), PRIVATE), NOW_MS, 0)
    assert not overlays.consider("file", old, NOW_MS, 0)
    assert overlays.excluded == ()


def test_without_keys_it_is_refused_and_said() -> None:
    """As long as it lies there."""
    overlays = Overlays({}, "tieline")
    assert not overlays.consider("table", sign(overlay("azure"), PRIVATE), NOW_MS, 0)
    assert "no overlay_keys" in overlays.error
    assert not overlays.consider("table", b"", NOW_MS, 0)
    assert not overlays.error


def shares(held: Slice) -> dict[str, int]:
    """Pool -> weight."""
    split = held.route.split
    return {held.pools[i].pool: weight for i, weight in zip(split.pools, split.weights, strict=True)}


def under(held: Slice, *exclude: str) -> Slice:
    """The slice under an overlay."""
    return without_excluded(generation(held, 1), exclude).parts["eu"]


def test_the_others_carry_what_the_excluded_pools_carried() -> None:
    """In proportion, to the last millionth; the shed share stays."""
    held = part({A: 100_000, B: 300_000, C: 500_000}, shed=100_000)
    assert shares(under(held, A)) == {B: 337_500, C: 562_500}
    assert under(held, A).route.split.shed == 100_000
    assert under(held, "oci") is held


def test_the_tables_own_weights_for_a_lost_provider_apply() -> None:
    """When most of a provider is excluded, also pools that had no weight come in, as the table says."""
    held = part({A: 600_000, B: 100_000, C: 300_000}, on_loss={"azure": {C: 200_000, "oci/lhr/gpt": 800_000}})
    assert shares(under(held, "azure")) == {C: 200_000, "oci/lhr/gpt": 800_000}
    assert shares(under(held, "azure/uksouth")) == {C: 200_000, "oci/lhr/gpt": 800_000}
    assert shares(under(held, B)) == {A: 666_666, C: 333_334}


def test_what_is_excluded_is_no_last_resort_either() -> None:
    """The others stay, in their order."""
    held = under(part({A: 600_000, C: 400_000}, last_resort=("oci/lhr/gpt", B, C)), "azure")
    assert [held.pools[index].pool for index in held.route.last_resort] == ["oci/lhr/gpt", C]


def test_with_everything_excluded_everything_is_shed() -> None:
    """It is a break-glass: no last pool is kept against the operator's word, and the refusal says why."""
    held = under(part({A: 500_000, C: 500_000}), "azure", "gcp")
    assert held.route.split.shed == MILLION
    assert "emergency overlay" in held.route.shed_reason
    assert held.pools == ()


POOLS = st.sampled_from(
    [f"{p}/{r}/{d}" for p in ("azure", "gcp", "oci") for r in ("e", "w") for d in ("x", "y")]
)
SCOPES = st.sampled_from(["azure", "gcp", "oci", "azure/e", "gcp/w", "oci/e/x", "gcp/w/y"])


@given(
    weights=st.dictionaries(POOLS, st.integers(0, 1_000), min_size=1),
    shed=st.integers(0, 999_999),
    exclude=st.lists(SCOPES, max_size=4),
)
def test_no_table_leads_to_an_excluded_pool(weights: dict[str, int], shed: int, exclude: list[str]) -> None:
    """Whatever the table: excluded pools are not in it, nothing else goes missing, and shares stay whole."""
    total = sum(weights.values())
    names = sorted(weights)
    scaled = {name: weights[name] * (MILLION - shed) // max(1, total) for name in names}
    scaled[names[0]] += MILLION - shed - sum(scaled.values())
    held = part(scaled, shed=shed)
    after = under(held, *exclude)
    found = shares(after)
    assert not any(in_scope(pool, scope) for pool in found for scope in exclude)
    assert not any(in_scope(info.pool, scope) for info in after.pools for scope in exclude)
    assert sum(found.values()) + after.route.split.shed == MILLION
    kept = {pool for pool, weight in scaled.items() if weight and not any(in_scope(pool, s) for s in exclude)}
    assert kept <= {pool for pool, weight in found.items() if weight}
