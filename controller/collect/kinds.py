"""All kinds of collectors. A new one is imported here and added to the union; its tag is its ``kind``."""

from typing import TypeAlias

from controller.collect.feeds.statuspage import Statuspage

AnyCollector: TypeAlias = Statuspage
