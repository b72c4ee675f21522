"""What devices send, as values: by the class that a property has, else by the tags on the wire."""

from typing import Any, Final

from bacpypes3.basetypes import DateTime, ErrorType, StatusFlags
from bacpypes3.constructeddata import Array
from bacpypes3.primitivedata import (
    Date,
    Null,
    ObjectIdentifier,
    PropertyIdentifier,
    Tag,
    TagClass,
    TagList,
    Time,
    Unsigned,
)
from bacpypes3.vendor import get_vendor_info

BY_TAGS: Final = frozenset({"present-value", "relinquish-default"})
"""Properties that are taken as they come: devices send other types, and makers have objects of their own."""


def undecodable() -> ErrorType:
    """Give what stands in the place of a value that can't be decoded."""
    return ErrorType(errorClass="property", errorCode="invalid-data-encoding")


def decode(obj: ObjectIdentifier, prop: PropertyIdentifier, index: int | None, sent: Any) -> Any:
    """Decode a property's value; what has no known class by its tags, what can't be decoded as ErrorType."""
    tags = list(sent.tagList)
    if sent._context is not None:
        tags = tags[1:-1]
    try:
        if str(prop) in BY_TAGS:
            return by_tags(tags)
        wanted = _class_of(obj, prop, index)
        if wanted is None:
            return by_tags(tags)
        if len(tags) == 1 and _is_null(tags[0]):
            return Null(())
        return sent.cast_out(wanted)
    except Exception:
        # Whatever the library raises for what a device has sent: the other values of its answer are good.
        return undecodable()


def _class_of(obj: ObjectIdentifier, prop: PropertyIdentifier, index: int | None) -> Any:
    if str(prop) == "status-flags":
        return StatusFlags
    known = get_vendor_info(0).get_object_class(obj[0])
    wanted = known.get_property_type(prop) if known else None
    if wanted is not None and index is not None and issubclass(wanted, Array):
        return Unsigned if index == 0 else wanted._subtype
    return wanted


def by_tags(tags: list[Tag]) -> Any:
    """Give what application tags say: one value, a date with a time, or a list. Raises ValueError."""
    if not tags or any(tag.tag_class != TagClass.application for tag in tags):
        raise ValueError("no value of a basic type")
    values = [tag.app_to_object() for tag in tags]
    if len(values) == 1:
        return values[0]
    if len(values) == 2 and isinstance(values[0], Date) and isinstance(values[1], Time):
        return DateTime.decode(TagList(tags))
    return values


def _is_null(tag: Tag) -> bool:
    return bool(tag.tag_class == TagClass.application and tag.tag_number == 0)
