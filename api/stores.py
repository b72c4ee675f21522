"""The stores that need nothing but their folder and their bus, by name: raised and served alike."""

from typing import Final

from actors.commissioning.store import CommissioningStore
from actors.core.store import Store
from actors.discovery.store import DiscoveryStore
from actors.energy.store import EnergyStore
from actors.entity.store import EntityStore
from actors.export.store import ExportStore
from actors.fdd.store import FddStore
from actors.mqtt.store import MqttStore
from actors.notification.store import NotificationStore
from actors.program.store import ProgramStore
from actors.report.store import ReportStore
from actors.schedule.store import ScheduleStore
from actors.webhook.store import WebhookStore

SITE_STORES: Final[dict[str, type[Store]]] = {
    "entities": EntityStore,
    "schedules": ScheduleStore,
    "programs": ProgramStore,
    "discovery": DiscoveryStore,
    "commissioning": CommissioningStore,
    "fdd": FddStore,
    "energy": EnergyStore,
}
"""One each per site, on that site's host."""

CAMPUS_STORES: Final[dict[str, type[Store]]] = {
    "notifications": NotificationStore,
    "mqtt": MqttStore,
    "webhooks": WebhookStore,
    "export": ExportStore,
    "reports": ReportStore,
}
"""One each, on the head host."""
