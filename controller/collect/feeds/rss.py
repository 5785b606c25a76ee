"""From untrusted XML to the items of an RSS 2.0 feed. Pure.

A document type, entities and external references are refused before they are expanded: no feed needs them.
"""

from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from controller.collect.collector import UnreadableError


class Item(NamedTuple):
    """One item: its texts as they are, markup included."""

    title: str
    description: str
    categories: tuple[str, ...]


def items(body: bytes) -> tuple[Item, ...]:
    """The items of a feed, possibly none. Raises ``UnreadableError`` for what is no RSS with a titled
    channel."""
    try:
        root: Element = fromstring(body, forbid_dtd=True)
    except DefusedXmlException as error:
        raise UnreadableError(f"the XML has a document type or entities: {type(error).__name__}") from None
    except (ParseError, ValueError, LookupError, RecursionError) as error:
        raise UnreadableError(f"the body is not XML: {error}") from None
    channel = root.find("channel") if root.tag == "rss" else None
    if channel is None or not _text(channel, "title"):
        raise UnreadableError("the body is no RSS feed with a titled channel")
    return tuple(
        Item(
            _text(entry, "title"),
            _text(entry, "description"),
            tuple((category.text or "").strip() for category in entry.findall("category")),
        )
        for entry in channel.findall("item")
    )


def _text(element: Element, name: str) -> str:
    return (element.findtext(name) or "").strip()
