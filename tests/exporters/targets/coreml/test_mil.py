"""MIL in PyTorch: each operation against NumPy or numbers done by hand, in saved packages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporters.errors import ModelFileError
from exporters.targets.contract import available_targets
from exporters.targets.coreml import mil
from exporters.targets.coreml.mil import Program, evaluate_to, read_program
from exporters.targets.coreml.package import quiet
from tests.exporters.targets.coreml.mil_programs import Build, convolved, gives, noise

pytestmark = pytest.mark.slow  # converters take seconds to begin


@pytest.mark.parametrize(
    ("stride", "pad", "dilation", "groups"),
    [(1, (0, 0), 1, 1), (3, (0, 0), 1, 1), (2, (2, 1), 1, 1), (1, (0, 3), 2, 1), (1, (0, 0), 1, 2)],
)
@pytest.mark.parametrize("biased", [True, False])
def test_conv(
    saved_mil: Callable[..., Path],
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
    np.testing.assert_allclose(gives(saved_mil(build, x.shape), x), expected, atol=5e-6, rtol=0)


def test_conv_with_nothing_but_what_it_needs(saved_mil: Callable[..., Path]) -> None:
    x, weight = noise(1, 2, 5), noise(1, 2, 3)
    path = saved_mil(lambda mb, x: mb.conv(x=x, weight=weight, pad_type="valid"), x.shape)
    np.testing.assert_allclose(gives(path, x), convolved(x, weight, 1, (0, 0), 1, 1), atol=5e-6)


@pytest.mark.parametrize("settings", [{"pad_type": "valid"}, {"pad_type": "custom", "pad": [0, 0]}])
def test_avg_pool(saved_mil: Callable[..., Path], settings: dict[str, Any]) -> None:
    x = noise(1, 3, 11)
    path = saved_mil(
        lambda mb, x: mb.avg_pool(x=x, kernel_sizes=[4], strides=[3], **settings), x.shape
    )
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
def test_operation(saved_mil: Callable[..., Path], name: str) -> None:
    build, expected = ONE_BY_ONE[name]
    x = noise(1, 3, 4)
    path = saved_mil(build, x.shape)
    assert name.partition(" ")[0] in {step.kind for step in read_program(path).operations}
    found, wanted = gives(path, x), expected(x)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=1e-6)


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
def test_what_is_not_known_is_named(saved_mil: Callable[..., Path], named: str) -> None:
    path = saved_mil(UNKNOWN[named], (1, 2, 6))
    with pytest.raises(ModelFileError, match=f"small.mlpackage cannot be evaluated: .*{named}"):
        read_program(path)


def test_two_inputs_are_not_known(saved_mil: Callable[..., Path]) -> None:
    path = saved_mil(lambda mb, x: mb.relu(x=x), (1, 2))
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
def layered(saved_mil: Callable[..., Path]) -> Program:
    """Two convolutions with a float16 one between them: [1, 1, 64] -> [1, 3]."""

    def build(mb: Any, x: Any) -> Any:
        y = mb.conv(x=x, weight=noise(8, 1, 16), strides=[8], pad_type="valid", name="first")
        y = mb.relu(x=mb.cast(x=y, dtype="fp16", name="half"), name="hidden")
        y = mb.cast(x=y, dtype="fp32", name="whole")
        y = mb.conv(x=y, weight=noise(3, 8, 7), pad_type="valid", name="last")
        return mb.squeeze(x=y, axes=[-1], name="rig")

    return read_program(saved_mil(build, (1, 1, 64)))


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
