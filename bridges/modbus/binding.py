"""From the bindings of points and equipment to registers and devices: every key checked. Pure."""

from collections.abc import Collection, Mapping
from typing import Any, Final, get_args

from pydantic import ValidationError

from actors.core.errors import BadInputError
from actors.node.models import Node
from bridges.config import ModbusDevice
from bridges.modbus.registers import (
    BIT_TYPES,
    HIGHEST,
    LONGEST_STRING,
    ByteOrder,
    DataType,
    Register,
    RegisterType,
    size_of,
)

_DEVICE_KEYS: Final = ("max_gap", "max_registers", "interval", "write_by")
_STRING_ORDERS: Final = ("big-endian", "little-endian-word-swap")
_WITH_BITS: Final = frozenset({"bool", "int16", "uint16", "int32", "uint32", "int64", "uint64"})


def from_binding(config: Mapping[str, Any], *, multi_state: bool = False) -> Register:
    """Read a point's Modbus binding. Raises BadInputError that names the key, its value and what is right."""
    register_type = _choice(config, "register_type", get_args(RegisterType), None)
    data_type = _choice(config, "data_type", get_args(DataType), "uint16")
    if register_type in BIT_TYPES:
        if data_type not in ("bool", "uint16"):
            raise BadInputError("data_type", data_type, f"bool for a {register_type}")
        data_type = "bool"
    text = data_type == "string"
    length = _whole(config, "length", 1, LONGEST_STRING) if text else 1
    bits = 16 * (length if text else size_of(data_type))
    register = Register(
        type=register_type,
        address=_whole(config, "address", 0, 65535),
        data_type=data_type,
        byte_order=_choice(config, "byte_order", get_args(ByteOrder), "big-endian"),
        scale=_number(config, "scale", 1.0),
        offset=_number(config, "offset", 0.0),
        bit=None if config.get("bit") is None else _whole(config, "bit", 0, bits - 1),
        mask=None if config.get("mask") is None else _whole(config, "mask", 1, 2**bits - 1),
        multi_state=multi_state,
        length=length,
        absent=None
        if config.get("absent") is None
        else _whole(config, "absent", -(2 ** (bits - 1)), 2**bits - 1),
    )
    if text and register.byte_order not in _STRING_ORDERS:
        raise BadInputError("byte_order", register.byte_order, " or ".join(_STRING_ORDERS) + " for a string")
    if not text and config.get("length") is not None:
        raise BadInputError("length", config["length"], f"no length for a {data_type}: only a string has one")
    if register.scale == 0:
        raise BadInputError("scale", 0, "a number other than 0")
    if register.address + register.count > 65536:
        raise BadInputError(
            "address",
            register.address,
            f"at most {65536 - register.count} for a {data_type}: it ends at 65535",
        )
    if register.bit is not None and register.mask is not None:
        raise BadInputError("mask", register.mask, "either bit or mask, not both")
    plain = register_type not in BIT_TYPES and data_type in _WITH_BITS
    for key in ("bit", "mask"):
        if getattr(register, key) is not None and not plain:
            raise BadInputError(
                key, config[key], "no bit or mask here: they pick bits of whole-number registers"
            )
    if register.absent is not None and (register_type in BIT_TYPES or text or register.is_bool):
        raise BadInputError("absent", config["absent"], "nothing here: only a number can stand for none")
    return register


def device_of(node: Node, networks: Collection[str]) -> ModbusDevice:
    """Read the Modbus binding of a piece of equipment: `network_id`, `unit` and what else a device has.

    Its points name it by its node id. Raises BadInputError that names the key.
    """
    config = node.protocol_binding.config if node.protocol_binding else {}
    if config.get("network_id") not in networks:
        known = ", ".join(sorted(networks)) or "none"
        raise BadInputError("network_id", config.get("network_id"), f"a modbus network of this site: {known}")
    check_unit(config.get("unit"))
    own = {key: config[key] for key in _DEVICE_KEYS if config.get(key) is not None}
    try:
        return ModbusDevice(
            id=node.id, network=config["network_id"], unit=config["unit"], profile="its nodes", **own
        )
    except ValidationError as error:
        fault = error.errors()[0]
        key = str(fault["loc"][0])
        raise BadInputError(key, config.get(key), str(fault["msg"])) from None


def check_unit(unit: object) -> None:
    """Refuse what is no unit id. Raises BadInputError."""
    if isinstance(unit, bool) or not isinstance(unit, int) or not 0 <= unit <= 255:
        raise BadInputError("unit", unit, "a whole number from 0 to 255")


def _choice(config: Mapping[str, Any], key: str, choices: tuple[str, ...], default: str | None) -> Any:
    value = config.get(key, default)
    if value not in choices:
        raise BadInputError(key, value, "one of " + ", ".join(choices))
    return value


def _whole(config: Mapping[str, Any], key: str, low: int, high: int) -> int:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadInputError(key, value, f"a whole number from {low} to {high}")
    return value


def _number(config: Mapping[str, Any], key: str, default: float) -> float:
    value = config.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= HIGHEST:
        raise BadInputError(key, value, "a finite number")
    return float(value)
