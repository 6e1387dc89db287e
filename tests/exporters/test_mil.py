"""MIL in PyTorch: each operation against NumPy or numbers done by hand, in saved packages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporters import mil
from exporters.coreml_package import quiet
from exporters.errors import ModelFileError
from exporters.mil import Program, evaluate_to, read_program
from exporters.targets import available_targets

Build = Callable[[Any, Any], Any]
"""MIL's builder and the input -> the output."""


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Save a small program of one input as a package, as it stands: without any pass over it."""

    def save(build: Build, shape: tuple[int, ...], dtype: str = "fp32") -> Path:
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
            path = tmp_path / "small.mlpackage"
            model.save(str(path))
        return path

    return save


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


@pytest.mark.parametrize(
    ("stride", "pad", "dilation", "groups"),
    [(1, (0, 0), 1, 1), (3, (0, 0), 1, 1), (2, (2, 1), 1, 1), (1, (0, 3), 2, 1), (1, (0, 0), 1, 2)],
)
@pytest.mark.parametrize("biased", [True, False])
def test_conv(
    saved: Callable[..., Path],
    stride: int,
    pad: tuple[int, int],
    dilation: int,
    groups: int,
    biased: bool,
) -> None:
    x, weight = noise(1, 4, 19), noise(6, 4 // groups, 3)
    bias = np.arange(6, dtype=np.float32) if biased else None
    settings = {"pad_type": "custom", "pad": pad} if any(pad) else {"pad_type": "valid"}
    if biased:
        settings |= {"bias": bias}

    def build(mb: Any, x: Any) -> Any:
        return mb.conv(
            x=x, weight=weight, strides=[stride], dilations=[dilation], groups=groups, **settings
        )

    expected = convolved(x, weight, stride, pad, dilation, groups)
    if bias is not None:
        expected += bias[:, None]
    # Sums of up to a dozen float32 products of order 1.
    np.testing.assert_allclose(gives(saved(build, x.shape), x), expected, atol=5e-6, rtol=0)


def test_conv_with_nothing_but_what_it_needs(saved: Callable[..., Path]) -> None:
    x, weight = noise(1, 2, 5), noise(1, 2, 3)
    path = saved(lambda mb, x: mb.conv(x=x, weight=weight, pad_type="valid"), x.shape)
    np.testing.assert_allclose(gives(path, x), convolved(x, weight, 1, (0, 0), 1, 1), atol=5e-6)


@pytest.mark.parametrize("settings", [{"pad_type": "valid"}, {"pad_type": "custom", "pad": [0, 0]}])
def test_avg_pool(saved: Callable[..., Path], settings: dict[str, Any]) -> None:
    x = noise(1, 3, 11)
    path = saved(lambda mb, x: mb.avg_pool(x=x, kernel_sizes=[4], strides=[3], **settings), x.shape)
    expected = np.stack([x[:, :, at : at + 4].mean(-1) for at in (0, 3, 6)], axis=-1)
    np.testing.assert_allclose(gives(path, x), expected, atol=1e-6)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


ONE_BY_ONE: dict[str, tuple[Build, Callable[[np.ndarray], np.ndarray]]] = {
    "relu": (lambda mb, x: mb.relu(x=x), lambda x: np.maximum(x, 0)),
    "leaky_relu": (
        lambda mb, x: mb.leaky_relu(x=x, alpha=0.25),
        lambda x: np.where(x < 0, x / 4, x),
    ),
    "sigmoid": (lambda mb, x: mb.sigmoid(x=x), sigmoid),
    "silu": (lambda mb, x: mb.silu(x=x), lambda x: x * sigmoid(x)),
    "clip": (lambda mb, x: mb.clip(x=x, alpha=-0.5, beta=0.75), lambda x: np.clip(x, -0.5, 0.75)),
    "add": (lambda mb, x: mb.add(x=x, y=1.5), lambda x: x + 1.5),
    "sub": (lambda mb, x: mb.sub(x=1.5, y=x), lambda x: 1.5 - x),
    "mul": (lambda mb, x: mb.mul(x=x, y=x), lambda x: x * x),
    "square": (lambda mb, x: mb.square(x=x), lambda x: x * x),
    "identity": (lambda mb, x: mb.identity(x=x), lambda x: x),
    # The documentation: a small constant that is added to the input, before taking the logarithm.
    "log": (
        lambda mb, x: mb.log(x=mb.square(x=x), epsilon=0.5),
        lambda x: np.log(x.astype(float) ** 2 + 0.5),
    ),
    "linear": (
        lambda mb, x: mb.linear(x=x, weight=noise(2, 4), bias=np.float32([1, -1])),
        lambda x: x @ noise(2, 4).T + np.float32([1, -1]),
    ),
    "linear without bias": (
        lambda mb, x: mb.linear(x=x, weight=noise(2, 4)),
        lambda x: x @ noise(2, 4).T,
    ),
    "reshape": (lambda mb, x: mb.reshape(x=x, shape=[1, 2, -1]), lambda x: x.reshape(1, 2, 6)),
    "transpose": (lambda mb, x: mb.transpose(x=x, perm=[0, 2, 1]), lambda x: x.transpose(0, 2, 1)),
    "squeeze": (lambda mb, x: mb.squeeze(x=x, axes=[0]), lambda x: x[0]),
    "squeeze all": (lambda mb, x: mb.squeeze(x=x), lambda x: x[0]),
    "expand_dims": (
        lambda mb, x: mb.expand_dims(x=x, axes=[-1, 1]),
        lambda x: x[:, None, :, :, None],
    ),
    "split by sizes": (
        lambda mb, x: mb.split(x=x, split_sizes=[1, 2], axis=1)[1],
        lambda x: x[:, 1:],
    ),
    "split by number": (
        lambda mb, x: mb.split(x=x, num_splits=2, axis=-1)[1],
        lambda x: x[..., 2:],
    ),
    "slice_by_index": (
        lambda mb, x: mb.slice_by_index(
            x=x,
            begin=[0, 1, 3],
            end=[1, 9, -1],
            begin_mask=[False, False, True],
            end_mask=[False, True, False],
        ),
        lambda x: x[0:1, 1:, :-1],
    ),
    "slice_by_index with strides": (
        lambda mb, x: mb.slice_by_index(x=x, begin=[0, 0, 1], end=[1, 3, 4], stride=[1, 2, 2]),
        lambda x: x[:, ::2, 1::2],
    ),
    "slice_by_index with one index": (
        lambda mb, x: mb.slice_by_index(
            x=x, begin=[0, -1, 0], end=[1, 0, 4], squeeze_mask=[False, True, False]
        ),
        lambda x: x[:, -1],
    ),
    "slice_by_size": (
        lambda mb, x: mb.slice_by_size(x=x, begin=[0, 1, 1], size=[1, 1, -1]),
        lambda x: x[:, 1:2, 1:],
    ),
}


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_operation(saved: Callable[..., Path], name: str) -> None:
    build, expected = ONE_BY_ONE[name]
    x = noise(1, 3, 4)
    path = saved(build, x.shape)
    assert name.partition(" ")[0] in {step.kind for step in read_program(path).operations}
    found, wanted = gives(path, x), expected(x)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_log_of_nothing_is_finite(saved: Callable[..., Path]) -> None:
    """1e-45, the default epsilon, is the least float32 above 0: 2 to the power of -149."""
    path = saved(lambda mb, x: mb.log(x=x), (1, 2))
    found = gives(path, np.zeros((1, 2), np.float32))
    np.testing.assert_allclose(found, [[-149 * np.log(2)] * 2], rtol=1e-6)
    assert np.isneginf(gives(path, np.zeros((1, 2), np.float32), flush_subnormals=True)).all()


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
    saved: Callable[..., Path], dtype: str, zero_point: int | None, expected: list[int]
) -> None:
    x = np.float32([[-1e6, -64.25, -0.25, 0.25, 0.75, 1.25, 63.4, 1e6]])
    settings = {} if zero_point is None else {"zero_point": np.dtype(dtype).type(zero_point)}

    def build(mb: Any, x: Any) -> Any:
        codes = mb.quantize(input=x, scale=np.float32(0.5), output_dtype=dtype, **settings)
        return mb.dequantize(input=codes, scale=np.float32(0.5), **settings)

    path = saved(build, x.shape)
    codes = codes_of(path, x)
    assert codes.dtype == dtype
    assert codes.tolist() == [expected]
    values = (np.array(expected) - (zero_point or 0)) * 0.5
    assert gives(path, x).tolist() == [values.tolist()]


def test_scales_along_an_axis(saved: Callable[..., Path]) -> None:
    scale, zero_point = np.float32([0.5, 0.25, 2]), np.int8([0, -7, 100])

    def build(mb: Any, x: Any) -> Any:
        settings = {"scale": scale, "zero_point": zero_point, "axis": 1}
        codes = mb.quantize(input=x, output_dtype="int8", **settings)
        return mb.dequantize(input=codes, **settings)

    x = 20 * noise(1, 3, 50)
    path = saved(build, x.shape)
    steps = np.rint(x / scale[:, None]) + zero_point[:, None]
    codes = np.clip(steps, -128, 127)
    assert np.array_equal(codes_of(path, x), codes)
    assert (codes != steps).any(), "some must be clipped, or the limits were not tested"
    np.testing.assert_allclose(
        gives(path, x), (codes - zero_point[:, None]) * scale[:, None], rtol=1e-6
    )


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_dequantized_weights(saved: Callable[..., Path], dtype: str) -> None:
    codes = np.random.default_rng(3).integers(0, 127, (5, 2, 3)).astype(dtype)
    zero_point = np.arange(5).astype(dtype)
    scale = np.linspace(0.01, 0.05, 5).astype(np.float32)

    def build(mb: Any, x: Any) -> Any:
        weight = mb.constexpr_affine_dequantize(
            quantized_data=codes, zero_point=zero_point, scale=scale, axis=0
        )
        return mb.conv(x=x, weight=weight, pad_type="valid")

    x = noise(1, 2, 7)
    path = saved(build, x.shape)
    weight = (codes.astype(float) - zero_point.astype(float)[:, None, None]) * scale[:, None, None]
    np.testing.assert_allclose(gives(path, x), convolved(x, weight, 1, (0, 0), 1, 1), atol=1e-5)
    program = read_program(path)
    assert [step.kind for step in program.operations] == ["constexpr_affine_dequantize", "conv"]
    assert [value.name for value in program.moving] == list(program.outputs)


def test_float16_is_rounded_after_each_operation(saved: Callable[..., Path]) -> None:
    def build(mb: Any, x: Any) -> Any:
        half = mb.cast(x=x, dtype="fp16")
        shifted = mb.add(x=mb.mul(x=half, y=np.float16(3)), y=np.float16(1000))
        return mb.cast(x=mb.sub(x=shifted, y=np.float16(1000)), dtype="fp32")

    x = noise(1, 200)
    expected = x.astype(np.float16)  # NumPy rounds float16 after each operation too
    expected = expected * np.float16(3) + np.float16(1000) - np.float16(1000)
    found = gives(saved(build, x.shape), x)
    assert np.array_equal(found, expected.astype(np.float32))
    assert np.abs(found - 3 * x).max() > 0.2, "above 512 a step of float16 is a half"


def test_float16_sums_are_float32(saved: Callable[..., Path]) -> None:
    """In float16 1024 + 0.25 is 1024; of float32 sums only the last is rounded."""
    weight = np.ones((1, 1, 9), np.float16)

    def build(mb: Any, x: Any) -> Any:
        return mb.cast(
            x=mb.conv(x=mb.cast(x=x, dtype="fp16"), weight=weight, pad_type="valid"), dtype="fp32"
        )

    x = np.float32([[[1024, *[0.25] * 8]]])
    assert gives(saved(build, x.shape), x).tolist() == [[[1026.0]]]


def test_float16_weights_and_scales(saved: Callable[..., Path]) -> None:
    """What float32 has beyond float16 is gone in constants too; too large a number is infinite."""

    def build(mb: Any, x: Any) -> Any:
        half = mb.mul(x=mb.cast(x=x, dtype="fp16"), y=np.float16(0.1))
        return mb.cast(x=half, dtype="fp32")

    x = np.float32([[1, 65504, 65536]])
    expected = x.astype(np.float32) * np.float32(np.float16(0.1))
    found = gives(saved(build, x.shape), x)
    assert found[0, :2].tolist() == expected.astype(np.float16)[0, :2].tolist()
    assert np.isposinf(found[0, 2])


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_numbers_below_the_normal_range(saved: Callable[..., Path], dtype: str) -> None:
    least = float(np.finfo(np.float16 if dtype == "fp16" else np.float32).tiny)
    number = np.float16 if dtype == "fp16" else np.float32

    def build(mb: Any, x: Any) -> Any:
        x = mb.cast(x=x, dtype=dtype)
        return mb.cast(x=mb.mul(x=x, y=number(0.5)), dtype="fp32")

    x = np.float32([[least, 2 * least, -least, 4 * least, 0, np.nan, np.inf]])
    path = saved(build, x.shape)
    kept = [least / 2, least, -least / 2, 2 * least, 0, np.nan, np.inf]
    flushed = [0, least, 0, 2 * least, 0, np.nan, np.inf]
    np.testing.assert_array_equal(gives(path, x)[0], kept)
    np.testing.assert_array_equal(gives(path, x, flush_subnormals=True)[0], flushed)


def test_constants_and_the_input_are_flushed_too(saved: Callable[..., Path]) -> None:
    tiny = np.float32(1e-39)
    scaled = saved(lambda mb, x: mb.mul(x=mb.mul(x=x, y=tiny), y=np.float32(1e38)), (1, 1))
    one, quiet_one = np.ones((1, 1), np.float32), np.full((1, 1), tiny)
    assert gives(scaled, one)[0, 0] == pytest.approx(0.1, rel=1e-5)
    assert gives(scaled, one, flush_subnormals=True).tolist() == [[0]]
    loud = saved(lambda mb, x: mb.mul(x=x, y=np.float32(1e38)), (1, 1))
    assert gives(loud, quiet_one)[0, 0] == pytest.approx(0.1, rel=1e-5)
    assert gives(loud, quiet_one, flush_subnormals=True).tolist() == [[0]]


UNKNOWN: dict[str, Build] = {
    "operation softmax": lambda mb, x: mb.softmax(x=x, axis=-1),
    "conv's pad_type same": lambda mb, x: mb.conv(x=x, weight=noise(1, 2, 3), pad_type="same"),
    "avg_pool's ceil_mode True": lambda mb, x: mb.avg_pool(
        x=x, kernel_sizes=[2], pad_type="valid", ceil_mode=True
    ),
    r"avg_pool's pad \[1, 1\]": lambda mb, x: mb.avg_pool(
        x=x, kernel_sizes=[2], pad_type="custom", pad=[1, 1]
    ),
    "conv of 2 dimensions": lambda mb, x: mb.conv(
        x=mb.expand_dims(x=x, axes=[-1]), weight=noise(1, 2, 3, 1), pad_type="valid"
    ),
    "cast to int32": lambda mb, x: mb.cast(x=x, dtype="int32"),
    r"slice_by_index's stride \[1, 1, -1\]": lambda mb, x: mb.slice_by_index(
        x=x, begin=[0, 0, 5], end=[1, 2, 0], stride=[1, 1, -1]
    ),
    "concat with several values as values": lambda mb, x: mb.concat(values=[x, x], axis=1),
}


@pytest.mark.parametrize("named", UNKNOWN)
def test_what_is_not_known_is_named(saved: Callable[..., Path], named: str) -> None:
    path = saved(UNKNOWN[named], (1, 2, 6))
    with pytest.raises(ModelFileError, match=f"small.mlpackage cannot be evaluated: .*{named}"):
        read_program(path)


def test_two_inputs_are_not_known(saved: Callable[..., Path]) -> None:
    path = saved(lambda mb, x: mb.relu(x=x), (1, 2))
    model = next(path.rglob("model.mlmodel"))
    with quiet():
        from coremltools.proto import Model_pb2

    spec = Model_pb2.Model.FromString(model.read_bytes())
    inputs = spec.mlProgram.functions["main"].inputs
    inputs.add().CopyFrom(inputs[0])
    inputs[1].name = "y"
    model.write_bytes(spec.SerializeToString())
    with pytest.raises(ModelFileError, match="a program of 2 inputs"):
        read_program(path)


@pytest.fixture
def layered(saved: Callable[..., Path]) -> Program:
    """Two convolutions with a float16 one between them: [1, 1, 64] -> [1, 3]."""

    def build(mb: Any, x: Any) -> Any:
        y = mb.conv(x=x, weight=noise(8, 1, 16), strides=[8], pad_type="valid", name="first")
        y = mb.relu(x=mb.cast(x=y, dtype="fp16", name="half"), name="hidden")
        y = mb.cast(x=y, dtype="fp32", name="whole")
        y = mb.conv(x=y, weight=noise(3, 8, 7), pad_type="valid", name="last")
        return mb.squeeze(x=y, axes=[-1], name="rig")

    return read_program(saved(build, (1, 1, 64)))


@pytest.mark.parametrize("windows", [1, mil.BATCH, mil.BATCH + 1])
def test_many_windows_at_once_are_as_each_alone(layered: Program, windows: int) -> None:
    audio = noise(windows, 1, 64)
    together = mil.evaluate(layered, audio)
    assert (together.dtype, together.shape) == (np.float32, (windows, 3))
    alone = np.concatenate([mil.evaluate(layered, window[None]) for window in audio])
    # Convolutions of many windows add up in another order, which may tip a float16 rounding (a step
    # is 2^-8 at values up to 8, times a weight of the second layer).
    np.testing.assert_allclose(together, alone, atol=2e-2)
    assert np.median(np.abs(together - alone)) < 1e-6


def test_no_windows(layered: Program) -> None:
    assert mil.evaluate(layered, noise(0, 1, 64)).shape == (0, 3)


def test_what_moves_is_told_in_order_with_its_type(layered: Program) -> None:
    told = [(value.name, value.dtype, value.shape) for value in layered.moving]
    assert told == [
        ("first", "fp32", (1, 8, 7)),
        ("half", "fp16", (1, 8, 7)),
        ("hidden", "fp16", (1, 8, 7)),
        ("whole", "fp32", (1, 8, 7)),
        ("last", "fp32", (1, 3, 1)),
        ("rig", "fp32", (1, 3)),
    ]
    found = evaluate_to(layered, noise(2, 1, 64), [value.name for value in layered.moving])
    assert {name: values.shape for name, values in found.items()} == {
        name: (2, *shape) for name, _, shape in told
    }
    assert np.array_equal(np.maximum(found["half"], 0), found["hidden"])


def test_it_is_no_target() -> None:
    assert not hasattr(mil, "export")
    assert not {"mil", "mil_operations", "coreml_package", "coreml_device"} & {*available_targets()}
