"""Which place is reached through which proxy, and the tunnel through one."""

import pytest

from tieline._http.messages import WireError
from tieline._http.proxies import Proxy, Tunnel, proxies_of
from tieline.errors import ConfigurationError

POOL = ("https", "pool.example.com", 443)
ADDRESS = ("https", "10.1.2.3", 443)
PROXY = Proxy("proxy", 3128)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine of these tests needs."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_the_environment_is_read_as_httpx_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheme's own variable comes before ALL_PROXY; an address without a scheme is one of HTTP."""
    assert proxies_of(None).proxy_for(POOL) is None
    monkeypatch.setenv("ALL_PROXY", "http://all")
    monkeypatch.setenv("https_proxy", "proxy:3128")
    proxies = proxies_of(None)
    assert proxies.proxy_for(POOL) == PROXY
    assert proxies.proxy_for(("http", "pool.example.com", 80)) == Proxy("all", 80)
    assert proxies_of("").proxy_for(POOL) is None
    assert proxies_of("http://mine:8080").proxy_for(POOL) == Proxy("mine", 8080)
    assert proxies_of("https://mine").proxy_for(POOL) == Proxy("mine", 443, is_tls=True)


@pytest.mark.parametrize(
    ("exceptions", "key", "is_direct"),
    [
        ("*", POOL, True),
        ("example.com", POOL, True),
        ("x, Example.COM", POOL, True),
        (".example.com", POOL, True),
        ("*.example.com", POOL, True),
        ("pool.example.com", POOL, True),
        ("pool.example.com:443", POOL, True),
        ("pool.example.com:8443", POOL, False),
        ("https://pool.example.com", POOL, True),
        ("http://pool.example.com", POOL, False),
        (".pool.example.com", POOL, False),
        ("ample.com", POOL, False),
        ("10.1.2.3", ADDRESS, True),
        ("10.0.0.0/8", ADDRESS, True),
        ("11.0.0.0/8", ADDRESS, False),
        ("2.3", ADDRESS, False),
        ("::1", ("https", "::1", 443), True),
        ("[::1]:443", ("https", "::1", 443), True),
        ("", POOL, False),
    ],
)
def test_places_without_a_proxy(
    exceptions: str, key: tuple[str, str, int], is_direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``NO_PROXY``: names and all below them, addresses, networks, each with a scheme or a port."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", exceptions)
    assert (proxies_of(None).proxy_for(key) is None) is is_direct


@pytest.mark.parametrize("url", ["socks5://proxy:1080", "ftp://proxy", "http://", "https://proxy:0", 5])
def test_a_proxy_that_cant_be_used(url: str) -> None:
    """The error names the variable or argument, and never a password."""
    with pytest.raises(ConfigurationError, match=r"proxy: .*expected http://"):
        proxies_of(url)
    with pytest.raises(ConfigurationError) as caught:
        proxies_of("socks5://user:secret@proxy")
    assert "secret" not in str(caught.value)


def test_a_tunnel() -> None:
    """The proxy is told who asks; its answer may come in any pieces."""
    proxy = proxies_of("http://us%40er:pass@proxy:3128").proxy_for(POOL)
    assert proxy is not None
    assert "pass" not in repr(proxy)
    tunnel = Tunnel(proxy, "a/r/x", POOL)
    assert tunnel.request == (
        b"CONNECT pool.example.com:443 HTTP/1.1\r\nHost: pool.example.com:443\r\n"
        b"proxy-authorization: Basic dXNAZXI6cGFzcw==\r\n\r\n"
    )
    assert not tunnel.receive(b"HTTP/1.1 200 Connection est")
    assert tunnel.receive(b"ablished\r\n\r\n")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "HTTP 407"),
        (b"SSH-2.0\r\n\r\n", "no HTTP status"),
        (b"", "it closed the connection"),
        (b"x" * 20_000, "too long"),
    ],
)
def test_a_proxy_that_refuses(data: bytes, words: str) -> None:
    """The error names the proxy, the pool and what the proxy said."""
    with pytest.raises(WireError, match=f"the proxy proxy:3128 gave a/r/x no connection.*{words}"):
        Tunnel(PROXY, "a/r/x", POOL).receive(data)
