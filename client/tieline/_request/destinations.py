"""Where a secret may be sent.

The route table names the URL of each pool, and who can write to the place of the table could name another
host there. So a secret goes only to hosts that the client itself holds to be right for it.

In this order:

1. With plain ``http`` a secret goes to this machine only, unless the application names that very origin.
2. A secret whose hosts the application gives (``ForHosts``, or ``TIELINE_CREDENTIAL_<NAME>_HOSTS``) goes to
   those hosts and this machine.
3. Every other one goes to the hosts of its pool's provider (``PROVIDER_HOSTS``). The adapter ``openai`` has
   no hosts of its own, because anybody can run such a server. A secret that was sent under one provider's
   adapter is not sent under another's, so that a changed table can't choose the rule.

What is refused counts as a missing credential: the request goes to other pools, and the answer says why.
"""

from collections.abc import Callable
from fnmatch import fnmatchcase
from ipaddress import ip_address
from urllib.parse import urlsplit

from tieline.credentials import MissingCredentialError, variable_of
from tieline.table import Adapter

PROVIDER_HOSTS: dict[Adapter, tuple[str, ...]] = {
    "azure": ("*.openai.azure.com", "*.cognitiveservices.azure.com", "*.services.ai.azure.com"),
    "azure_classic": ("*.openai.azure.com", "*.cognitiveservices.azure.com", "*.services.ai.azure.com"),
    "vertex": ("*.googleapis.com",),
    "oci": ("inference.generativeai.*.oci.oraclecloud.com",),
    "anthropic": ("api.anthropic.com", "*.services.ai.azure.com"),
}
FAMILIES: dict[Adapter, str] = {"azure_classic": "azure"}
CHECKED_MAX = 10_000


class Destinations:
    """Decides for one process. ``hosts_of(name)`` gives the hosts that the application gives with a secret,
    empty for none."""

    def __init__(self, hosts_of: Callable[[str], tuple[str, ...]]) -> None:
        self._hosts_of = hosts_of
        self._families: dict[str, str] = {}
        self._checked: set[tuple[str, Adapter, str]] = set()

    def check(self, name: str, adapter: Adapter, url: str) -> None:
        """Raises ``MissingCredentialError`` if the secret of this name must not be sent to ``url``."""
        key = (name, adapter, url)
        if key in self._checked:
            return
        if refusal := self._refusal(name, adapter, url):
            raise MissingCredentialError(refusal)
        if len(self._checked) < CHECKED_MAX:
            self._checked.add(key)

    def _refusal(self, name: str, adapter: Adapter, url: str) -> str:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        if is_loopback(host):
            return ""
        hosts = self._hosts_of(name)
        origin = f"{parts.scheme}://{parts.netloc}".lower()
        if parts.scheme != "https" and origin not in hosts:
            return f"credential {name!r} is not sent unencrypted to {origin}: use https"
        remedy = f"give its hosts with it (tieline.ForHosts, or {variable_of(name)}_HOSTS)"
        if hosts:
            allowed = origin in hosts or any(fnmatchcase(host, pattern) for pattern in hosts)
            return "" if allowed else f"credential {name!r} is not for the host {host}: {remedy}"
        family = FAMILIES.get(adapter, adapter)
        if (before := self._families.setdefault(name, family)) != family:
            return f"credential {name!r} was sent to {before} and is not for {family}: {remedy}"
        patterns = PROVIDER_HOSTS.get(adapter, ("*",))
        if any(fnmatchcase(host, pattern) for pattern in patterns):
            return ""
        return f"credential {name!r} is not for the host {host}, which is none of {adapter}'s: {remedy}"


def is_loopback(host: str) -> bool:
    """Whether only this machine answers there."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
