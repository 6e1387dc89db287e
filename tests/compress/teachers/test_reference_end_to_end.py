"""A reference teacher with a HuBERT in a Hugging Face folder, from a recipe to verified files."""

import http.server
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compress.teachers.hubert_folders import as_pickle, write_hubert, write_reference

REVISION = "0123456789abcdef0123456789abcdef01234567"
HUB = f"hub:some/hubert@{REVISION}"


def reference_recipe(own: Path, encoder_weights: str, download: bool = False) -> Path:
    """The workshop's recipe with a teacher whose encoder lies elsewhere."""
    write_reference(own / "reference", encoder_weights)
    recipe = (own / "recipe.yaml").read_text()
    said = f"{{checkpoint: reference, download: {str(download).lower()}}}"
    changed = recipe.replace("{checkpoint: teacher}", said)
    assert changed != recipe
    (own / "reference.yaml").write_text(changed)
    return own / "reference.yaml"


@pytest.mark.slow
@pytest.mark.parametrize("change", [None, as_pickle], ids=["safetensors", "pytorch_model.bin"])
def test_from_recipe_to_verified_files(
    own: Path, cli: Callable[..., Any], change: Callable[[Path], None] | None
) -> None:
    write_hubert(own / "hubert")
    if change is not None:
        change(own / "hubert")
    recipe = reference_recipe(own, "../hubert")
    ended = cli("compress", recipe, "--out", own / "run", "--until", "export")
    assert ended.code == 0, ended.err
    verified = cli("verify", own / "run")
    assert verified.code == 0, verified.err
    inspected = cli("inspect", own / "reference", "--json")
    facts = json.loads(inspected.out)
    assert "hubert encoder" in facts["description"]
    assert facts["encoder weights"] == "../hubert"


def test_other_weights_of_the_encoder_are_another_teacher(
    own: Path, cli: Callable[..., Any]
) -> None:
    """Labels are taken again: a key that misses the encoder would keep the old ones."""
    write_hubert(own / "hubert")
    recipe = reference_recipe(own, "../hubert")
    keys = set()
    for seed in (3, 4):
        write_hubert(own / "hubert", seed=seed)
        ended = cli("label", recipe, "--out", own / "run")
        assert ended.code == 0, ended.err
        keys.add((own / "run" / "labels" / "stage.json").read_text())
    assert len(keys) == 2


# ----------------------------------------------------------------------------------------- the hub


def environment(own: Path, port: int) -> dict[str, str]:
    """A process with an empty cache, to which this port is the whole hub."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return kept | {
        "HF_HOME": str(own / "hf"),
        "HF_ENDPOINT": f"http://127.0.0.1:{port}",
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("download", "said"),
    [(False, "Set teacher.download: true"), (True, "could not be reached")],
)
def test_an_encoder_that_is_not_here(
    own: Path, process: Callable[..., Any], closed_port: int, download: bool, said: str
) -> None:
    recipe = reference_recipe(own, HUB, download)
    ended = process("label", recipe, "--out", own / "run", env=environment(own, closed_port))
    assert ended.failed(4, "some/hubert", REVISION, said)
    assert not (own / "hf").exists() or not list((own / "hf").rglob("*.safetensors"))


class Hub(http.server.BaseHTTPRequestHandler):
    """One repository with one revision, as far as a download asks the hub about it."""

    folder: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(False)

    def do_GET(self) -> None:
        self._answer(True)

    def _answer(self, with_body: bool) -> None:
        self.asked.append(self.path)
        path = self.path.split("?")[0]
        names = sorted(file.name for file in self.folder.iterdir())
        resolved = path.removeprefix(f"/some/hubert/resolve/{REVISION}/")
        if path == f"/api/models/some/hubert/revision/{REVISION}":
            files = [{"rfilename": name} for name in names]
            body = json.dumps({"id": "some/hubert", "sha": REVISION, "siblings": files}).encode()
        elif path == f"/api/models/some/hubert/tree/{REVISION}":
            body = json.dumps([self._entry(name) for name in names]).encode()
        elif resolved in names:
            body = (self.folder / resolved).read_bytes()
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("ETag", f'"{len(body)}"')
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _entry(self, name: str) -> dict[str, object]:
        size = (self.folder / name).stat().st_size
        return {"type": "file", "path": name, "size": size, "oid": str(size)}

    def log_message(self, *arguments: object) -> None:
        """Not on the tests' stderr."""


@pytest.fixture
def hub(own: Path) -> Iterator[tuple[int, list[str]]]:
    """A hub on this machine, by its port, and what it was asked for."""
    write_hubert(own / "hubert")
    (own / "hubert" / "large.h5").write_bytes(b"not wanted")
    asked: list[str] = []
    handler = type("OneHub", (Hub,), {"folder": own / "hubert", "asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], asked
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_an_encoder_from_the_hub(
    own: Path, process: Callable[..., Any], hub: tuple[int, list[str]]
) -> None:
    """Fetched once, when the recipe allows it, and never asked for again."""
    port, asked = hub

    def label(recipe: Path, run: str) -> Any:
        return process("label", recipe, "--out", own / run, env=environment(own, port))

    recipe = reference_recipe(own, HUB)
    assert label(recipe, "run").failed(4, "teacher.download: true")
    assert asked == []
    allowed = own / "allowed.yaml"
    allowed.write_text(recipe.read_text().replace("download: false", "download: true"))
    ended = label(allowed, "run")
    assert ended.code == 0, ended.err
    fetched = [path for path in asked if "/resolve/" in path]
    assert any("model.safetensors" in path for path in fetched)
    assert not any("large.h5" in path for path in fetched)
    asked.clear()
    ended = label(recipe, "other")
    assert ended.code == 0, ended.err
    assert asked == []


@pytest.mark.slow
def test_what_the_hub_does_not_have(
    own: Path, process: Callable[..., Any], hub: tuple[int, list[str]]
) -> None:
    recipe = reference_recipe(own, HUB.replace("0123", "3210"), download=True)
    ended = process("label", recipe, "--out", own / "run", env=environment(own, hub[0]))
    assert ended.failed(3, "does not give some/hubert at 3210")
