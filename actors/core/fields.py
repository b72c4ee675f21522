"""Kinds of text that the settings of several features take."""

from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, StringConstraints

NO_PLACES: Final = frozenset({"Factory", "localtime", "posixrules"})
"""Files beside the zones that name no place: what they mean depends on the host."""


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = False
    else:
        known = name not in NO_PLACES
    if not known:
        raise ValueError("a time zone of the IANA database, such as Europe/Vienna")
    return name


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("text without lone surrogates") from None
    return text


Id = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_text)]
"""The id of a node, which an answer can say again."""

ZoneName = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_zone)]

TagFilter = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^-?[A-Za-z][A-Za-z0-9_]*$")
]
"""A tag that must be there or, written with a minus, must not; see actors.node.logic.matches_tags."""

EMAIL: Final = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$"
"""A valid address as browsers understand it (HTML, 4.10.5.1.5), of 64 characters before the @ at most."""
