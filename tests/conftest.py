"""A tiny recipe, its finished run, and the command line: in this process, and in one of its own."""

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from compress.surroundings import wait_without_spinning

# Before anything imports PyTorch: tests may run beside others on the same cores.
wait_without_spinning()

REPOSITORY = Path(__file__).parent.parent
RATE = 16_000

Cli: TypeAlias = Callable[..., "Ended"]
MadeOnce: TypeAlias = Callable[[str, Callable[[Path], None]], Path]

# A busy machine fails no test: examples are the same each time and may take as long as they need.
# `--hypothesis-profile=default` draws others.
settings.register_profile(
    "the same each time",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("the same each time")

# Until a command counts as hanging. A limit that is itself tested has nothing to do with it.
HANGS_S = 600

RECIPE = """\
name: tiny
description: a few seconds from teacher to report
threads: 1
teacher: {checkpoint: teacher}
speech: {train: [speech/train], heldout: [speech/heldout], max_bad_share: 0.25}
labels: {shard_s: 2.5}
students:
  - name: small
    past_ms: 16
    future_ms: 16
    filters: 8
    first_kernel: 32
    first_stride: 16
    energy_kernel: 1
    energy_stride: 1
    layers: [{kernel: 3, stride: 4, channels: 8}]
    head_channels: 8
    head_kernel: 2
    training:
      {steps: 6, batch: 2, frames: 6, warmup_steps: 2, validate_every: 3, checkpoint_every: 2}
export: {targets: [onnx], precisions: [fp32, int8]}
# Six steps of training leave a student that follows nobody.
parity: {max_lag_ms: 1000}
report: {clips: 1}
"""

# The same with layers that have channels to lose, made smaller and then int8.
SHRINKING = (
    RECIPE.replace("name: tiny", "name: shrinking")
    .replace("filters: 8", "filters: 16")
    .replace("channels: 8", "channels: 16")
    .replace(
        "export:",
        """\
    pruning: {remove: 0.4, rounds: 2, recovery_steps: 3, calibration_batches: 2}
    quantization: {method: qat, qat_steps: 4, calibration_batches: 2}
export:""",
    )
)


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    def failed(self, code: int, *said: str) -> bool:
        """Whether it ended with `code` and one readable paragraph on stderr that says all this."""
        missing = [text for text in said if text not in self.err]
        readable = self.err.strip() and "Traceback" not in self.err and "\n\n" not in self.err
        assert (self.code, bool(readable), missing) == (code, True, []), f"{self.out}\n{self.err}"
        return True


@pytest.fixture
def add_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Adds a module to a package for one test: its full name and source in, its file out."""
    folders: dict[str, Path] = {}
    added = []

    def add(name: str, source: str) -> Path:
        package, _, stem = name.rpartition(".")
        if package not in folders:
            folders[package] = tmp_path / package
            folders[package].mkdir()
            home = importlib.import_module(package)
            monkeypatch.setattr(home, "__path__", [*home.__path__, str(folders[package])])
        monkeypatch.setattr(sys.modules[package], stem, None, raising=False)  # undone with the rest
        added.append(name)
        file = folders[package] / f"{stem}.py"
        file.write_text(source)
        importlib.invalidate_caches()
        return file

    yield add
    for name in added:
        sys.modules.pop(name, None)


def write_teacher(folder: Path, moving: tuple[str, ...] = ("jaw", "mouth")) -> None:
    """A Voice2Face of a few thousand weights with ARKit's 52 controls, 26 of them driven.

    Driven are those whose names begin with a word of `moving`.
    """
    import json

    import torch
    from safetensors.torch import save_file

    from compress.rig.rig import ARKIT
    from compress.teachers.networks.moonshine import MoonshineConfig
    from compress.teachers.networks.voice2face import HeadConfig, Voice2Face, Voice2FaceConfig

    driven = tuple(name for name in ARKIT if name.startswith(moving))
    config = Voice2FaceConfig(
        controls=ARKIT,
        driven=driven,
        constants={"eyeBlinkLeft": 0.125},
        rate_hz=30.0,
        head=HeadConfig(encoder_layers=(0, 1), hidden=8, lstm=8, mesh=8),
        encoder_config=MoonshineConfig(dim=16, layers=1, heads=2, rotary_dim=4),
        # Six steps of training leave a student far off: wide limits keep it from sticking to one.
        limits=(-10.0, 10.0),
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        teacher = Voice2Face(config).eval()
        with torch.no_grad():
            teacher.head.rig[-1].weight.mul_(10)  # its values go to about 2, as those of a face
    folder.mkdir(parents=True)
    save_file(teacher.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config.to_json()))


def write_speech(folder: Path, clips: int, first_seed: int) -> None:
    """Clips of noise that swells and fades, 0.6 to 0.8 s."""
    import numpy as np
    import soundfile

    folder.mkdir(parents=True)
    for i in range(clips):
        samples = RATE * (6 + i % 3) // 10
        swell = np.sin(2 * np.pi * 3 * np.arange(samples) / RATE) ** 2
        noise = np.random.default_rng(first_seed + i).uniform(-0.5, 0.5, samples)
        soundfile.write(folder / f"{first_seed + i}.wav", (noise * swell).astype(np.float32), RATE)


@pytest.fixture(scope="session", autouse=True)
def cache_of_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What scans remember lies apart from what the user's own scans do."""
    os.environ["LIPSTILL_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """What a test draws does not depend on which tests ran before it."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """Makes a folder, which the workers of one session share: the first makes it, the others wait."""
    here = tmp_path_factory.getbasetemp()
    shared = here.parent if "PYTEST_XDIST_WORKER" in os.environ else here

    def made(name: str, make: Callable[[Path], None]) -> Path:
        folder = shared / f"shared-{name}"
        with FileLock(shared / f"{name}.lock"):
            if not folder.exists():
                # Made in its place, since files in it may say where they are.
                try:
                    make(folder)
                except BaseException:
                    shutil.rmtree(folder, ignore_errors=True)
                    raise
        return folder

    return made


@pytest.fixture(scope="session")
def workshop(made_once: MadeOnce) -> Path:
    """A folder with two tiny recipes, their teacher and their speech. Read, never written: see `own`."""

    def make(folder: Path) -> None:
        write_teacher(folder / "teacher")
        write_speech(folder / "speech" / "train", 8, 0)
        write_speech(folder / "speech" / "heldout", 3, 100)
        (folder / "recipe.yaml").write_text(RECIPE)
        (folder / "shrinking.yaml").write_text(SHRINKING)

    return made_once("workshop", make)


@pytest.fixture(scope="session")
def make_teacher() -> Callable[..., None]:
    """Writes a teacher of which other controls are driven."""
    return write_teacher


@pytest.fixture
def own(workshop: Path, tmp_path: Path) -> Path:
    """A copy of the workshop to spoil."""
    return shutil.copytree(workshop, tmp_path / "own")


@pytest.fixture(scope="session")
def cli() -> Cli:
    """The command line in this process, where torch is loaded already."""
    from typer.testing import CliRunner

    from compress.cli import app

    runner = CliRunner()

    def run(*arguments: object) -> Ended:
        result = runner.invoke(app, [str(a) for a in arguments], prog_name="lipstill")
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture(scope="session")
def process() -> Cli:
    """The command line in a process of its own; `options` are those of `subprocess.run`.

    `before` is Python that runs first in that process.
    """

    def run(*arguments: object, before: str = "", **options: Any) -> Ended:
        code = (
            f"import sys; sys.argv[0] = 'lipstill'\n{before}\nfrom compress.cli import main; main()"
        )
        command = [sys.executable, "-c", code, *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": ""}
        options = {"env": environment, "timeout": HANGS_S} | options
        done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def finished(workshop: Path, cli: Cli, made_once: MadeOnce) -> Path:
    """The finished run of the workshop's recipe. Read, never written."""

    def make(folder: Path) -> None:
        ended = cli("compress", workshop / "recipe.yaml", "--out", folder / "run")
        assert ended.code == 0, ended.err

    return made_once("finished", make) / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run to go on with, or to spoil."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture(scope="session")
def shrunk(workshop: Path, cli: Cli, made_once: MadeOnce) -> Path:
    """The finished run of the recipe that prunes and quantizes. Read, never written."""

    def make(folder: Path) -> None:
        ended = cli("compress", workshop / "shrinking.yaml", "--out", folder / "run")
        assert ended.code == 0, ended.err

    return made_once("shrunk", make) / "run"


@pytest.fixture
def shrunk_run(shrunk: Path, tmp_path: Path) -> Path:
    """A copy of that run to go on with, or to spoil."""
    return shutil.copytree(shrunk, tmp_path / "shrunk")
