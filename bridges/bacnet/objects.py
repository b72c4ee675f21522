"""Making and removing objects of a device, and what is known of its subscriptions."""

from typing import Final

from bacpypes3.apdu import CreateObjectACK, CreateObjectRequest, DeleteObjectRequest, SimpleAckPDU
from bacpypes3.basetypes import CreateObjectRequestObjectSpecifier, ObjectType, PropertyValue
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.constructeddata import SequenceOf
from bacpypes3.primitivedata import CharacterString, ObjectIdentifier
from pydantic import BaseModel

from actors.core.errors import BadInputError
from bridges.bacnet.contact import Contact
from bridges.bacnet.network import is_object

LONGEST_NAME: Final = 200
HIGHEST_INSTANCE: Final = 2**22 - 2


class Subscription(BaseModel):
    """How changes of a point come: by notifications of its device, or by polling alone."""

    point_id: str
    object: str
    subscribed: bool
    told: bool
    """Whether a notification has come since it was subscribed."""
    age: float | None = None
    """Seconds since it was subscribed, or renewed."""
    renews_in: float | None = None
    """Seconds until it is renewed, or tried again; none: never, the device offers no such service."""


async def create(
    device: Contact, kind: str, instance: int | None, name: str | None, description: str | None
) -> str:
    """Have a device make an object; give its name such as `analog-value,7`, which the device may choose.

    Raises BadInputError and BridgeError, with the device's reason.
    """
    try:
        of_type = ObjectType(kind)
    except ValueError:
        raise BadInputError("object_type", kind, "an object type such as analog-value") from None
    if instance is not None and not 0 <= instance <= HIGHEST_INSTANCE:
        raise BadInputError("instance", instance, f"0 to {HIGHEST_INSTANCE}")
    for field, text in (("name", name), ("description", description)):
        if text is not None and not 1 <= len(text) <= LONGEST_NAME:
            raise BadInputError(field, text, f"1 to {LONGEST_NAME} characters")
    which = (
        CreateObjectRequestObjectSpecifier(objectType=of_type)
        if instance is None
        else CreateObjectRequestObjectSpecifier(objectIdentifier=ObjectIdentifier(f"{kind},{instance}"))
    )
    request = CreateObjectRequest(objectSpecifier=which)
    first = [
        PropertyValue(propertyIdentifier=prop, value=AnyValue(CharacterString(text)))
        for prop, text in (("object-name", name), ("description", description))
        if text is not None
    ]
    if first:
        request.listOfInitialValues = SequenceOf(PropertyValue)(first)
    answer = await device.request(request, CreateObjectACK)
    return str(answer.objectIdentifier)


async def delete(device: Contact, obj: str) -> None:
    """Have a device remove an object. Raises BadInputError and BridgeError, with the device's reason."""
    # A type may be named by its number too: `8,7` is the device.
    if not is_object(obj) or str(ObjectIdentifier(obj)).startswith("device,"):
        raise BadInputError("object", obj, "an object such as analog-value,7, not the device itself")
    await device.request(DeleteObjectRequest(objectIdentifier=ObjectIdentifier(obj)), SimpleAckPDU)
