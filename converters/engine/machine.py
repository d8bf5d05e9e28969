"""Tells which CPU this is, and which of its instructions decide how the runtimes' integer kernels compute."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# In the words of Linux. x86: the width of the vectors, and products of 8 bits that add in 32 bits instead of
# saturating in 16 (Intel's Software Developer's Manual, VPDPBUSD and VPMADDUBSW). ARM: dot products and
# matrix products of 8 bits (Arm Architecture Reference Manual, FEAT_DotProd and FEAT_I8MM).
DECISIVE = (
    *("avx2", "avx512bw", "avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"),
    *("asimd", "asimddp", "i8mm", "sve", "sve2"),
)
# What macOS calls them (`sysctl`, <sys/sysctl.h>).
_DARWIN = {
    "hw.optional.avx2_0": "avx2",
    "hw.optional.avx512bw": "avx512bw",
    "hw.optional.avx512vnni": "avx512_vnni",
    "hw.optional.AdvSIMD": "asimd",
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
}
_CPUINFO = Path("/proc/cpuinfo")


def cpu() -> dict[str, str]:
    """The CPU's name, and those of its flags that decide kernels; "unknown" if the system does not tell."""
    text = ""
    with suppress(OSError):
        text = _CPUINFO.read_text()
    if text:
        return {"cpu": _name(text) or _platform_name(), "cpu flags": decisive(text)}
    return {"cpu": _platform_name(), "cpu flags": _darwin_flags(_sysctl)}


def decisive(cpuinfo: str) -> str:
    """The decisive flags in the text of Linux' /proc/cpuinfo, of x86 ("flags") or of ARM ("Features")."""
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    if found is None:
        return "unknown"
    flags = set(found[1].split())
    return " ".join(name for name in DECISIVE if name in flags) or "none"


def _name(cpuinfo: str) -> str:
    found = re.search(r"^model name\s*:(.*)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else ""


def _platform_name() -> str:
    return platform.processor() or platform.machine()


def _darwin_flags(sysctl: Callable[[str], str]) -> str:
    flags = {flag for name, flag in _DARWIN.items() if sysctl(name) == "1"}
    return " ".join(name for name in DECISIVE if name in flags) or "unknown"


def _sysctl(name: str) -> str:
    try:
        done = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
