"""Students as they ship, and every kind that a recipe can describe, as ``.tflite``."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compress.export.stage import window_form
from compress.quantize.calibration import calibrate, choosing
from compress.quantize.graph import IntegerWindow
from compress.speech.audio import HOP, SAMPLE_RATE
from compress.students.contract import Window
from compress.students.conv_fc import ConvFC, ConvFCConfig, Layer
from compress.students.integers import Quantization
from exporters.proof.parity import check_parity, probe_windows
from exporters.signature import Signature
from exporters.targets.structure import structural_faults
from exporters.targets.tflite import target as tflite

pytestmark = pytest.mark.slow

ASSETS = Path(__file__).parents[4] / "compress" / "assets"
ENERGIES = ConvFCConfig(
    first_layer="gabor_log",
    first=Layer(32, 16, 8),
    layers=(Layer(3, 2, 8),),
    head_kernel=2,
    head_channels=(8, 8),
    past=256,
    future=256,
    outputs=2,
    limits=(-0.4, 0.4),
    energy=Layer(3, 2, 0),
    batch_norm=False,
)
PLAIN = ConvFCConfig(
    first_layer="conv",
    first=Layer(8, 8, 6),
    layers=(Layer(3, 2, 5), Layer(3, 4, 8)),
    head_kernel=2,
    head_channels=(8, 7),
    past=200,
    future=240,
    outputs=3,
    batch_norm=False,
)


def signature_of(
    config: ConvFCConfig,
    precision: str,
    driven: tuple[str, ...],
    quantization: Quantization | None,
) -> Signature:
    return Signature(
        student="student",
        precision=precision,
        controls=driven,
        driven=driven,
        constants={},
        sample_rate_hz=SAMPLE_RATE,
        hop=HOP,
        window=config.window,
        past=config.past,
        future=config.future,
        smoothing=(1.0,),
        made_from="c0ffee",
        teacher="demo",
        tool_versions={},
        quantization={} if quantization is None else quantization.in_brief(),
    )


def speech_like(windows: int, window: int) -> np.ndarray:
    """Noise of any level that swells and fades, float32 `[windows, 1, window]`."""
    draw = np.random.default_rng(0)
    swell = np.sin(np.arange(window) / draw.uniform(100, 3000, (windows, 1, 1))) ** 2
    level = 10 ** draw.uniform(-3, -0.5, (windows, 1, 1))
    noise = level * swell * draw.standard_normal((windows, 1, window))
    return np.clip(noise, -1, 1).astype(np.float32)


def exported(
    module: nn.Module, signature: Signature, folder: Path, *, max_abs: float, max_lsb: int = 1
) -> None:
    """Write a file, and see that it is made as its precision promises and says what PyTorch says."""
    path = folder / "model.tflite"
    tflite.export(module, signature, path)
    structure = tflite.structure(path)
    assert structural_faults(structure, signature) == []
    windows = {
        "speech-like": speech_like(60, signature.window),
        **probe_windows(signature.window, seed=0),
    }
    result = check_parity(
        tflite.open_runtime(path), module, windows, max_abs=max_abs, max_lsb=max_lsb
    )
    assert result.status == "passed", [found.reason for found in result.sets]


@pytest.mark.parametrize(
    ("name", "precision", "max_abs", "max_lsb"),
    [
        # Float sums in another order. The weights that ship are float16 already.
        ("tiny", "fp32", 2e-6, 0),
        ("tiny", "fp16", 2e-6, 0),
        ("small", "fp32", 2e-6, 0),
        ("small", "fp16", 2e-6, 0),
        ("tiny-int8", "int8", 2e-3, 1),
        ("tiny-pruned-int8", "int8", 2e-3, 1),
        ("tiny-realtime-int8", "int8", 2e-3, 1),
        # Where float sums of PyTorch tip a code early on, one in half a million is off by two later;
        # ONNX Runtime, which sums whole numbers too, differs in the very same place.
        ("small-pruned-int8", "int8", 2e-3, 2),
    ],
)
def test_students_that_ship(
    name: str, precision: str, max_abs: float, max_lsb: int, tmp_path: Path
) -> None:
    module, student, card = window_form(ASSETS / name)
    signature = signature_of(student.config, precision, card.driven, card.quantization)
    exported(module, signature, tmp_path, max_abs=max_abs, max_lsb=max_lsb)


@pytest.mark.parametrize(
    ("choices", "plan", "activation"),
    [
        ("float", ENERGIES, "silu"),
        ("float", PLAIN, "leaky_relu"),
        ("int8", ENERGIES, "relu"),
        ("int8", ENERGIES, "leaky_relu"),
        ("int8", PLAIN, "silu"),
        ("mixed", ENERGIES, "silu"),
        ("mixed", PLAIN, "relu"),
        ("mixed", PLAIN, "leaky_relu"),
    ],
)
def test_kinds_of_students(
    choices: str, plan: ConvFCConfig, activation: str, tmp_path: Path
) -> None:
    config = replace(plan, activation=activation)
    torch.manual_seed(3)
    student = ConvFC(config).eval()
    driven = tuple("abc"[: config.outputs])
    if choices == "float":
        signature = signature_of(config, "fp32", driven, None)
        exported(Window(student).eval(), signature, tmp_path, max_abs=2e-6)
        return
    mixed = ("float", "int8", "int8_weights") if choices == "mixed" else ("int8",)
    found = choosing(
        calibrate(student, [torch.from_numpy(speech_like(4, 2 * config.window))], "minmax"),
        config,
        {name: mixed[i % len(mixed)] for i, name in enumerate(config.layer_names)},
    )
    module = IntegerWindow(student, found)
    signature = signature_of(config, "int8", driven, found)
    # Where the rig itself is codes, one of them more or less is a step of their scale.
    step = found.tensors["rig"].scale if "rig" in found.tensors else 0.0
    exported(module, signature, tmp_path, max_abs=2e-3 + step)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "silu"])
def test_codes_behind_every_activation_are_those_of_the_source(
    activation: str, tmp_path: Path
) -> None:
    """One in two hundred may differ, where float sums fall on two sides of a rounding step.

    A kernel that multiplies by whole 256ths gives others for one code in ten.
    """
    layers = (Layer(3, 1, 16), Layer(3, 2, 16))  # one more that sees 64 samples more
    config = replace(ENERGIES, activation=activation, layers=layers, past=ENERGIES.past + 64)
    torch.manual_seed(3)
    student = ConvFC(config).eval()
    choices = dict.fromkeys(config.layer_names, "int8") | {"head2": "float", "rig": "float"}
    heard = torch.from_numpy(speech_like(8, 2 * config.window))
    found = choosing(calibrate(student, [heard], "minmax"), config, choices)
    module = IntegerWindow(student, found)
    path = tmp_path / "model.tflite"
    tflite.export(module, signature_of(config, "int8", ("a", "b"), found), path)
    windows = speech_like(200, config.window)
    codes, wanted = (
        tflite.open_runtime(path).codes(windows),
        module.codes(torch.from_numpy(windows)),
    )
    assert codes is not None
    assert wanted is not None
    assert np.mean(codes != wanted.numpy()) <= 5e-3
