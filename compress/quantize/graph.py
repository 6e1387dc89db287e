"""One int8 graph for every target: our PT2E quantizer, and the graph rebuilt from what is stored.

torchao's PT2E flow on the exported graph of a student whose batch norm is folded: int8 weights with
one symmetric scale for each output channel, int8 activations with one affine scale for each tensor,
a choice for each layer (`Choice`). What was found is kept as a `Quantization` beside the float
weights; `IntegerWindow` makes the same graph of it again, whatever found it: calibration or training
(compress/quantize/calibration.py, compress/quantize/qat.py).
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, fx, nn

from compress.quantize.pt2e import (
    FakeQuantizeBase,
    ObserverBase,
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    convert_pt2e,
    prepare_pt2e,
)
from compress.speech.audio import HOP
from compress.students.contract import DenseStudent, Plan, Student, Window
from compress.students.integers import WEIGHT_MAX, Choice, Quantization, Range

LEAST, MOST = -128, 127
# What torchao may call to make the observer of a tensor or of a layer's weight, by its name.
Observers = Callable[[str], Any]
_CONVOLUTIONS = (torch.ops.aten.conv1d.default, torch.ops.aten.linear.default)
_KEY = "quantization_annotation"


def tensors_of(config: Plan, layer: str) -> tuple[str, str]:
    """Names of what arrives at a layer and of what an integer kernel of it leaves behind.

    The ReLU behind a convolution is part of the kernel. Another activation or the log energies are
    not, so there the convolution's own output is a tensor besides.
    """
    layers = config.layer_names
    before = layers.index(layer)
    arriving = layers[before - 1] if before else "audio"
    plain = layer == "rig" or (config.activation == "relu" and not _has_energies(config, layer))
    return arriving, layer if plain else f"{layer}.conv"


def _has_energies(config: Plan, layer: str) -> bool:
    return layer == "first" and config.log_energy


class StudentQuantizer(Quantizer):  # type: ignore[misc]
    """Annotates a captured student's convolutions as `choices` say, the ReLU behind one with it.

    `names` maps the graph's nodes to the names of `Quantization` once `annotate` was called.
    """

    def __init__(
        self,
        config: Plan,
        choices: Mapping[str, Choice],
        activation: Observers,
        weight: Observers,
    ) -> None:
        super().__init__()
        self.names: dict[str, str] = {}
        self._config, self._choices = config, choices
        self._activation, self._weight = activation, weight
        self._specs: dict[str, Any] = {}

    def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
        for node in model.graph.nodes:
            if node.target in _CONVOLUTIONS:
                layer = node.args[1].target.split(".")[-2]
                if self._choices[layer] != "float":
                    self._annotate(node, layer)
        return model

    def _annotate(self, node: fx.Node, layer: str) -> None:
        source, weight = node.args[0], node.args[1]
        assert isinstance(source, fx.Node)
        assert isinstance(weight, fx.Node)
        inputs = {weight: _spec(self._weight(layer), per_channel=True)}
        self.names[weight.name] = layer
        if self._choices[layer] == "int8_weights":
            node.meta[_KEY] = QuantizationAnnotation(inputs, None, _annotated=True)
            return
        arriving, leaving = tensors_of(self._config, layer)
        inputs[source] = self._tensor(arriving)
        last = node
        if leaving == layer and layer != "rig":
            node.meta[_KEY] = QuantizationAnnotation(inputs, None, _annotated=True)
            (last,), inputs = node.users, {}
        self.names |= {source.name: arriving, last.name: leaving}
        last.meta[_KEY] = QuantizationAnnotation(inputs, self._tensor(leaving), _annotated=True)

    def _tensor(self, name: str) -> Any:
        # The same object for the layer that gives a tensor and the one that takes it: so they share
        # an observer.
        if name not in self._specs:
            self._specs[name] = _spec(self._activation(name), per_channel=False)
        return self._specs[name]

    def validate(self, model: fx.GraphModule) -> None:
        """Every choice is possible for a convolution: nothing to refuse."""


def _spec(constructor: Any, *, per_channel: bool) -> Any:
    return QuantizationSpec(
        dtype=torch.int8,
        observer_or_fake_quant_ctr=constructor,
        quant_min=-WEIGHT_MAX if per_channel else LEAST,
        quant_max=WEIGHT_MAX if per_channel else MOST,
        qscheme=torch.per_channel_symmetric if per_channel else torch.per_tensor_affine,
        ch_axis=0 if per_channel else None,
    )


class _Dense(nn.Module):
    """A student for capture: the rig, then what the layers in `taps` give."""

    def __init__(self, student: Student, taps: Sequence[str]) -> None:
        super().__init__()
        self.student, self.taps = student, tuple(taps)

    def forward(self, audio: Tensor) -> tuple[Tensor, ...]:
        found: dict[str, Tensor] = {}
        x = audio
        for name, module in self.student.steps.named_children():
            x = module(x)
            found[name.removesuffix(f"_{self.student.config.activation}")] = x
        return (x, *(found[tap] for tap in self.taps))


def captured_dense(student: Student, taps: Sequence[str] = ()) -> fx.GraphModule:
    """The graph of the dense form for audio of any length and any batch.

    `[batch, 1, samples]` → the rig `[batch, outputs, frames]` before the limits, then what the
    layers in `taps` give, `[batch, channels, steps]`. Of `student.quantize` no trace is left.
    """
    free = torch.export.Dim.AUTO
    audio = torch.zeros(2, 1, student.config.window + 7 * HOP)
    return _captured(_Dense(student, taps), audio, {0: free, 2: free})


def captured_window(student: Student, batch: int | None = None) -> fx.GraphModule:
    """The graph of the window form, `[batch, 1, window]` → `[batch, outputs]`, as it is exported.

    For any batch, or for the one that is given: litert-torch wants shapes that are fixed.
    """
    audio = torch.zeros(batch or 2, 1, student.config.window)
    return _captured(Window(student), audio, {} if batch else {0: torch.export.Dim.AUTO})


def _captured(module: nn.Module, audio: Tensor, free: dict[int, Any]) -> fx.GraphModule:
    program = torch.export.export(module, (audio,), dynamic_shapes=(free,) if free else None)
    # Its guards refuse a single frame or window, for which the graph is as good.
    graph = program.module(check_guards=False)
    assert isinstance(graph, fx.GraphModule)
    return graph


def ranges(
    prepared: fx.GraphModule, names: Mapping[str, str]
) -> tuple[dict[str, Range], dict[str, tuple[float, ...]]]:
    """What a prepared graph's observers have found: of each tensor, and of each layer's weight."""
    tensors: dict[str, Range] = {}
    weights: dict[str, tuple[float, ...]] = {}
    modules = dict(prepared.named_modules())
    for node in prepared.graph.nodes:
        if node.op != "call_module" or not hasattr(modules[node.target], "calculate_qparams"):
            continue
        observed, module = node.args[0], modules[node.target]
        if isinstance(module, FakeQuantizeBase):  # what it rounds by, whatever it has seen since
            scale, zero_point = module.scale, module.zero_point
        else:
            scale, zero_point = module.calculate_qparams()
        if observed.op == "get_attr":
            weights[names[observed.name]] = tuple(scale.flatten().tolist())
        else:
            tensors[names[observed.name]] = Range(float(scale), int(zero_point))
    return tensors, weights


class _Stored(ObserverBase):  # type: ignore[misc]
    """An observer that has seen everything already."""

    def __init__(self, scale: Sequence[float], zero_point: Sequence[int], **described: Any) -> None:
        super().__init__(dtype=described["dtype"], is_dynamic=False)
        self.quant_min, self.quant_max = described["quant_min"], described["quant_max"]
        self.qscheme, self.ch_axis = described["qscheme"], 0
        self._found = torch.tensor(scale), torch.tensor(zero_point)

    def forward(self, x: Tensor) -> Tensor:
        return x

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        return self._found


def integer_graph(
    graph: fx.GraphModule, config: Plan, quantization: Quantization, *, fold: bool = True
) -> fx.GraphModule:
    """A captured student with int8 codes where `quantization` says.

    `fold` stores the codes of weights; without it their float values are quantized in the graph,
    which litert-torch wants. The captured graph is used up.
    """

    def activation(name: str) -> Any:
        found = quantization.tensors[name]
        return _Stored.with_args(scale=[found.scale], zero_point=[found.zero_point])

    def weight(layer: str) -> Any:
        scales = quantization.weights[layer]
        return _Stored.with_args(scale=list(scales), zero_point=[0] * len(scales))

    prepared = prepare_pt2e(
        graph, StudentQuantizer(config, quantization.layers, activation, weight)
    )
    converted = convert_pt2e(prepared, fold_quantize=fold)
    assert isinstance(converted, fx.GraphModule)
    return converted


@torch.no_grad()
def with_integer_biases(student: Student, quantization: Quantization) -> Student:
    """A copy whose int8 layers have biases that an int32 of their products' scale holds exactly.

    Integer kernels store biases so; rounding them here keeps PyTorch and every runtime on the same
    side of a rounding step.
    """
    rounded = copy.deepcopy(student)
    for layer in student.config.layer_names:
        convolution = getattr(rounded.steps, layer)
        if quantization.layers[layer] == "int8" and convolution.bias is not None:
            scale = quantization.tensors[tensors_of(student.config, layer)[0]].scale
            step = scale * torch.tensor(quantization.weights[layer], dtype=torch.float64)
            whole = torch.round(convolution.bias.double() / step) * step
            convolution.bias.copy_(whole.float())
    return rounded


class _Exported(nn.Module):
    def train(self, mode: bool = True) -> Self:
        """Nothing in an exported graph depends on the mode, and it refuses to be asked."""
        self.training = mode
        return self


class IntegerWindow(_Exported):
    """The window form of an int8 student: what every file of it is compared with.

    Made of its float twin and what is stored beside it. Codes are exact; sums of products are
    float32, where a runtime has int32.
    """

    def __init__(self, student: Student, quantization: Quantization) -> None:
        super().__init__()
        self._made_of = (student, quantization)
        with torch.no_grad():
            graph = captured_window(student)
            self.graph_module = integer_graph(graph, student.config, quantization)
        self._codes = _ending_in_codes(self.graph_module)

    def forward(self, audio: Tensor) -> Tensor:
        """`[batch, 1, window]` → `[batch, outputs]`."""
        rig: Tensor = self.graph_module(audio)
        return rig

    def codes(self, audio: Tensor) -> Tensor | None:
        """The last quantized tensor, int8 `[batch, channels, steps]`; None where there is none."""
        return None if self._codes is None else self._codes(audio)

    def unfolded(self) -> fx.GraphModule:
        """The same for a batch of one, weights float and quantized in the graph."""
        student, quantization = self._made_of
        with torch.no_grad():
            graph = captured_window(student, batch=1)
            return integer_graph(graph, student.config, quantization, fold=False)

    def layers(self, audio: Tensor) -> dict[str, Tensor]:
        """What each layer gives the next, as values: `[batch, channels, steps]`, the rig last."""
        student, _ = self._made_of
        names = iter(student.config.layer_names)
        found: dict[str, Tensor] = {}

        class Recorder(fx.Interpreter):
            def run_node(self, node: fx.Node) -> Any:
                if node.target in _CONVOLUTIONS:
                    arriving = node.args[0]
                    assert isinstance(arriving, fx.Node)
                    found[next(names)] = self.env[arriving]
                return super().run_node(node)

        rig = Recorder(self.graph_module).run(audio)
        given = [*list(found.values())[1:], rig[:, :, None]]
        return dict(zip(found, given, strict=True))


class IntegerDense(_Exported, DenseStudent):
    """The dense form of an int8 student: the same codes, all frames of a stretch at once."""

    def __init__(self, student: Student, quantization: Quantization) -> None:
        super().__init__(student.config)
        with torch.no_grad():
            self.graph_module = integer_graph(captured_dense(student), student.config, quantization)

    def forward(self, audio: Tensor) -> Tensor:
        rig: Tensor = self.graph_module(audio)[0]
        return rig


def _ending_in_codes(graph: fx.GraphModule) -> fx.GraphModule | None:
    """The same graph up to its last quantized activation, which it gives."""
    quantize = torch.ops.quantized_decomposed.quantize_per_tensor.default
    nodes = [node for node in graph.graph.nodes if node.target is quantize]
    if not nodes:
        return None
    copied: dict[fx.Node, fx.Node] = {}
    cut = fx.Graph()
    cut.graph_copy(graph.graph, copied)
    cut.output(copied[nodes[-1]])
    cut.eliminate_dead_code()
    return fx.GraphModule(graph, cut)
