"""Where the endpoint may listen."""

import pytest

from controller.process.errors import SettingError
from controller.web.server import read_listen


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
