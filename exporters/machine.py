"""What a reader must know of the machine to judge a latency."""

import os
import platform
from pathlib import Path

# Instruction sets that decide how fast, and for int8 how exactly, a CPU multiplies: without VNNI
# ONNX Runtime's 8-bit kernels on x86 go through 16-bit sums that saturate.
_FLAGS = ("sse4_1", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")
_ARM_FLAGS = ("asimd", "asimddp", "i8mm", "sve", "bf16")


def machine_facts() -> dict[str, str]:
    """CPU model, its relevant instruction sets, system and Python, as text.

    Instruction sets are read from Linux' /proc/cpuinfo; elsewhere they are "unknown".
    """
    cpuinfo = _cpuinfo()
    flags = cpuinfo.get("flags", cpuinfo.get("Features", "")).split()
    found = [flag for flag in (*_FLAGS, *_ARM_FLAGS) if flag in flags]
    return {
        "cpu": cpuinfo.get("model name") or platform.processor() or platform.machine(),
        "cpu_flags": " ".join(found) if flags else "unknown",
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def usable_cpus() -> int:
    """How many CPUs this process may run on: in a container often fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpuinfo() -> dict[str, str]:
    """The first value of each key in /proc/cpuinfo; empty where there is no such file."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    facts: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            facts.setdefault(key.strip(), value.strip())
    return facts
