"""Resident memory of this process, from Linux."""

import re
from pathlib import Path


def forget_peak() -> int:
    """Resident bytes now; `peak` is from here on the most since."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak() -> int:
    """The most resident bytes since `forget_peak`."""
    return _status("VmHWM")


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
