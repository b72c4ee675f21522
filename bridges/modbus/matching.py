"""Which profile fits a device that nobody has named: by what it says of itself, or by a register. Pure."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from bridges.config import Profile
from bridges.modbus.services import Identity

Place = tuple[Literal["holding", "input"], int]
"""Table and address of a register."""


def by_identity(profiles: Sequence[Profile], identity: Identity) -> Profile | None:
    """Give the profile that fits what a device says of itself best: the one whose model says most."""
    models = [each for each in (identity.model, identity.product_code, identity.product) if each]
    fits: list[tuple[int, Profile]] = []
    for profile in profiles:
        for each in profile.identified_by:
            if not _like(identity.vendor, each.vendor):
                continue
            if each.model == "*" or any(_like(model, each.model) for model in models):
                fits.append((len(each.model.replace("*", "")), profile))
    return max(fits, key=lambda fit: fit[0])[1] if fits else None


def places(profiles: Sequence[Profile]) -> list[Place]:
    """Give the registers to read for `by_registers`, each once."""
    prints = [profile.fingerprint for profile in profiles if profile.fingerprint]
    return list(dict.fromkeys((each.register, each.address) for each in prints))


def by_registers(profiles: Sequence[Profile], words: Mapping[Place, int]) -> Profile | None:
    """Give the profile whose fingerprint is in registers that were read; None if several fit, or none."""
    fits = [
        profile
        for profile in profiles
        if (each := profile.fingerprint) and words.get((each.register, each.address)) in each.values
    ]
    return fits[0] if len(fits) == 1 else None


def _like(text: str, pattern: str) -> bool:
    return fnmatchcase(text.casefold(), pattern.casefold())
