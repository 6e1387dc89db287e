"""Small MIL programs as packages, what they give, and convolutions done by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from exporters.targets.coreml.mil import evaluate_to, read_program
from exporters.targets.coreml.package import quiet

Build = Callable[[Any, Any], Any]
"""MIL's builder and the input -> the output."""


def save(path: Path, build: Build, shape: tuple[int, ...], dtype: str = "fp32") -> Path:
    """A small program of one input as a package, as it stands: without any pass over it."""
    with quiet():
        import coremltools as ct
        from coremltools.converters.mil import Builder, mil

        @Builder.program(
            input_specs=[Builder.TensorSpec(shape=shape, dtype=getattr(mil.types, dtype))],
            opset_version=ct.target.iOS17,
        )
        def program(x: Any) -> Any:
            return build(Builder, x)

        model = ct.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=ct.target.iOS17,
            compute_precision=ct.precision.FLOAT32,
            pass_pipeline=ct.PassPipeline.EMPTY,
            skip_model_load=True,
        )
        model.save(str(path))
    return path


def gives(path: Path, x: np.ndarray, **options: Any) -> np.ndarray:
    """The only output for one input, without the axis of windows."""
    program = read_program(path, **options)
    return evaluate_to(program, x, program.outputs)[program.outputs[0]][0]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def convolved(
    x: np.ndarray, weight: np.ndarray, stride: int, pad: tuple[int, int], dilation: int, groups: int
) -> np.ndarray:
    """[1, in, steps] in float64, one product after the other."""
    x = np.pad(x[0].astype(float), ((0, 0), pad))
    out, per_group, kernel = weight.shape
    steps = (x.shape[1] - (kernel - 1) * dilation - 1) // stride + 1
    y = np.zeros((1, out, steps))
    for o in range(out):
        first = o // (out // groups) * per_group
        for t in range(steps):
            for k in range(kernel):
                column = x[first : first + per_group, t * stride + k * dilation]
                y[0, o, t] += column @ weight[o, :, k].astype(float)
    return y
