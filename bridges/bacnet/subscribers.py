"""Who is told of changes by an application of the library, as the standard lists it (135-2020, 12.11.39)."""

import asyncio
from typing import Any

from bacpypes3.basetypes import (
    COVSubscription,
    DeviceAddress,
    ListOfCOVSubscription,
    ObjectPropertyReference,
    Recipient,
    RecipientProcess,
)

_ENDLESS = 0
"""The time remaining of a subscription without an end."""


def active_subscriptions(app: Any) -> ListOfCOVSubscription:
    """Give the subscriptions that an application holds, each with the seconds until it ends."""
    now = asyncio.get_running_loop().time()
    listed = []
    for key, detection in app._cov_detections.items():
        for each in detection.cov_subscriptions:
            left = _ENDLESS if each.cancel_handle is None else max(1, round(each.cancel_handle.when() - now))
            listed.append(
                COVSubscription(
                    recipient=RecipientProcess(
                        recipient=Recipient(address=DeviceAddress(each.client_addr)),
                        processIdentifier=each.proc_id,
                    ),
                    monitoredPropertyReference=ObjectPropertyReference(
                        objectIdentifier=key, propertyIdentifier="present-value"
                    ),
                    issueConfirmedNotifications=bool(each.confirmed),
                    timeRemaining=left,
                )
            )
    return ListOfCOVSubscription(listed)
