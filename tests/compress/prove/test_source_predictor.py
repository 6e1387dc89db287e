"""Students in PyTorch: window by window, and all hops of a stretch at once."""

import numpy as np
import pytest
import torch
from torch import nn

from compress.judge.animation import driven_curves
from compress.prove import source_predictor
from compress.prove.source_predictor import SourcePredictor
from compress.quantize.calibration import calibrate
from compress.quantize.graph import IntegerDense, IntegerWindow
from compress.recipe.recipe import StudentSettings
from compress.students.contract import Window
from compress.students.conv_fc import build
from compress.students.folding import fold_batch_norm
from exporters.signature import Signature


class Windows:
    """A student asked as its files are, one window at a time."""

    def __init__(self, module: nn.Module, signature: Signature) -> None:
        self._module, self.signature = module, signature

    @torch.inference_mode()
    def run(self, audio: np.ndarray) -> np.ndarray:
        return np.concatenate([self._module(torch.from_numpy(a[None])).numpy() for a in audio])


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("limits", [None, (-0.02, 0.02)])
def test_dense_and_windows_show_the_same(
    student_settings: StudentSettings,
    limits: tuple[float, float] | None,
    int8: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(source_predictor, "_HOPS", 16)  # so that a stretch goes in pieces
    student = build(student_settings, 3, limits).eval()
    with torch.no_grad():
        student.steps[-1].bias.zero_()  # type: ignore[operator,union-attr]
    names = ("a", "b", "c")
    signature = Signature(
        student="tiny",
        precision="fp32",
        controls=names,
        driven=names,
        constants={},
        sample_rate_hz=16_000,
        hop=256,
        window=student.config.window,
        past=student.config.past,
        future=student.config.future,
        smoothing=(0.25, 0.5, 0.25),
        made_from="0",
        teacher="none",
        tool_versions={},
        quantization={},
    )
    speech = np.random.default_rng(4).uniform(-0.5, 0.5, 20_000).astype(np.float32)
    if int8:
        heard = 0.3 * torch.randn(4, 1, student.config.window + 8 * 256)
        folded = fold_batch_norm(student)
        codes = calibrate(folded, [heard], "minmax")
        dense = SourcePredictor(IntegerDense(folded, codes), signature)
        windows = Windows(IntegerWindow(folded, codes), signature)
    else:
        dense = SourcePredictor(student, signature)
        windows = Windows(Window(student).eval(), signature)
    times = np.arange(-1, 70) / 60
    found = [driven_curves(predictor, speech, times) for predictor in (dense, windows)]
    np.testing.assert_allclose(*found, atol=1e-6, rtol=0)
    assert np.ptp(found[0]) > 1e-3, "it must move, or nothing was compared"
    audio = speech[: 2 * signature.window].reshape(2, 1, -1)
    np.testing.assert_allclose(dense.run(audio), windows.run(audio), atol=1e-6, rtol=0)
