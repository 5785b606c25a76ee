"""Where the Chromium is that the tests of the page and the pictures of the documentation use."""

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")


class NoChromiumError(Exception):
    """There is none; the message says how to get one."""


def chromium() -> str:
    """The program's path. The variable CHROMIUM names another one. Raises ``NoChromiumError``."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise NoChromiumError("install Chromium (apt-get install chromium) or name it with CHROMIUM")
    return path
