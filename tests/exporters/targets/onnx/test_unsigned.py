"""Codes of an int8 graph as uint8: the same values, computed exactly on every processor."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporters.targets.onnx.unsigned import with_unsigned_codes

OFF = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
ON = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
CHANNELS, KERNEL, STEPS = 24, 7, 20


def loud_layers() -> onnx.ModelProto:
    """Two convolutions of codes at the ends of their range; they share their zero point."""
    rng = np.random.default_rng(0)
    signs = rng.choice([-127, 127], (2, CHANNELS, CHANNELS, KERNEL)).astype(np.int8)
    constants = {
        "zero": np.array(0, np.int8),
        "zeros": np.zeros(CHANNELS, np.int8),
        "in": np.float32(0.02),
        "out": np.float32(0.4),
        "scales": rng.uniform(0.005, 0.02, CHANNELS).astype(np.float32),
        "weights0": signs[0],
        "weights1": signs[1],
    }
    nodes, source, scale = [], "audio", "in"
    for layer in range(2):
        name = f"layer{layer}"
        nodes += [
            helper.make_node("QuantizeLinear", [source, scale, "zero"], [f"{name}_codes"]),
            helper.make_node("DequantizeLinear", [f"{name}_codes", scale, "zero"], [f"{name}_in"]),
            helper.make_node(
                "DequantizeLinear", [f"weights{layer}", "scales", "zeros"], [f"{name}_w"], axis=0
            ),
            helper.make_node("Conv", [f"{name}_in", f"{name}_w"], [f"{name}_out"]),
        ]
        source, scale = f"{name}_out", "out"
    nodes += [
        helper.make_node("QuantizeLinear", [source, "out", "zero"], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", "out", "zero"], ["rig"]),
    ]
    graph = helper.make_graph(
        nodes,
        "loud",
        [helper.make_tensor_value_info("audio", TensorProto.FLOAT, [1, CHANNELS, STEPS])],
        [
            helper.make_tensor_value_info(
                "rig", TensorProto.FLOAT, [1, CHANNELS, STEPS - 2 * KERNEL + 2]
            )
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def run(model: onnx.ModelProto, level: onnxruntime.GraphOptimizationLevel) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    audio = np.random.default_rng(1).choice([-2.54, 2.54], (1, CHANNELS, STEPS)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    (rig,) = session.run(None, {"audio": audio})
    found: np.ndarray = rig
    return found


def test_values_are_the_same_to_the_bit() -> None:
    before = run(loud_layers(), OFF)
    assert len(np.unique(before)) > 10, "the codes must move, or nothing was compared"
    np.testing.assert_array_equal(run(with_unsigned_codes(loud_layers()), OFF), before)


def test_integers_say_what_floats_say_on_this_processor() -> None:
    """Fused to integers, int8 weights were 98 steps off on processors with AVX2 and without VNNI."""
    model = with_unsigned_codes(loud_layers())
    step = 0.4
    assert np.abs(run(model, ON) - run(model, OFF)).max() <= step * 1.01


def test_the_graph_is_sound_and_holds_nothing_twice() -> None:
    before, after = loud_layers(), with_unsigned_codes(loud_layers())
    onnx.checker.check_model(after, full_check=True)
    types = {value.name: value.data_type for value in after.graph.initializer}
    assert len(types) == len(before.graph.initializer)
    assert TensorProto.INT8 not in types.values()
    assert after.ByteSize() == pytest.approx(before.ByteSize(), rel=0.05)


def test_weights_beside_floats_stay_what_they_are() -> None:
    model = loud_layers()
    for node in model.graph.node:
        if node.op_type == "Conv":
            node.input[0] = "audio" if node.input[0] == "layer0_in" else "layer0_out"
    after = with_unsigned_codes(model)
    weights = [v for v in after.graph.initializer if v.name.startswith("weights")]
    assert [value.data_type for value in weights] == [TensorProto.INT8] * 2
