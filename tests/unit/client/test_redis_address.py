"""Addresses of Redis are read in one way, and a wrong one is refused without repeating what may be secret."""

import pytest

from tieline.redis_address import RedisAddress, RedisAddressError, is_redis, parse_redis


def test_one_server_is_left_to_the_library() -> None:
    """Whatever options redis-py knows reach it unchanged."""
    for url in (
        "redis://h:1/3?protocol=3",
        "rediss://kim:a%2Fb@h",
        "unix:///run/redis.sock?db=1",
        "redis://",
    ):
        assert parse_redis(url) == RedisAddress(kind="server", url=url)


def test_sentinels_get_their_own_login() -> None:
    """The servers' user and password never reach the Sentinels, nor theirs the servers."""
    address = parse_redis(
        "rediss+sentinel://kim:a%2Fb@s1:1,s2,[::1]:3/orders/2?sentinel_user=eye&sentinel_password=c%40d"
        "&ssl_ca_certs=ca.pem"
    )
    assert address.kind == "sentinel"
    assert address.service == "orders"
    assert address.url == "rediss://kim:a%2Fb@s1:1/2?ssl_ca_certs=ca.pem"
    assert address.nodes == (
        "rediss://eye:c%40d@s1:1/?ssl_ca_certs=ca.pem",
        "rediss://eye:c%40d@s2:26379/?ssl_ca_certs=ca.pem",
        "rediss://eye:c%40d@[::1]:3/?ssl_ca_certs=ca.pem",
    )


def test_sentinels_without_a_login_are_asked_without_one() -> None:
    """The usual case: only the servers have a password."""
    assert parse_redis("redis+sentinel://:secret@s1:1/orders").nodes == ("redis://s1:1/",)


def test_nodes_of_a_cluster_have_the_same_login() -> None:
    """Each of them may turn out to have the keys."""
    address = parse_redis("redis+cluster://kim:pw@n1:1,n2/0")
    assert address.nodes == ("redis://kim:pw@n1:1/", "redis://kim:pw@n2:6379/")
    assert (address.kind, address.url) == ("cluster", address.nodes[0])


@pytest.mark.parametrize(
    "address",
    [
        "http://h",
        "redis+sentinel://",
        "redis+sentinel://h:secret/name",
        "redis+sentinel://h:1,/name",
        "redis+sentinel://h:1",
        "redis+sentinel://h:1/name/secret",
        "redis+sentinel://kim:se/cret@h:1/name",
        "redis+sentinel://h:0/name",
        "redis+cluster://h:1/2",
        "redis+cluster://h:1?db=2",
        "redis+cluster://h:1?sentinel_password=secret",
        "redis+cluster://h:1#secret",
        "unix+cluster:///run",
        "redis://h:secret",
        "redis://h/secret",
        "redis+cluster://" + ",".join(f"h{number}" for number in range(33)),
    ],
)
def test_a_wrong_address_is_refused_and_not_repeated(address: str) -> None:
    """The error says what an address looks like, and nothing of this one."""
    with pytest.raises(RedisAddressError) as error:
        parse_redis(address)
    assert "secret" not in str(error.value)
    assert "cret" not in str(error.value)


def test_schemes_tell_redis_from_other_places() -> None:
    """A table may also come from a file or over HTTP."""
    assert is_redis("redis+sentinel://h/x")
    assert is_redis("rediss://h")
    assert not is_redis("https://h")
    assert not is_redis("routes.bin")
