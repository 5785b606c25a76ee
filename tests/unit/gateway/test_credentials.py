"""Who a gateway is to pools."""

from pathlib import Path

import pytest

from controller.process.errors import SettingError
from gateway.configuration import CredentialIdentity, GatewayFile, PoolCredential, ServedWorkload
from gateway.credentials import credentials_of
from tieline.identity_tokens import EntraToken, GoogleToken

CHAT = ServedWorkload("chat", ("eu",))


def file(*credentials: PoolCredential) -> GatewayFile:
    return GatewayFile(workloads=(CHAT,), credentials=credentials)


def test_an_identity_is_that_of_the_providers_library(tmp_path: Path) -> None:
    """One that can't be had here is told with its place."""
    identities = credentials_of(
        file(
            PoolCredential("azure", CredentialIdentity("entra")),
            PoolCredential("vertex", CredentialIdentity("google", scope="https://a.scope")),
        )
    )
    assert isinstance(identities["azure"], EntraToken)
    assert isinstance(identities["vertex"], GoogleToken)
    assert "a.scope" in repr(identities["vertex"])
    absent = CredentialIdentity("oci", file=str(tmp_path / "none"))
    with pytest.raises(SettingError, match=r"credentials\[0\] \(oci\): .*none"):
        credentials_of(file(PoolCredential("oci", absent)))
