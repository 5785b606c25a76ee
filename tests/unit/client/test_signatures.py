"""What a signature of a controller or a source is valid for, and what is refused, in which words."""

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from tieline.errors import ConfigurationError
from tieline.order_signing import key_name
from tieline.signatures import (
    EVENT_KIND,
    LEADER_KIND,
    ROUTES_KIND,
    SIGNATURE_HEADER,
    PublicKeys,
    _joined,
    manifest_flaw,
    public_keys,
    record_parts,
    sign_manifest,
    sign_parts,
    signature_flaw,
    signature_in,
)
from tieline.table import SignedManifest

PRIVATE, NEXT, STRANGER = (Ed25519PrivateKey.from_private_bytes(mark * 32) for mark in (b"a", b"b", b"c"))
HEADERS = [("ce_type", b"tieline.routes.v1"), ("ce_source", b"/tieline/one"), ("ce_id", b"l:4:7")]


def keys_of(*privates: Ed25519PrivateKey) -> PublicKeys:
    publics = [private.public_key() for private in privates]
    return {key_name(public.public_bytes_raw()): public for public in publics}


def pem(private: Ed25519PrivateKey) -> str:
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def test_a_signature_by_any_accepted_key_is_valid() -> None:
    """While a key is replaced, records of the old and of the new one are believed."""
    parts = record_parts(ROUTES_KIND, "t.routes", b"4", b"body", HEADERS)
    for private in (PRIVATE, NEXT):
        assert signature_flaw(sign_parts(private, *parts), keys_of(PRIVATE, NEXT), *parts) == ""
    flaw = signature_flaw(sign_parts(STRANGER, *parts), keys_of(PRIVATE, NEXT), *parts)
    assert flaw.startswith("signed by the key")
    assert flaw.endswith("which is not accepted here")


@pytest.mark.parametrize(
    "other",
    [
        record_parts(LEADER_KIND, "t.routes", b"4", b"body", HEADERS),
        record_parts(ROUTES_KIND, "u.routes", b"4", b"body", HEADERS),
        record_parts(ROUTES_KIND, "t.routes", b"5", b"body", HEADERS),
        record_parts(ROUTES_KIND, "t.routes", b"4", b"another", HEADERS),
        record_parts(ROUTES_KIND, "t.routes", b"4", b"body", [*HEADERS[:2], ("ce_id", b"l:4:8")]),
        record_parts(ROUTES_KIND, "t.routes", b"4", b"body", [("ce_source", b"/tieline/two"), HEADERS[2]]),
    ],
    ids=["kind", "topic", "key", "body", "generation", "writer"],
)
def test_a_signature_is_valid_at_its_own_place_only(other: list[bytes]) -> None:
    """A record can't be copied to another topic, key or generation, nor under another controller's name."""
    signature = sign_parts(PRIVATE, *record_parts(ROUTES_KIND, "t.routes", b"4", b"body", HEADERS))
    assert signature_flaw(signature, keys_of(PRIVATE), *other).startswith("not what was signed")


def test_an_event_is_also_bound_to_its_type() -> None:
    """A signed statement can't be sent as another type of event."""
    parts = record_parts(EVENT_KIND, "t.statements", b"k", b"body", HEADERS)
    other = record_parts(EVENT_KIND, "t.statements", b"k", b"body", [("ce_type", b"x"), *HEADERS[1:]])
    assert signature_flaw(sign_parts(PRIVATE, *parts), keys_of(PRIVATE), *other)


def test_what_is_no_signature_is_said_so() -> None:
    """None, another form, another length: each is refused in words, and none is repeated at length."""
    parts = [b"x"]
    assert signature_flaw("", keys_of(PRIVATE), *parts) == "not signed"
    name = next(iter(keys_of(PRIVATE)))
    short = f"ed25519:{name}:{base64.b64encode(b'1' * 10).decode()}"
    for text in ("rsa:a:b", "ed25519:only", "ed25519:a:***"):
        assert signature_flaw(text, keys_of(PRIVATE), *parts) == "not signed in a form that can be read"
    assert signature_flaw(short, keys_of(PRIVATE), *parts).startswith("not what was signed")
    assert len(signature_flaw(f"ed25519:{'x' * 10_000}:AAAA", keys_of(PRIVATE), *parts)) < 200


@given(st.lists(st.binary(max_size=8), max_size=5), st.lists(st.binary(max_size=8), max_size=5))
def test_no_two_lists_of_parts_give_the_same_bytes(one: list[bytes], other: list[bytes]) -> None:
    """Nothing can move from one part to the next one without changing what is signed."""
    assert (_joined(one) == _joined(other)) == (one == other)


@given(st.text(max_size=300))
def test_any_text_is_refused_in_words(text: str) -> None:
    """Whatever stands where a signature should be: no error but words."""
    assert signature_flaw(text, keys_of(PRIVATE), b"x")


def test_a_table_is_signed_for_one_namespace() -> None:
    """The manifest of a test installation says nothing in production."""
    signed = SignedManifest(b"manifest", sign_manifest(PRIVATE, b"manifest", "tieline"))
    assert manifest_flaw(signed, keys_of(PRIVATE), "tieline") == ""
    assert manifest_flaw(signed, keys_of(PRIVATE), "staging")
    assert manifest_flaw(SignedManifest(b"other", signed.signature), keys_of(PRIVATE), "tieline")


def test_the_signature_of_a_record_is_a_header() -> None:
    """Of several records only those that carry it have one; a header without a value is none."""
    assert signature_in([*HEADERS, (SIGNATURE_HEADER, b"ed25519:a:b")]) == "ed25519:a:b"
    assert signature_in(HEADERS) == signature_in([(SIGNATURE_HEADER, None)]) == ""


def test_public_keys_come_from_texts_and_files(tmp_path: Path) -> None:
    """One file may hold several keys, which is how one is replaced. An error names the setting or file."""
    path = tmp_path / "keys.pem"
    path.write_text(pem(PRIVATE) + "\n# the next one\n" + pem(NEXT))
    assert dict(public_keys([path, pem(STRANGER)], "controller_keys")) == keys_of(PRIVATE, NEXT, STRANGER)
    with pytest.raises(ConfigurationError, match=r"controller_keys: .*absent can't be read"):
        public_keys([tmp_path / "absent"], "controller_keys")
    with pytest.raises(ConfigurationError, match="controller_keys: expected an Ed25519 public key"):
        public_keys(["-----BEGIN nothing"], "controller_keys")
