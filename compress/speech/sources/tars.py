"""Files in a tar, on this machine or by URL, for whoever asks for them in its order."""

import os
import tarfile
import zlib
from typing import IO, Any, cast

from compress.errors import BadAudio
from compress.speech.kept_open import KeptOpen
from compress.speech.sources import remote
from compress.speech.sources.remote import NotFetched, Stream, is_url

_DAMAGED = (tarfile.TarError, zlib.error, EOFError)


def member(tar: str, stem: str, timeout_s: float, name: str) -> bytes:
    """The file whose name is `stem` and an ending, but that of the remarks beside it.

    A tar stays open where something was found in it: one after the other, files cost one passage.
    To go back, a tar by URL is opened again. Raises `BadAudio`, said of `name`, for what is not
    there or damaged; other files may still be had.
    """
    try:
        return remote.tried(lambda: _taken(tar, stem, timeout_s))
    except NotFetched as error:
        raise BadAudio(name, error.reason) from None
    except BadAudio as error:
        raise BadAudio(name, error.reason) from error
    except (OSError, *_DAMAGED) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadAudio(name, f"the tar cannot be read: {reason}") from error


def _taken(tar: str, stem: str, timeout_s: float) -> bytes:
    stamp = _stamp(tar)
    reader = _waiting.take(lambda r: r.tar == tar and r.stamp == stamp and not r.is_beyond(stem))
    reader = reader or _Reader(tar, timeout_s, stamp)
    try:
        found = reader.take(stem)
    except BadAudio:
        _waiting.put(reader)  # for others
        raise
    except BaseException:
        reader.close()
        raise
    _waiting.put(reader)
    return found


def _stamp(tar: str) -> tuple[int, int] | None:
    if is_url(tar):
        return None
    now = os.stat(tar)
    return now.st_size, now.st_mtime_ns


class _Reader:
    """An open tar that goes forward; one on this machine also back to what it has passed."""

    def __init__(self, tar: str, timeout_s: float, stamp: tuple[int, int] | None) -> None:
        self.tar, self.stamp = tar, stamp
        self._here = not is_url(tar)
        self._file = cast(
            IO[bytes],
            open(tar, "rb") if self._here else Stream(tar, timeout_s),  # noqa: SIM115  stays open
        )
        self._passed: dict[str, tarfile.TarInfo] = {}
        self._last: tuple[str, bytes] = ("", b"")
        self._ended = ""  # why there is no more
        mode: Any = "r:*" if self._here else "r|*"
        try:
            self._members = tarfile.open(  # noqa: SIM115  goes with its file
                fileobj=self._file, mode=mode, bufsize=remote.BLOCK
            )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._file.close()

    def __del__(self) -> None:
        if self._here and hasattr(self, "_file"):
            self.close()

    def is_beyond(self, stem: str) -> bool:
        """Whether the file has been passed and cannot be had any more."""
        return not self._here and stem in self._passed and stem != self._last[0]

    def take(self, stem: str) -> bytes:
        if stem == self._last[0]:
            return self._last[1]
        while stem not in self._passed:
            self._pass(stem)
        self._last = (stem, self._read(stem))
        return self._last[1]

    def _pass(self, stem: str) -> None:
        if not self._ended:
            try:
                info = self._members.next()
            except _DAMAGED as error:
                info, self._ended = None, f"the tar is damaged before it: {error}"
            if info is None:
                self._ended = self._ended or "the tar ends without it"
            else:
                found, _, ending = info.name.rpartition(".")
                if ending not in ("json", "nometa"):
                    self._passed[found] = info
        if self._ended:
            raise BadAudio(stem, self._ended)

    def _read(self, stem: str) -> bytes:
        info = self._passed[stem]
        if info.name.endswith(".nodata"):
            raise BadAudio(stem, "the tar holds a placeholder in its place")
        try:
            file = self._members.extractfile(info)
            found = b"" if file is None else file.read()
        except _DAMAGED as error:
            raise BadAudio(stem, f"the tar is damaged: {error}") from error
        if len(found) != info.size:
            raise BadAudio(stem, f"the tar ends within it: {len(found)} of {info.size} bytes")
        return found


_waiting: KeptOpen[_Reader] = KeptOpen(8)
