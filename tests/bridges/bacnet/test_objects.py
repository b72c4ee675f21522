"""Objects of devices made and removed, and their subscriptions told, over real BACnet/IP on loopback."""

from typing import Any

import pytest
from bacpypes3.apdu import CreateObjectACK, CreateObjectError, SimpleAckPDU
from bacpypes3.basetypes import ErrorType
from bacpypes3.errors import ExecutionError
from bacpypes3.primitivedata import CharacterString, ObjectIdentifier

from actors.core.errors import BadInputError, BridgeError, NotFoundError
from tests.bridges.bacnet.conftest import Bench, device, point, until
from tests.bridges.bacnet.rogues import Rogue, Rogues


class Maker:
    """A device that makes objects, up to a number."""

    def __init__(self, app: Rogue, room: int = 2) -> None:
        self.app, self.room = app, room
        self.made: dict[str, dict[str, str]] = {}
        app.do_CreateObjectRequest = self.create
        app.do_DeleteObjectRequest = self.delete

    async def create(self, apdu: Any) -> None:
        if len(self.made) >= self.room:
            why = ErrorType(errorClass="resources", errorCode="no-space-for-object")
            await self.app.response(
                CreateObjectError(errorType=why, firstFailedElementNumber=0, context=apdu)
            )
            return
        which = apdu.objectSpecifier
        obj = which.objectIdentifier or ObjectIdentifier(f"{which.objectType},{len(self.made) + 1}")
        self.made[str(obj)] = {
            str(each.propertyIdentifier): str(each.value.cast_out(CharacterString))
            for each in apdu.listOfInitialValues or ()
        }
        await self.app.response(CreateObjectACK(objectIdentifier=obj, context=apdu))

    async def delete(self, apdu: Any) -> None:
        if self.made.pop(str(apdu.objectIdentifier), None) is None:
            raise ExecutionError("object", "object-deletion-not-permitted")
        await self.app.response(SimpleAckPDU(context=apdu))


async def test_objects_are_made_and_removed(rogues: Rogues, lab: Bench) -> None:
    maker = Maker(rogues.add(7, 11))
    bridge = await lab.bridge([device(7, cov=False)], [point("analog-input", 1, 7)])
    await until(lambda: lab.value("7/analog-input-1") == 1.0)
    assert await bridge.create_object("7", "analog-value", name="Setpoint") == "analog-value,1"
    assert await bridge.create_object("7", "binary-value", 9, description="Fan") == "binary-value,9"
    assert maker.made == {
        "analog-value,1": {"object-name": "Setpoint"},
        "binary-value,9": {"description": "Fan"},
    }
    with pytest.raises(BridgeError, match="no-space-for-object"):
        await bridge.create_object("7", "analog-value")
    await bridge.delete_object("7", "analog-value,1")
    assert list(maker.made) == ["binary-value,9"]
    with pytest.raises(BridgeError, match="object-deletion-not-permitted"):
        await bridge.delete_object("7", "analog-input,1")


async def test_wrong_objects_are_refused_before_they_are_sent(rogues: Rogues, lab: Bench) -> None:
    Maker(rogues.add(7, 11))
    bridge = await lab.bridge([device(7, cov=False)], [point("analog-input", 1, 7)])
    for wrong in ("no-such-type", ""):
        with pytest.raises(BadInputError, match="object_type"):
            await bridge.create_object("7", wrong)
    with pytest.raises(BadInputError, match="instance"):
        await bridge.create_object("7", "analog-value", 2**22 - 1)
    with pytest.raises(BadInputError, match="name"):
        await bridge.create_object("7", "analog-value", name="")
    for wrong in ("device,7", "8,7", "device:7", "8:7", "nothing", "analog-value"):
        with pytest.raises(BadInputError, match="object"):
            await bridge.delete_object("7", wrong)
    for call in (bridge.create_object("9", "analog-value"), bridge.delete_object("9", "analog-value,1")):
        with pytest.raises(NotFoundError):
            await call
    with pytest.raises(NotFoundError):
        await bridge.knows_device("9")
    with pytest.raises(NotFoundError):
        await bridge.knows_network("nowhere")


async def test_it_is_told_which_points_are_subscribed_to(rogues: Rogues, lab: Bench) -> None:
    rogues.add(7, 11)
    rogues.add(8, 12, cov="refused")
    points = [point("analog-input", number, key) for key in (7, 8) for number in (1, 2)]
    bridge = await lab.bridge([device(7), device(8)], points)
    await until(lambda: bridge._devices["7"].status().cov_points == 2)
    await until(lambda: lab.value("8/analog-input-2") == 2.0)
    first, second = await bridge.subscriptions("7")
    assert (first.point_id, first.object, first.subscribed) == ("7/analog-input-1", "analog-input,1", True)
    await until(lambda: all(each.told for each in bridge._devices["7"].subscriptions()))
    assert second.age is not None
    assert second.age < 60
    assert second.renews_in is not None
    assert 0 < second.renews_in <= 150
    await until(lambda: bridge._devices["8"].subscriptions()[0].renews_in is not None)
    assert [each.subscribed for each in await bridge.subscriptions("8")] == [False, False]
