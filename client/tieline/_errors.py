"""What the library raises. Nothing here is raised because the control plane is away.

TielineError
├── ConfigurationError   a setting that can't work; the message says which and what to do
│   └── MissingExtraError  an optional package is not installed
└── ClosedError          used after ``close()`` or before ``async with``
"""


class TielineError(Exception):
    """Base of all errors of this library (a ``TableError`` is a ``ValueError`` of the contract)."""


class ConfigurationError(TielineError, ValueError):
    """A setting that can't work."""


class MissingExtraError(ConfigurationError, ImportError):
    """An optional package is missing."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'tieline[{extra}]'")


class ClosedError(TielineError, RuntimeError):
    """The client is not running."""
