"""MIL in PyTorch: codes, float16 and subnormals are rounded where and as Core ML rounds them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporters.targets.coreml.mil import evaluate_to, read_program
from tests.exporters.targets.coreml.mil_programs import convolved, gives, noise

pytestmark = pytest.mark.slow  # converters take seconds to begin


def codes_of(path: Path, x: np.ndarray) -> np.ndarray:
    program = read_program(path)
    (quantize,) = [step for step in program.operations if step.kind == "quantize"]
    name = quantize.outputs[0].name
    return evaluate_to(program, x, [name])[name][0]


@pytest.mark.parametrize(
    ("dtype", "zero_point", "expected"),
    [
        # scale 0.5: -0.25, 0.25, 0.75, 1.25 are -0.5, 0.5, 1.5 and 2.5 steps: halves go to even.
        ("int8", None, [-128, -128, 0, 0, 2, 2, 127, 127]),
        ("int8", 3, [-128, -125, 3, 3, 5, 5, 127, 127]),
        ("int8", -128, [-128, -128, -128, -128, -126, -126, -1, 127]),
        ("uint8", None, [0, 0, 0, 0, 2, 2, 127, 255]),
        ("uint8", 128, [0, 0, 128, 128, 130, 130, 255, 255]),
    ],
)
def test_quantize_rounds_to_even_and_clips_at_both_ends(
    saved_mil: Callable[..., Path], dtype: str, zero_point: int | None, expected: list[int]
) -> None:
    x = np.float32([[-1e6, -64.25, -0.25, 0.25, 0.75, 1.25, 63.4, 1e6]])
    settings = {} if zero_point is None else {"zero_point": np.dtype(dtype).type(zero_point)}

    def build(mb: Any, x: Any) -> Any:
        codes = mb.quantize(input=x, scale=np.float32(0.5), output_dtype=dtype, **settings)
        return mb.dequantize(input=codes, scale=np.float32(0.5), **settings)

    path = saved_mil(build, x.shape)
    codes = codes_of(path, x)
    assert codes.dtype == dtype
    assert codes.tolist() == [expected]
    values = (np.array(expected) - (zero_point or 0)) * 0.5
    assert gives(path, x).tolist() == [values.tolist()]


def test_scales_along_an_axis(saved_mil: Callable[..., Path]) -> None:
    scale, zero_point = np.float32([0.5, 0.25, 2]), np.int8([0, -7, 100])

    def build(mb: Any, x: Any) -> Any:
        settings = {"scale": scale, "zero_point": zero_point, "axis": 1}
        codes = mb.quantize(input=x, output_dtype="int8", **settings)
        return mb.dequantize(input=codes, **settings)

    x = 20 * noise(1, 3, 50)
    path = saved_mil(build, x.shape)
    steps = np.rint(x / scale[:, None]) + zero_point[:, None]
    codes = np.clip(steps, -128, 127)
    assert np.array_equal(codes_of(path, x), codes)
    assert (codes != steps).any(), "some must be clipped, or the limits were not tested"
    np.testing.assert_allclose(
        gives(path, x), (codes - zero_point[:, None]) * scale[:, None], rtol=1e-6
    )


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_dequantized_weights(saved_mil: Callable[..., Path], dtype: str) -> None:
    codes = np.random.default_rng(3).integers(0, 127, (5, 2, 3)).astype(dtype)
    zero_point = np.arange(5).astype(dtype)
    scale = np.linspace(0.01, 0.05, 5).astype(np.float32)

    def build(mb: Any, x: Any) -> Any:
        weight = mb.constexpr_affine_dequantize(
            quantized_data=codes, zero_point=zero_point, scale=scale, axis=0
        )
        return mb.conv(x=x, weight=weight, pad_type="valid")

    x = noise(1, 2, 7)
    path = saved_mil(build, x.shape)
    weight = (codes.astype(float) - zero_point.astype(float)[:, None, None]) * scale[:, None, None]
    np.testing.assert_allclose(gives(path, x), convolved(x, weight, 1, (0, 0), 1, 1), atol=1e-5)
    program = read_program(path)
    assert [step.kind for step in program.operations] == ["constexpr_affine_dequantize", "conv"]
    assert [value.name for value in program.moving] == list(program.outputs)


def test_float16_is_rounded_after_each_operation(saved_mil: Callable[..., Path]) -> None:
    def build(mb: Any, x: Any) -> Any:
        half = mb.cast(x=x, dtype="fp16")
        shifted = mb.add(x=mb.mul(x=half, y=np.float16(3)), y=np.float16(1000))
        return mb.cast(x=mb.sub(x=shifted, y=np.float16(1000)), dtype="fp32")

    x = noise(1, 200)
    expected = x.astype(np.float16)  # NumPy rounds float16 after each operation too
    expected = expected * np.float16(3) + np.float16(1000) - np.float16(1000)
    found = gives(saved_mil(build, x.shape), x)
    assert np.array_equal(found, expected.astype(np.float32))
    assert np.abs(found - 3 * x).max() > 0.2, "above 512 a step of float16 is a half"


def test_float16_sums_are_float32(saved_mil: Callable[..., Path]) -> None:
    """In float16 1024 + 0.25 is 1024; of float32 sums only the last is rounded."""
    weight = np.ones((1, 1, 9), np.float16)

    def build(mb: Any, x: Any) -> Any:
        return mb.cast(
            x=mb.conv(x=mb.cast(x=x, dtype="fp16"), weight=weight, pad_type="valid"), dtype="fp32"
        )

    x = np.float32([[[1024, *[0.25] * 8]]])
    assert gives(saved_mil(build, x.shape), x).tolist() == [[[1026.0]]]


def test_float16_weights_and_scales(saved_mil: Callable[..., Path]) -> None:
    """What float32 has beyond float16 is gone in constants too; too large a number is infinite."""

    def build(mb: Any, x: Any) -> Any:
        half = mb.mul(x=mb.cast(x=x, dtype="fp16"), y=np.float16(0.1))
        return mb.cast(x=half, dtype="fp32")

    x = np.float32([[1, 65504, 65536]])
    expected = x.astype(np.float32) * np.float32(np.float16(0.1))
    found = gives(saved_mil(build, x.shape), x)
    assert found[0, :2].tolist() == expected.astype(np.float16)[0, :2].tolist()
    assert np.isposinf(found[0, 2])


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_numbers_below_the_normal_range(saved_mil: Callable[..., Path], dtype: str) -> None:
    least = float(np.finfo(np.float16 if dtype == "fp16" else np.float32).tiny)
    number = np.float16 if dtype == "fp16" else np.float32

    def build(mb: Any, x: Any) -> Any:
        x = mb.cast(x=x, dtype=dtype)
        return mb.cast(x=mb.mul(x=x, y=number(0.5)), dtype="fp32")

    x = np.float32([[least, 2 * least, -least, 4 * least, 0, np.nan, np.inf]])
    path = saved_mil(build, x.shape)
    kept = [least / 2, least, -least / 2, 2 * least, 0, np.nan, np.inf]
    flushed = [0, least, 0, 2 * least, 0, np.nan, np.inf]
    np.testing.assert_array_equal(gives(path, x)[0], kept)
    np.testing.assert_array_equal(gives(path, x, flush_subnormals=True)[0], flushed)


def test_constants_and_the_input_are_flushed_too(saved_mil: Callable[..., Path]) -> None:
    tiny = np.float32(1e-39)
    scaled = saved_mil(lambda mb, x: mb.mul(x=mb.mul(x=x, y=tiny), y=np.float32(1e38)), (1, 1))
    one, quiet_one = np.ones((1, 1), np.float32), np.full((1, 1), tiny)
    assert gives(scaled, one)[0, 0] == pytest.approx(0.1, rel=1e-5)
    assert gives(scaled, one, flush_subnormals=True).tolist() == [[0]]
    loud = saved_mil(lambda mb, x: mb.mul(x=x, y=np.float32(1e38)), (1, 1))
    assert gives(loud, quiet_one)[0, 0] == pytest.approx(0.1, rel=1e-5)
    assert gives(loud, quiet_one, flush_subnormals=True).tolist() == [[0]]


def test_log_of_nothing_is_finite(saved_mil: Callable[..., Path]) -> None:
    """1e-45, the default epsilon, is the least float32 above 0: 2 to the power of -149."""
    path = saved_mil(lambda mb, x: mb.log(x=x), (1, 2))
    found = gives(path, np.zeros((1, 2), np.float32))
    np.testing.assert_allclose(found, [[-149 * np.log(2)] * 2], rtol=1e-6)
    assert np.isneginf(gives(path, np.zeros((1, 2), np.float32), flush_subnormals=True)).all()
