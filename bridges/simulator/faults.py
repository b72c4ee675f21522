"""Faults that can be switched on, by kind and target, such as `stuck-damper:vav-3`. Pure."""

from typing import Final, NamedTuple

VAVS: Final = tuple(f"vav-{number}" for number in range(1, 9))
AHU, PLANT, METERS, DRIVE = "ahu-1", "boiler-plant", ("meter-1", "meter-2"), "drive-1"

KINDS: Final = {
    "stuck-damper": (
        (AHU, *VAVS),
        "The damper stays nearly shut whatever it is told (AHU: outdoor air, wide open)",
    ),
    "leaking-valve": ((AHU, *VAVS), "The hot water valve lets water through although it is shut"),
    "drifting-sensor": ((AHU, *VAVS), "The zone (AHU: supply air) temperature sensor drifts upwards"),
    "failed-sensor": (
        (AHU, *VAVS),
        "The zone (AHU: supply air) temperature sensor is broken: status flag fault",
    ),
    "fan-failure": ((AHU,), "The supply fan doesn't run though commanded"),
    "dirty-filter": ((AHU,), "The filter is clogged"),
    "boiler-failure": ((PLANT,), "Both burners lock out"),
    "drive-fault": ((DRIVE,), "The drive trips on overcurrent, the hot water pump stops"),
    "dead-device": ((AHU, *VAVS, PLANT, *METERS, DRIVE), "The device answers nothing at all"),
}
"""For each kind of fault its possible targets and what it does."""


class UnknownFaultError(ValueError):
    """No such fault. `name` says what was asked for; its words list the right ones."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"no fault {self.name!r}; there are: {', '.join(str(fault) for fault in FAULTS)}"


class Fault(NamedTuple):
    """One fault of one target."""

    kind: str
    target: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}"

    @property
    def dis(self) -> str:
        """What people read, such as `Stuck Damper VAV-3`."""
        return f"{self.kind.replace('-', ' ').title()} {display(self.target)}"

    @property
    def description(self) -> str:
        """What the fault does."""
        return KINDS[self.kind][1]


FAULTS: Final = tuple(Fault(kind, target) for kind, (targets, _) in KINDS.items() for target in targets)


def display(target: str) -> str:
    """Give the name that people read for a device, such as `VAV-3`."""
    if target.startswith(("vav", "ahu")):
        return target.upper()
    return target.replace("-", " ").title() if target == PLANT else target.capitalize()


def parse(name: str) -> Fault:
    """Take a fault's name. Raises UnknownFaultError that lists the right ones."""
    kind, _, target = name.partition(":")
    fault = Fault(kind, target)
    if fault not in FAULTS:
        raise UnknownFaultError(name)
    return fault
