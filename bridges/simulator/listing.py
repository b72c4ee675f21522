"""What `opencrate simulate --list` prints."""

from rich.console import Console
from rich.table import Table

from bridges.config import PointProfile, Profile
from bridges.simulator import bindings, devices
from bridges.simulator.faults import FAULTS


def show(console: Console) -> None:
    """Print devices, objects and registers with units and writability, and faults."""
    total = 0
    for bacnet in devices.BACNET:
        profile = devices.profile(bacnet.profile)
        total += len(profile.points)
        title = f"{bacnet.name}: BACnet device {bacnet.instance}, profile {bacnet.profile}"
        # Eight boxes are alike: their points are told once.
        if bacnet.profile != "vav-reheat" or bacnet.instance == 1101:
            console.print(_bacnet_table(title, profile))
        else:
            console.print(f"{title} (as VAV-1)\n")
    for modbus in devices.MODBUS:
        profile = devices.profile(modbus.profile)
        total += len(profile.points)
        title = f"{modbus.name}: Modbus unit {modbus.id}, profile {modbus.profile}"
        console.print(_modbus_table(title, profile))
    table = _table(
        "Faults (--fault NAME, or the binary value of the device Simulator)", "Fault", "Object", "Effect"
    )
    for number, fault in enumerate(FAULTS, 1):
        table.add_row(str(fault), f"binary-value,{number}", fault.description)
    console.print(table)
    count = len(devices.BACNET) + len(devices.MODBUS)
    console.print(f"{count} devices, {total} points, {len(FAULTS)} faults")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _bacnet_table(title: str, profile: Profile) -> Table:
    table = _table(title, "Object", "Name", "Units or states", "Writable", "Default")
    for point in profile.points:
        use = bindings.BACNET[profile.profile].get(point.object or "", ("set", ""))[0]
        default = "" if point.relinquish_default is None else str(point.relinquish_default)
        if use in {"out", "auto"}:
            default = "controller"
        table.add_row(point.object, point.dis, _units(point), "yes" if point.writable else "no", default)
    return table


def _modbus_table(title: str, profile: Profile) -> Table:
    table = _table(title, "Register", "Id", "Name", "Type", "Scale", "Units or states", "Writable")
    for point in profile.points:
        bit = "" if point.bit is None else f" bit {point.bit}"
        wide = point.data_type not in {"bool", "int16", "uint16"}
        kind = f"{point.data_type} {point.byte_order}" if wide else point.data_type
        scale = "" if point.scale == 1 else f"{point.scale:g}"
        address = f"{point.register} {point.address}{bit}"
        writable = "yes" if point.writable else "no"
        table.add_row(address, point.id, point.dis, kind, scale, _units(point), writable)
    return table


def _units(point: PointProfile) -> str:
    return point.units or " | ".join(point.states or [])
