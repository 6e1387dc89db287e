"""Command doctor: what works on this machine, found by doing it.

Each target exports a tiny student in every precision that it has, runs the file and compares it
with PyTorch: that a package is installed says little about it.
"""

import json
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, cast

from compress.errors import MissingError
from compress.progress import bar
from compress.store import tool_versions
from exporters.contracts import Kind
from exporters.errors import ExporterError
from exporters.machine import machine_facts
from exporters.scratch import scratch
from exporters.targets.contract import Target, available_targets, load_target

if TYPE_CHECKING:
    from torch import nn

    from exporters.proof.golden import Golden
    from exporters.signature import Precision, Signature

State = Literal["works", "does not work", "not run"]

# Far above what rounding makes of the tiny student's curves, far below the curves themselves.
MAX_ABS = {"fp32": 1e-4, "fp16": 2e-2, "int8": 2e-2}
OUTPUTS = 3


@dataclass(frozen=True)
class Finding:
    """Whether one thing works; `detail` says how well, or why not and what to do."""

    what: str
    state: State
    detail: str


@dataclass(frozen=True)
class Examination:
    """What was found: facts by name, and of each target what works."""

    facts: dict[str, str]
    findings: tuple[Finding, ...]

    @property
    def lines(self) -> list[str]:
        """One aligned line a fact or finding."""
        rows = list(self.facts.items())
        rows += [(found.what, f"{found.state}: {found.detail}") for found in self.findings]
        width = max(len(name) for name, _ in rows)
        return [f"{name:<{width}}  {' '.join(text.split())}" for name, text in rows]

    def to_json(self) -> str:
        """The same for machines."""
        return json.dumps(asdict(self), indent=1)

    def conclude(self) -> None:
        """Return if every target works. Raises `MissingError`; what is not run here may be so."""
        broken = [found.what for found in self.findings if found.state == "does not work"]
        if broken:
            raise MissingError(
                f"Not everything works on this machine: {', '.join(broken)}. The lines say why; "
                f"what needs none of it works all the same."
            )


def examine(*, hidden: bool = False) -> Examination:
    """Look at this machine and try every target. `hidden` shows no progress."""
    facts = {**_software(), **_hardware()}
    findings: list[Finding] = []
    names = available_targets()
    for kind in _kinds():
        faults = {name: kind.fault(name) for name in kind.names()}
        findings += [
            Finding(f"{kind.word} {name}", "does not work", fault)
            for name, fault in faults.items()
            if fault
        ]
    with bar("doctor", len(names), hidden) as progress, scratch(), TemporaryDirectory() as folder:
        for done, name in enumerate(names):
            progress(done, name)
            target = load_target(name)
            versions = tool_versions(*dict.fromkeys((*target.TOOLS, *target.RUNTIMES)))
            facts[f"{name} tools"] = ", ".join(
                f"{tool} {found or 'not installed'}" for tool, found in versions.items()
            )
            for precision in target.PRECISIONS:
                findings += _tried(name, target, precision, Path(folder))
    return Examination(facts, tuple(dict.fromkeys(findings)))


def _kinds() -> "tuple[Kind[Any], ...]":
    """What is found by its name, but for students, whose modules need PyTorch."""
    from compress import teachers
    from compress.labels.engines import ENGINES
    from compress.speech import sources
    from compress.teachers.networks.encoders import ENCODERS
    from exporters.measuring.devices import DEVICES
    from exporters.targets.contract import TARGETS

    return TARGETS, DEVICES, teachers.FORMATS, ENCODERS, sources.FORMATS, ENGINES


def _software() -> dict[str, str]:
    versions = tool_versions("lipstill", "torch", "torchao")
    return {
        "python": platform.python_version(),
        **{name: found or "not installed" for name, found in versions.items()},
    }


def _hardware() -> dict[str, str]:
    machine = machine_facts()
    adb = shutil.which("adb")
    apple = platform.system() == "Darwin"
    return {
        "system": f"{machine['system']}, {machine['architecture']}",
        "cpu": machine["cpu"],
        "instruction sets": machine["cpu_flags"] or "none that matter here",
        "gpu": _gpu(),
        "android devices": f"adb is {adb}" if adb else "not run: adb is not on the PATH",
        "apple devices": "this Mac" if apple else "not run: only on macOS",
    }


def _gpu() -> str:
    try:
        import torch
    except ImportError as error:
        return f"not run: torch cannot be imported ({error})"
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return ", ".join(names)
    if torch.backends.mps.is_available():
        return "Metal"
    return "none that this torch can use"


def _tried(name: str, target: Target, precision: str, folder: Path) -> Iterator[Finding]:
    """Export in a precision, look into the file, and run it wherever it runs."""
    what = f"{name} {precision}"
    try:
        with scratch():
            found = list(_compared(name, target, precision, folder / f"{precision}{target.SUFFIX}"))
        yield from found
    except ExporterError as error:
        yield Finding(what, "does not work", str(error))
    except ModuleNotFoundError as error:
        missing = (error.name or str(error)).partition(".")[0]
        yield Finding(
            what,
            "does not work",
            f"the Python package {missing} is missing. Install lipstill with all that it needs: pip "
            f"install lipstill",
        )
    except Exception as error:  # noqa: BLE001 - whatever a broken installation raises is the finding
        yield Finding(
            what,
            "does not work",
            f"{type(error).__name__}: {error}. Install lipstill's packages again: pip install "
            f"--force-reinstall {' '.join(target.TOOLS)}",
        )


def _compared(name: str, target: Target, precision: str, path: Path) -> Iterator[Finding]:
    from exporters.proof.golden import compare
    from exporters.targets.structure import structural_faults

    module, signature, golden = example(precision)
    target.export(module, signature, path)
    runtime = target.open_runtime(path)
    described, outcome = runtime.describe(), compare(runtime, golden)
    faults = structural_faults(target.structure(path), signature)
    works = outcome.status == "passed" and not faults
    said = "; ".join(
        [*faults, f"{outcome.detail}, in {described['runtime']} {described['version']}"]
    )
    yield Finding(f"{name} {precision}", "works" if works else "does not work", said)
    for other, further in target.further_runtimes(path).items():
        if isinstance(further, str):  # the same for every precision
            yield Finding(f"{name}, {other}", "not run", further)
        else:
            outcome = compare(further, golden)
            state: State = "works" if outcome.status == "passed" else "does not work"
            yield Finding(f"{name} {precision}, {other}", state, outcome.detail)


@cache
def example(precision: str) -> "tuple[nn.Module, Signature, Golden]":
    """A tiny student of fixed weights with all that ours have, what it is, and what it says."""
    import numpy as np
    import torch

    from compress.speech.audio import HOP, SAMPLE_RATE
    from compress.students.contract import Window
    from compress.students.conv_fc import ConvFC, ConvFCConfig, Layer
    from compress.students.integers import Choice
    from exporters.proof.golden import make_golden
    from exporters.signature import Signature

    config = ConvFCConfig(
        first_layer="gabor_log",
        first=Layer(32, 16, 8),
        layers=(Layer(3, 4, 16),),
        head_kernel=2,
        head_channels=(16, 16),
        past=256,
        future=256,
        outputs=OUTPUTS,
        batch_norm=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        student = ConvFC(config).eval()
        noise = 0.1 * torch.randn(4, 1, config.window + 15 * HOP)
    module: nn.Module = Window(student)
    quantization: dict[str, object] = {}
    if precision == "int8":
        from compress.quantize.calibration import calibrate, choosing
        from compress.quantize.graph import IntegerWindow, with_integer_biases

        choices: dict[str, Choice] = dict.fromkeys(config.layer_names, "int8")
        choices |= {"first": "float", "rig": "float"}
        codes = choosing(calibrate(student, [noise], "minmax"), config, choices)
        module = IntegerWindow(with_integer_biases(student, codes), codes)
        quantization = codes.in_brief()
    controls = tuple(f"control{i}" for i in range(OUTPUTS))
    signature = Signature(
        student="doctor",
        precision=cast("Precision", precision),
        controls=controls,
        driven=controls,
        constants={},
        sample_rate_hz=SAMPLE_RATE,
        hop=HOP,
        window=config.window,
        past=config.past,
        future=config.future,
        smoothing=(1.0,),
        made_from="",
        teacher="",
        tool_versions={},
        quantization=quantization,
    )
    nothing = np.zeros((0, 1, config.window), np.float32)
    return module, signature, make_golden(module, signature, nothing, max_abs=MAX_ABS[precision])
