"""A folder on a web server that can also fail, hang and trickle, and a bucket of an object store."""

import base64
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from compress.speech.sources import remote

END = threading.Event()
COUNTING = threading.Lock()
# For what comes, however busy the machine is.
PATIENT_S = 100


class Handler(SimpleHTTPRequestHandler):
    """Serves files; what the first part of a path says happens before the file does.

    ``/hangs/…`` never answers, ``/trickles/…`` sends a byte at a time, ``/flaky/…`` fails twice,
    ``/cut/…`` ends after half of the bytes that it promised, ``/guarded/…`` wants me:secret.
    """

    asked: Counter[str]
    timeout = PATIENT_S  # for a request that never comes on a connection that did

    def __init__(self, *args: Any, asked: Counter[str], **options: Any) -> None:
        self.asked = asked
        super().__init__(*args, **options)

    def do_GET(self) -> None:
        with COUNTING:
            self.asked[self.path] += 1
        _, mood, rest = self.path.split("/", 2) if self.path.count("/") > 1 else ("", "", "")
        if mood == "hangs":
            END.wait()
        elif mood == "trickles":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            while not END.wait(0.05):
                self.wfile.write(b"x")
                self.wfile.flush()
        elif mood == "flaky" and self.asked[self.path] <= 2:
            self.send_error(503)
        elif mood == "cut" and self.asked[self.path] <= 2:
            whole = Path(self.translate_path(f"/{rest}")).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            self.wfile.write(whole[: len(whole) // 2])
        elif mood == "guarded" and self.headers.get("Authorization") != (
            "Basic " + base64.b64encode(b"me:secret").decode()
        ):
            self.send_error(401)
        else:
            if mood in ("flaky", "cut", "guarded"):
                self.path = f"/{rest}"
            super().do_GET()

    def log_message(self, *args: Any) -> None:
        pass

    def handle(self) -> None:
        with suppress(ConnectionError):  # who asked has gone
            super().handle()


@pytest.fixture
def asked() -> Counter[str]:
    """How often each path was asked for."""
    return Counter()


@pytest.fixture
def asked_for(asked: Counter[str]) -> Callable[[str, int], int]:
    """How often a path was asked for in the end.

    Who is left behind asks a little later than it is given up, and the server hears of it later still.
    """

    def count(path: str, at_least: int) -> int:
        until = time.monotonic() + PATIENT_S
        while asked[path] < at_least and time.monotonic() < until:
            time.sleep(0.01)
        return asked[path]

    return count


@pytest.fixture
def served(asked: Counter[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], str]]:
    """Serves a folder; gives its URL, without a / at its end."""
    monkeypatch.setattr(remote, "PAUSE_S", 0.01)
    monkeypatch.setenv("NO_PROXY", "*")
    servers: list[ThreadingHTTPServer] = []
    END.clear()

    def serve(folder: Path) -> str:
        handler = partial(Handler, directory=str(folder), asked=asked)
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        servers[-1].daemon_threads = False  # `server_close` waits for them
        threading.Thread(target=servers[-1].serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield serve
    END.set()
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of an object store of this process."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], str]:
    """Puts the files of a folder into a bucket; gives its URL, without a / at its end."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": s3,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "*",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "PAUSE_S", 0.01)
    client = boto3.session.Session().client("s3")

    def put(folder: Path) -> str:
        client.create_bucket(Bucket="speech")
        for path in folder.rglob("*"):
            if path.is_file():
                client.upload_file(str(path), "speech", path.relative_to(folder).as_posix())
        return "s3://speech"

    return put
