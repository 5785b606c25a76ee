"""Azure, RSS 2.0: one item for each event that is going on, with its service and region in words.

No items mean that all is well, so only a body that is RSS with a titled channel counts as one without items.
Categories and the title say what an item is about; its description is looked at only where these name no
region, or no product. A name is found as whole words, the longest first: ``East US 2`` is not ``East US``.
An item that names a model beside its service is about that model: its other pools are well.
"""

import re
from collections.abc import Iterable

from controller.collect.collector import XML_TYPES, Request
from controller.collect.feeds.parts import plain_text
from controller.collect.feeds.placing import ANY_PRODUCT, GLOBAL, IllState, Incident, View
from controller.collect.feeds.rss import Item, items
from controller.collect.feeds.status_feed import StatusFeed

_WORD = re.compile(r"[^\W_]+")
_OVER = re.compile(r"(?<!not )(?<!not yet )(?<!partially )(?<!being )\b(mitigated|resolved)\b", re.I)
_INFORMATION = re.compile(
    r"\b(informational|advisory|rca|pir|post incident review|(planned|scheduled) maintenance)\b", re.I
)
_OUTAGE = re.compile(r"(?<!no )(?<!not an )(?<!partial )(?<!possible )(?<!potential )\boutages?\b", re.I)
DESCRIPTION_MAX = 5_000


class AzureStatus(StatusFeed, frozen=True, kw_only=True, tag="azure_status"):
    """The public events of Azure. ``regions`` maps names such as ``Sweden Central``, ``products`` names
    such as ``Azure OpenAI Service``. ``Global`` is every region."""

    def requests(self) -> tuple[Request, ...]:
        """See ``Collector``."""
        return (Request(self.url, XML_TYPES),)

    def view(self, bodies: tuple[bytes, ...], now_ms: int) -> View:  # noqa: ARG002 (its instants are its own)
        """See ``StatusFeed``."""
        entries = items(bodies[0])
        unread = sum(not entry.title for entry in entries)
        incidents = (self._incident(entry) for entry in entries if entry.title)
        return View(tuple(filter(None, incidents)), unread=unread)

    def _incident(self, entry: Item) -> Incident | None:
        title = plain_text(entry.title)
        if _OVER.search(title) or _INFORMATION.search(title):
            return None
        state: IllState = "down" if _OUTAGE.search(title) else "degraded"
        places = _about(entry, title, (*self.regions, GLOBAL))
        products = _about(entry, title, [name for name in self.products if name != ANY_PRODUCT])
        models = frozenset(name for name in products if self.products[name])
        return Incident(state, places, models or products, text=title)


def _about(entry: Item, title: str, names: Iterable[str]) -> frozenset[str]:
    """The names that the categories or the title have, or else those in the description."""
    heads = (title, *(plain_text(category) for category in entry.categories))
    in_heads = frozenset(name for text in heads for name in names_in(text, names))
    return in_heads or names_in(plain_text(entry.description, DESCRIPTION_MAX), names)


def names_in(text: str, names: Iterable[str]) -> frozenset[str]:
    """The names that stand in a text as whole words, whatever their case; a longer name hides a shorter
    one."""
    words = _words(text)
    by_words = {_words(name): name for name in names}
    longest = max(map(len, by_words), default=0)
    present = set()
    place = 0
    while place < len(words):
        for size in range(min(longest, len(words) - place), 0, -1):
            if name := by_words.get(words[place : place + size]):
                present.add(name)
                place += size - 1
                break
        place += 1
    return frozenset(present)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.casefold() for word in _WORD.findall(text))
