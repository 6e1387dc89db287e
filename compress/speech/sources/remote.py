"""Bytes that lie elsewhere, by URL: they come within a time, or are said not to have come.

`smart_open` reads them, from web servers and object stores alike. Whatever may wait for a store
does so in a thread of its own, which is left behind when its time is up: it holds up nobody's exit.
"""

import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import IO, TYPE_CHECKING, Any, TypeVar

from compress.errors import AudioError, BadAudio, MissingError

if TYPE_CHECKING:
    from botocore.client import BaseClient  # type: ignore[import-untyped]

A = TypeVar("A")
T = TypeVar("T")

TIMEOUT_S = 60.0
TRIES = 3
PAUSE_S = 0.5  # before the second try; twice as long before the third
BLOCK = 2**20  # bytes
# A file is held whole: more than ten hours of mono at 16 kHz and 16 bits.
LARGEST = 2**31
CACHED = 2**28  # bytes of files that are kept for the next part of one of them

SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")


def is_url(name: str) -> bool:
    """Whether a name is a URL; a Windows path is not."""
    return SCHEME.match(name) is not None


def shown(name: str) -> str:
    """A name for messages: a URL without user, password, query and fragment, which may be secret."""
    if not is_url(name):
        return name
    scheme, _, rest = re.split(r"[?#]", name, maxsplit=1)[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def suffixes(name: str) -> str:
    """A name's last part without what may be secret, in small letters, to look at its ending."""
    return shown(name).rpartition("/")[2].lower()


def beside(name: str, other: str) -> str:
    """The URL of `other`, which stands in the same folder as the URL `name`; or `other` if it is one."""
    if is_url(other):
        return other
    path, mark, query = name.partition("?")
    return f"{path.rpartition('/')[0]}/{other}{mark}{query}"


class NotFetched(Exception):
    """What lies elsewhere did not come, and why. `absent`: it is known that it is not there."""

    def __init__(self, reason: str, absent: bool = False, passing: bool = False) -> None:
        super().__init__(reason, absent, passing)
        self.reason, self.absent, self.passing = reason, absent, passing


def fetch(url: str, timeout_s: float = TIMEOUT_S) -> bytes:
    """All bytes of a URL. Each of three tries may take `timeout_s`.

    Raises `BadAudio` for what does not come, and `MissingError` where smart_open is not installed.
    """
    try:
        return tried(lambda: _whole(url, timeout_s))
    except NotFetched as error:
        raise BadAudio(shown(url), error.reason) from None


def cached(url: str, timeout_s: float = TIMEOUT_S) -> bytes:
    """As `fetch`, and kept for the next part of the same recording."""
    with _files_lock:
        found = _files.pop(url, None)
    if found is None:
        found = fetch(url, timeout_s)
    with _files_lock:
        _files[url] = found
        while len(_files) > 1 and sum(map(len, _files.values())) > CACHED:
            _files.popitem(last=False)
    return found


_files: OrderedDict[str, bytes] = OrderedDict()
_files_lock = threading.Lock()


def tried(work: Callable[[], T]) -> T:
    """What `work` returns, tried again where it raises a `NotFetched` that may pass."""
    pause_s = PAUSE_S
    for _ in range(TRIES - 1):
        try:
            return work()
        except NotFetched as error:
            if not error.passing:
                raise
        time.sleep(pause_s)
        pause_s *= 2
    return work()


def exists(url: str, timeout_s: float = TIMEOUT_S) -> bool:
    """Whether a URL is there. Raises `BadAudio` where that cannot be known."""
    try:
        tried(lambda: Stream(url, timeout_s)).close()
    except NotFetched as error:
        if error.absent:
            return False
        raise BadAudio(shown(url), error.reason) from None
    return True


class Stream:
    """A URL that is read from front to back. Each block of a MiB comes within `timeout_s`.

    Raises `NotFetched` from where it fails, for `tried`; what has been read is then lost.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._file: IO[bytes] = within(timeout_s, lambda _: _opened(url, timeout_s))

    def read(self, size: int = BLOCK) -> bytes:
        """The next bytes, as many as asked for unless it ends."""
        return within(self._timeout_s, lambda _: self._file.read(size))

    def close(self) -> None:
        """Let go of it, in a thread of its own: a store may be slow in that too."""
        threading.Thread(target=self._file.close, daemon=True).start()


def within(timeout_s: float, work: Callable[[threading.Event], T]) -> T:
    """What `work` returns, within a time; it is given an event that says when nobody waits any more.

    Raises `NotFetched` for what a store, the network or the time did not let happen.
    """
    left = threading.Event()
    found = _begun(lambda: work(left))
    try:
        error = found.exception(timeout_s)
    except TimeoutError:
        raise NotFetched(f"it did not come within {timeout_s:g} s", passing=True) from None
    finally:
        left.set()
    if error is None:
        return found.result()
    # Not chained: what libraries say names whole URLs, with what is secret in them.
    if isinstance(error, ImportError):
        raise MissingError(
            "Speech by URL needs smart_open and what it reads this kind of URL with, which is not "
            'installed: pip install "lipstill[cloud]" for web servers and S3; smart_open says what '
            "other stores need."
        ) from None
    if _of_the_store(error):
        raise _not_fetched(error) from None
    raise error


def side_by_side(work: Callable[[A], T], items: Iterable[A], most: int = 8) -> Iterator[T]:
    """What `work` returns for each item, in order; so many are at work at once."""
    waiting: deque[Future[T]] = deque()
    for item in items:
        waiting.append(_begun(partial(work, item)))
        if len(waiting) == most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _begun(work: Callable[[], T]) -> "Future[T]":
    """What `work` will return, in a thread that holds up nobody's exit."""
    found: Future[T] = Future()

    def run() -> None:
        try:
            found.set_result(work())
        except BaseException as error:  # noqa: BLE001  # for who waits
            found.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return found


def _whole(url: str, timeout_s: float) -> bytes:
    def load(left: threading.Event) -> bytes:
        blocks, size = [], 0
        with _opened(url, timeout_s) as file:
            while not left.is_set() and (block := file.read(BLOCK)):
                blocks.append(block)
                size += len(block)
                if size > LARGEST:
                    raise NotFetched(
                        f"it is larger than {LARGEST / 2**30:g} GiB, which would have to be held "
                        f"at once; divide it, or keep it in a folder of this machine"
                    )
        return b"".join(blocks)

    return within(timeout_s, load)


def _opened(url: str, timeout_s: float) -> Any:
    import smart_open

    scheme = url.partition("://")[0].lower()
    transport: dict[str, Any] = {}
    if scheme in ("http", "https"):
        transport = {"timeout": timeout_s}
    elif scheme in ("s3", "s3a", "s3n", "s3u") and "@" not in url:
        transport = {"client": _client(timeout_s)}
    try:
        return smart_open.open(url, "rb", compression="disable", transport_params=transport)
    except NotImplementedError:
        raise AudioError(
            f"{shown(url)} begins with {scheme}://, which smart_open does not read."
        ) from None


_clients: dict[float, "BaseClient"] = {}
_clients_lock = threading.Lock()


def _client(timeout_s: float) -> "BaseClient":
    """One client of S3 for all threads, which does not try again by itself."""
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]

    with _clients_lock:
        if timeout_s not in _clients:
            settings = Config(
                connect_timeout=timeout_s, read_timeout=timeout_s, retries={"max_attempts": 0}
            )
            _clients[timeout_s] = boto3.session.Session().client("s3", config=settings)
        return _clients[timeout_s]


def _of_the_store(error: BaseException) -> bool:
    """Whether it is the store's or the network's, not a mistake of ours; libraries have trees of their own."""
    package = type(error).__module__.partition(".")[0]
    others = ("azure", "botocore", "google", "http", "paramiko", "requests", "urllib3")
    return isinstance(error, OSError | EOFError) or package in others


def _not_fetched(error: BaseException) -> NotFetched:
    answer = getattr(getattr(error, "backend_error", error), "response", None)
    status, said = getattr(answer, "status_code", None), str(getattr(answer, "reason", ""))
    if isinstance(answer, dict):  # botocore's
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
        said = str(answer.get("Error", {}).get("Code", ""))
    if isinstance(status, int):
        passing = status >= 500 or status in (408, 429)
        return NotFetched(f"the server answered {status} {said}".rstrip(), status == 404, passing)
    if isinstance(error, FileNotFoundError):
        return NotFetched("it is not there", absent=True)
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return NotFetched("the server did not answer in time", passing=True)
    final = "Credential" in type(error).__name__
    said = getattr(error, "strerror", None) or type(error).__name__
    return NotFetched(f"it could not be fetched ({said})", passing=not final)
