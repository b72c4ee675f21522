"""What the doctor finds, and the limits that it judges by."""

from dataclasses import dataclass
from typing import Final, Literal

FREE_BYTES: Final = 2_000_000_000
"""Below this the disk is called nearly full; below a tenth of it, full."""
OPEN_FILES: Final = 8192
"""Ray's processes and the stores open some thousand files and sockets."""
SKEW: Final = 2.0
"""Seconds between two hosts' clocks that nobody minds; from ten times that on, it is a fault."""
RENEW: Final = 30 * 86_400.0
"""Seconds before the end of a certificate from which on it is to be renewed."""

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's."""

    state: State
    what: str
    do: str = ""


def judge_disk(folder: str, free: int) -> Finding:
    """Judge how many bytes are left on the disk of a data folder that can be written."""
    state: State = "ok" if free >= FREE_BYTES else "warn" if free >= FREE_BYTES / 10 else "fail"
    do = "" if state == "ok" else "make room, or shorten the retention of history and backups"
    return Finding(state, f"{folder} can be written, {free / 1e9:.1f} GB are free", do)


def judge_files(hard: int | None) -> Finding:
    """Judge how many files a process may open (Ray raises the soft limit up to the hard one)."""
    if hard is None or hard >= OPEN_FILES:
        return Finding("ok", "enough files may be open")
    return Finding("warn", f"only {hard} files may be open", f"LimitNOFILE={OPEN_FILES * 8} in the unit")


def judge_clock(ahead: float, slack: float, of: str) -> Finding:
    """Judge a clock that is `ahead` (s) of that of `of`, which is known to within `slack` (s)."""
    off = max(0.0, abs(ahead) - slack)
    if off <= SKEW:
        return Finding("ok", f"the clock agrees with {of}")
    told = f"the clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} {of}"
    do = "run chrony or systemd-timesyncd on both hosts"
    return Finding("warn" if off <= 10 * SKEW else "fail", told, do)


def judge_certificate(left: float) -> Finding:
    """Judge a certificate that holds for `left` seconds more."""
    if left <= 0:
        return Finding("fail", "the certificate has ended", "make a new one: docs/security.md")
    days = f"the certificate holds for {left / 86_400:.0f} days more"
    if left < RENEW:
        return Finding("warn", days, "renew it in time (docs/security.md), then restart the host")
    return Finding("ok", days)
