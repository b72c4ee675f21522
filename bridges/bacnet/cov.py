"""What a device tells of its points by itself, and whether it really does."""

import logging
import math
from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from actors.core.values import PointStatus
from bridges.bacnet.contact import Contact, Effects
from bridges.bacnet.kinds import ANALOG
from bridges.bacnet.network import UNREADABLE, DeviceError, Network, SilentError
from bridges.bacnet.objects import Subscription
from bridges.bacnet.scale import AS_IT_IS, SCALED
from bridges.config import BacnetDevice
from bridges.outbox import Row

log = logging.getLogger(__name__)

COV_LIFETIME: Final = 300
"""Seconds that a subscription is asked for."""
COV_RENEW: Final = 0.5
"""Part of the lifetime after which it is renewed."""
COV_BATCH: Final = 20
"""Subscriptions made in one step, so that reading goes on."""
RESUBSCRIBE_AFTER: Final = 30.0
"""Seconds after which a subscription is renewed when its device says that it is there, as after a start."""
FIRST_NOTIFICATION: Final = 10.0
"""Seconds in which the first notification of a subscription has to come."""
LISTED: Final = "active-cov-subscriptions"
MOST_VAIN: Final = 2
"""Times in a row that a device is silent about its subscriptions; then it isn't asked any more."""
MOST_FORGOTTEN: Final = 3
"""Times within `FORGOTTEN_WITHIN` that it names none of ours any more; then it isn't asked either."""
FORGOTTEN_WITHIN: Final = 3600.0
"""Seconds."""
SILENT_SUBSCRIPTION: Final = 2
"""Polls in a row that find a value of which the device should have told."""


@dataclass(slots=True)
class Object:
    """A point as the device has it."""

    name: str
    """`analog-input,1`."""
    interval: float
    states: int | None = None
    due: float = 0.0
    process: int = 0
    renew: float = math.inf
    subscribed: bool = False
    since: float = -math.inf
    """When the subscription was made or renewed last."""
    heard: bool = False
    """Whether a notification has come of it."""
    untold: int = 0
    """Polls in a row that found a change of which no notification came."""
    increment: float | None = None
    """Its COV increment; none: not asked for yet."""
    factor: Decimal | None = AS_IT_IS
    """What its values are multiplied with to be in its units; none: not asked for yet."""
    alone: bool = False
    """Whether it is read by itself, because requests with it among others fail."""

    def __post_init__(self) -> None:
        if self.type in SCALED:
            self.factor = None

    @property
    def type(self) -> str:
        """The object type, such as `analog-input`."""
        return self.name.partition(",")[0]


class Watched(Contact):
    """Keep subscriptions to the changes of a device's points; fall back to polling where they fail."""

    def __init__(self, device: BacnetDevice, network: Network, effects: Effects) -> None:
        """Nothing happens before it has points."""
        super().__init__(device, network, effects)
        self._points: dict[str, Object] = {}
        self._rows: dict[str, Row] = {}
        self._listed = False
        """Whether the device has named a subscription of ours when it was last asked."""
        self._vain = 0
        self._forgotten: deque[float] = deque(maxlen=MOST_FORGOTTEN)

    def subscribed(self, point_id: str) -> bool:
        """Tell whether a point reports its changes by itself."""
        found = self._points.get(point_id)
        return found is not None and found.subscribed

    def subscriptions(self) -> list[Subscription]:
        """Say how changes of each point come."""
        now = self._to.monotonic()
        return [
            Subscription(
                point_id=key,
                object=each.name,
                subscribed=each.subscribed,
                told=each.subscribed and each.heard,
                age=now - each.since if each.subscribed and math.isfinite(each.since) else None,
                renews_in=max(0.0, each.renew - now) if math.isfinite(each.renew) else None,
            )
            for key, each in self._points.items()
        ]

    async def _subscribe(self, now: float) -> None:
        """Subscribe to and renew some objects; a device that offers no COV is polled alone."""
        waiting = [
            each
            for each in self._points.values()
            if (not each.subscribed and each.renew == math.inf) or each.renew <= now
        ]
        for each in waiting[:COV_BATCH]:
            address = self.located()
            if not each.subscribed:
                each.heard = False  # the first notification may come before the answer
            try:
                async with self._turn:
                    await self.network.subscribe(
                        self.device.id, address, each.name, each.process, COV_LIFETIME
                    )
            except DeviceError as error:
                self._heard()
                if error.kind == "reject" and "unrecognized-service" in error.reason:
                    self.able.cov = False
                    for one in self._points.values():
                        one.subscribed, one.renew = False, math.inf
                    return
                # This object can't, or there is no room for more: asked again later.
                each.subscribed, each.renew = False, now + 10 * COV_LIFETIME
                continue
            self._heard()
            each.subscribed, each.renew, each.since = True, now + COV_RENEW * COV_LIFETIME, now
        if len(waiting) > COV_BATCH:
            self._wake.set()

    async def _has_forgotten(self) -> bool:
        """Tell whether it has named subscriptions of ours before and names none of them now.

        Only so much is made of the list: some devices keep it empty, name only some, or don't answer. One
        that forgets again and again keeps subscriptions for a shorter time than it was asked to, or has
        a list too short for all: that is no restart, and it isn't asked any more.
        """
        ours = {(each.process, each.name) for each in self._points.values() if each.subscribed}
        if not ours or LISTED in self._lacks:
            self._listed = False
            return False
        try:
            theirs = {
                (int(each.recipient.processIdentifier), str(each.monitoredPropertyReference.objectIdentifier))
                for each in await self.ask("device", LISTED)
            }
        except SilentError as error:
            # Whether it is there at all shows by what it is asked next.
            self._vain += 1
            if self._vain >= MOST_VAIN:
                self._give_up(error)
            return False
        except (DeviceError, *UNREADABLE) as error:
            self._give_up(error)
            return False
        self._vain = 0
        before, self._listed = self._listed, bool(ours & theirs)
        if not before or self._listed:
            return False
        now = self._to.monotonic()
        self._forgotten.append(now)
        if len(self._forgotten) == MOST_FORGOTTEN and now - self._forgotten[0] < FORGOTTEN_WITHIN:
            self._give_up("it forgets them again and again")
        return True

    def _give_up(self, why: object) -> None:
        """Ask no more which subscriptions it has."""
        log.info("%s doesn't list its subscriptions: %s", self.device.id, why)
        self._lacks.add(LISTED)

    def _renew_soon(self) -> None:
        """Renew the subscriptions that aren't fresh: a device that was started has forgotten them."""
        now = self._to.monotonic()
        for each in self._points.values():
            if each.subscribed and now - each.since > RESUBSCRIBE_AFTER:
                each.renew = now

    async def _judge(self, key: str, before: Row | None) -> None:
        """Fall back to polling where a subscription is silent: no first notification, or changes untold.

        A device tells the value at once when it is subscribed to (ASHRAE 135-2020, 13.14.1).
        """
        each, row = self._points.get(key), self._rows.get(key)
        if each is None or row is None or not each.subscribed:
            return
        if not each.heard:
            if self._to.monotonic() - each.since < FIRST_NOTIFICATION:
                return
            reason = "no notification came"
        else:
            if before is None or not await self._should_have_told(each, before, row):
                each.untold = 0
                return
            each.untold += 1
            if each.untold < SILENT_SUBSCRIPTION:
                return
            reason = f"{each.untold} changes were not told"
        each.subscribed, each.untold = False, 0
        each.renew = self._to.monotonic() + 10 * COV_LIFETIME
        self._failed("silent subscription", f"{each.name}: {reason}; it is polled", "silent subscription")

    async def _should_have_told(self, each: Object, before: Row, row: Row) -> bool:
        """Tell whether a reading differs from the last one by as much as the device tells of."""
        (old, _, status), (new, _, now) = before, row
        if status & PointStatus.FAULT or now & PointStatus.FAULT or old is None or new is None:
            return False
        if each.type not in ANALOG:
            return old != new
        if old == new or isinstance(old, str) or isinstance(new, str):
            return False
        if each.increment is None:
            try:
                each.increment = float(await self.ask(each.name, "cov-increment"))
            except (DeviceError, TypeError, ValueError):
                each.increment = math.inf
        return abs(new - old) > each.increment
