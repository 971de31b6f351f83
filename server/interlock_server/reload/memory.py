"""Whether there is room for a second set of models beside the first: a reload must not end in the kernel's hands."""

from collections.abc import Mapping
from pathlib import Path

from interlock_server.bundle.load import Bundle
from interlock_server.errors import BundleError

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_MIB = 1024 * 1024


def require_room(bundle: Bundle, factor: float, free_bytes: int | None) -> None:
    """Raises BundleError when the models of a bundle, loaded a second time, would not fit."""
    asked = [member for member in bundle.manifest.members if member.name in bundle.policy.members]
    files = {path for member in asked for path in bundle.files(member).values()}
    needed = factor * sum(path.stat().st_size for path in files)
    if free_bytes is not None and needed > free_bytes:
        raise BundleError(
            f"reload.memory_factor: a second set of models needs about {needed / _MIB:.0f} MiB, "
            f"and {free_bytes / _MIB:.0f} MiB are free; restart instead"
        )


def free_memory() -> int | None:
    """Bytes that this process may still take: of the machine, or of its control group if that is less; None if nobody says."""
    known = [value for value in (_of_machine(_MEMINFO), _of_group(_CGROUP)) if value is not None]
    return min(known, default=None)


def _of_machine(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    found: Mapping[str, str] = dict(line.split(":", 1) for line in lines if ":" in line)
    words = found.get("MemAvailable", "").split()
    return int(words[0]) * 1024 if words else None


def _of_group(folder: Path) -> int | None:
    try:
        limit, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return None
    return None if limit == "max" else max(int(limit) - int(used), 0)
