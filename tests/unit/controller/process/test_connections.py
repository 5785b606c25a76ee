"""What TLS and password settings become, and how mistakes in them are said."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from redis.asyncio import Redis

from controller.process.connections import brokers, redis_address
from controller.process.errors import SettingError
from tieline.kafka import Brokers
from tieline.redis_address import parse_redis

KAFKA, REDIS, SERVERS = "TIELINE_KAFKA", "TIELINE_REDIS", "kafka-1:9092,kafka-2:9092"
SASL = {f"{KAFKA}_SASL": "SCRAM-SHA-512", f"{KAFKA}_USER": "tieline"}


def test_without_settings_servers_stay_as_they_are() -> None:
    """Nothing set: an open connection, and the text of the servers."""
    assert brokers(SERVERS, {f"{KAFKA}_TLS": "0"}, KAFKA) == SERVERS


def test_every_protocol_of_kafka_can_be_said() -> None:
    """TLS, SASL, and both, in Kafka's own words; the password is never printed."""

    def protocol(**more: str) -> str:
        found = brokers(SERVERS, {f"{KAFKA}_{name}": value for name, value in more.items()}, KAFKA)
        assert isinstance(found, Brokers)
        assert str(found) == SERVERS
        assert "secret" not in repr(found)
        return found.protocol

    user = {"USER": "tieline", "PASSWORD": "secret"}
    assert protocol(TLS="1") == "SSL"
    assert protocol(SASL="scram-sha-256", **user) == "SASL_PLAINTEXT"
    assert protocol(TLS="1", SASL="PLAIN", **user) == "SASL_SSL"


def test_a_token_is_read_anew_for_each_connection(tmp_path: Path) -> None:
    """Whoever renews it replaces the file; it shows in no repr."""
    file = tmp_path / "token"
    file.write_text("first\n")
    variables = {"TLS": "1", "SASL": "OAUTHBEARER", "TOKEN_FILE": str(file)}
    found = brokers(SERVERS, {f"{KAFKA}_{name}": value for name, value in variables.items()}, KAFKA)
    assert isinstance(found, Brokers)
    assert found.protocol == "SASL_SSL"
    assert found.token is not None
    assert found.token() == "first"
    file.write_text("second")
    assert found.token() == "second"
    assert "second" not in repr(found)
    assert found.arguments()["sasl_mechanism"] == "OAUTHBEARER"


def test_a_password_comes_from_a_file(tmp_path: Path) -> None:
    """One line break at the end, as editors leave it, is not part of it; a space is."""
    file = tmp_path / "password"
    file.write_text("p@ss/w%rd \n")
    found = brokers(SERVERS, {**SASL, f"{KAFKA}_PASSWORD_FILE": str(file)}, KAFKA)
    assert isinstance(found, Brokers)
    assert found.password == "p@ss/w%rd "


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"TLS": "maybe"}, "TIELINE_KAFKA_TLS: 'maybe' is not valid: give 1 or 0"),
        (
            {"SASL": "GSSAPI", "USER": "u", "PASSWORD": "p"},
            "'GSSAPI' is not known: give one of PLAIN, SCRAM-SHA-256",
        ),
        ({"USER": "u", "PASSWORD": "p"}, "go together"),
        ({"SASL": "PLAIN", "USER": "u"}, "go together"),
        ({"SASL": "PLAIN", "USER": "u", "PASSWORD": "p"}, "unencrypted"),
        ({"TLS": "1", "SASL": "OAUTHBEARER"}, "TIELINE_KAFKA_TOKEN_FILE go together"),
        ({"TLS": "1", "TOKEN_FILE": __file__}, "TIELINE_KAFKA_TOKEN_FILE go together"),
        ({"SASL": "OAUTHBEARER", "TOKEN_FILE": __file__}, "would send the token unencrypted"),
        ({"TLS": "1", "SASL": "OAUTHBEARER", "USER": "u", "TOKEN_FILE": __file__}, "go together"),
        ({"CA_FILE": "/nowhere/ca.pem"}, "TIELINE_KAFKA_CA_FILE: /nowhere/ca.pem can't be read"),
        ({"CA_FILE": __file__}, "holds no certificates in PEM"),
        ({"CERT_FILE": __file__}, "don't fit together"),
        ({"TLS": "1", "KEY_FILE": __file__}, "TIELINE_KAFKA_KEY_FILE needs TIELINE_KAFKA_CERT_FILE"),
        ({"PASSWORD": "p", "PASSWORD_FILE": __file__}, "both set"),
        ({"PASSWORD_FILE": "/dev/null"}, "holds no password"),
    ],
)
def test_a_mistake_names_its_variable(variables: dict[str, str], says: str) -> None:
    """One sentence with the variable, and never the secret."""
    with pytest.raises(SettingError, match=says):
        brokers(SERVERS, {f"{KAFKA}_{name}": value for name, value in variables.items()}, KAFKA)


def test_redis_takes_user_and_password_as_they_are() -> None:
    """Whatever characters they have, the client sends them unchanged."""
    url = redis_address(
        "redis://cache:6380/2", {f"{REDIS}_USER": "a b", f"{REDIS}_PASSWORD": "p@:/%#"}, REDIS
    )
    told = Redis.from_url(url).connection_pool.connection_kwargs
    assert (told["username"], told["password"]) == ("a b", "p@:/%#")
    assert (told["host"], told["port"], told["db"]) == ("cache", 6380, 2)


def test_sentinels_have_a_login_of_their_own() -> None:
    """It comes from variables of its own, and neither login reaches the other kind of server."""
    secrets = {"PASSWORD": "p@,/", "SENTINEL_USER": "eye", "SENTINEL_PASSWORD": "s:&?"}
    variables = {f"{REDIS}_{name}": value for name, value in secrets.items()}
    url = redis_address("redis+sentinel://s1:1,s2:2/name/3", variables, REDIS)
    address = parse_redis(url)
    server = Redis.from_url(address.url).connection_pool.connection_kwargs
    assert (server["password"], server["db"], address.service) == ("p@,/", 3, "name")
    assert "sentinel_password" not in server
    sentinel = Redis.from_url(address.nodes[1]).connection_pool.connection_kwargs
    assert (sentinel["username"], sentinel["password"], sentinel["port"]) == ("eye", "s:&?", 2)


@pytest.mark.parametrize(
    ("url", "variables", "says"),
    [
        ("redis://cache", {"SENTINEL_PASSWORD": "p"}, r"need a URL with redis\+sentinel://"),
        ("redis://cache", {"CA_FILE": __file__}, "must begin with rediss://"),
        ("rediss://cache", {"CA_FILE": __file__}, "TIELINE_REDIS_CA_FILE: .* holds no certificates"),
        ("redis://:one@cache", {"PASSWORD": "two"}, "each hold a password"),
    ],
)
def test_a_mistake_about_redis_names_its_variable(url: str, variables: dict[str, str], says: str) -> None:
    """One sentence with the variable."""
    with pytest.raises(SettingError, match=says):
        redis_address(url, {f"{REDIS}_{name}": value for name, value in variables.items()}, REDIS)


def own_certificate(place: Path) -> tuple[Path, Path]:
    """(A certificate that is its own authority, the file of its key), which only their owner can read."""
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    certificate, file = place / "app.pem", place / "app.key"
    certificate.write_bytes(builder.sign(key, None).public_bytes(Encoding.PEM))
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    file.chmod(0o600)
    return certificate, file


def test_a_tls_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """For Kafka and for Redis, also where the key lies beside the certificate in one file."""
    certificate, key = own_certificate(tmp_path)
    files = {f"{REDIS}_CERT_FILE": str(certificate), f"{REDIS}_KEY_FILE": str(key)}
    assert "ssl_keyfile" in redis_address("rediss://cache:6380/2", files, REDIS)
    key.chmod(0o604)
    with pytest.raises(SettingError, match=r"^TIELINE_REDIS_KEY_FILE: .*mode 604.*chmod 600"):
        redis_address("rediss://cache:6380/2", files, REDIS)
    certificate.write_bytes(certificate.read_bytes() + key.read_bytes())
    certificate.chmod(0o644)
    with pytest.raises(SettingError, match=r"^TIELINE_KAFKA_CERT_FILE: .*mode 644.*chmod 600"):
        brokers(SERVERS, {f"{KAFKA}_CERT_FILE": str(certificate)}, KAFKA)
