"""The stores that need nothing but their folder and their bus, by name: raised and served alike."""

from typing import Final

from actors.core.store import Store

SITE_STORES: Final[dict[str, type[Store]]] = {}
"""One each per site, on that site's host."""

CAMPUS_STORES: Final[dict[str, type[Store]]] = {}
"""One each, on the head host."""
