"""Whether a name is that of a file: to open a pipe waits for ever, and a device may never end."""

import errno
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def irregular(path: Path) -> str:
    """What stands at a path in place of a file; empty where there is a file, or a link to one."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "a broken link" if path.is_symlink() else "not there"
    except OSError as error:  # a link to itself, a folder that may not be entered
        return f"not to be had ({error.strerror})"
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no file")


def check_regular(path: Path) -> None:
    """Raise OSError for a pipe, a device or a socket, before anybody waits for what comes of it."""
    found = irregular(path)
    if path.exists() and found and not path.is_dir():
        raise OSError(errno.EINVAL, f"it is {found}, expected a file", str(path))
