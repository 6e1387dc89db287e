"""A graph of 1-D operations as one of 2-D operations on images of height 1.

TFLite knows convolutions of images alone, channels last. A converter that is given 1-D ones makes
images of them one by one, with transposes between; given a graph that is all 2-D, it changes the
layout of the weights once, and the samples, of one channel, need no change.
"""

import operator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, fx

# Where the dimensions of [1, channels, steps] are in [1, channels, 1, steps].
_DIMENSIONS = (0, 1, 3)
# What an argument of a 1-D operation is for the height, by its name.
_HEIGHT = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1}


def lifted(module: "fx.GraphModule", audio: "Tensor") -> "fx.GraphModule":
    """The same function, [1, 1, window] -> [1, driven], in 2-D operations; ``module`` is changed.

    It is what torch.export captured for ``audio``. Between the operations known here tensors are
    [1, channels, 1, steps]. Any other operation is given what it was given before, so it works as
    before, at the price of what the converter makes of it.
    """
    from torch.fx.passes.shape_prop import ShapeProp

    ShapeProp(module).propagate(audio)
    lifting = _Lifting(module.graph)
    for node in list(module.graph.nodes):
        lifting.visit(node)
    module.graph.lint()
    module.recompile()
    return module


class _Lifting:
    """Goes through a graph in order; ``tall`` are the nodes that give [1, channels, 1, steps]."""

    def __init__(self, graph: "fx.Graph") -> None:
        import torch

        aten = self._aten = torch.ops.aten
        self.tall: set[fx.Node] = set()
        self._graph = graph
        # As they are before anything is lifted; nodes that give a list have none.
        self._shapes: dict[fx.Node, tuple[int, ...]] = {
            node: tuple(node.meta["tensor_meta"].shape)
            for node in graph.nodes
            if hasattr(node.meta.get("tensor_meta"), "shape")
        }
        self._in_2d = {
            aten.conv1d: aten.conv2d,
            aten.avg_pool1d: aten.avg_pool2d,
            aten.max_pool1d: aten.max_pool2d,
        }
        self._along = {aten.chunk, aten.split, aten.split_with_sizes, aten.slice, aten.narrow}
        self._as_they_are = {aten.batch_norm, aten.dropout, operator.getitem}
        self._endings = {aten.select, aten.squeeze, aten.flatten, aten.view, aten.reshape}

    def visit(self, node: "fx.Node") -> None:
        """Lift a node if it is known; if not, lower what enters it."""
        packet = getattr(node.target, "overloadpacket", node.target)
        entering = node.all_input_nodes
        if packet in self._in_2d and len(self._shapes[entering[0]]) == 3:
            self._make_2d(node, self._in_2d[packet])
        elif self.tall.isdisjoint(entering):
            return
        elif packet in self._along:
            arguments = _arguments(node)
            arguments["dim"] = _DIMENSIONS[arguments["dim"] % 3]
            node.args, node.kwargs = tuple(arguments.values()), {}
        elif _is_pointwise(node):
            for other in entering:
                # Broadcasting counts dimensions from the end: [steps] and numbers fit as they are.
                if other not in self.tall and len(self._shapes.get(other, ())) >= 2:
                    node.replace_input_with(other, self._raised(other, -2))
        elif packet in self._endings and self._takes_only_step_out(node):
            node.target = self._aten.flatten.using_ints
            node.args, node.kwargs = (entering[0], 1), {}
            return
        elif packet not in self._as_they_are:
            for other in entering:
                if other in self.tall:
                    node.replace_input_with(other, self._lowered(other))
            return
        self.tall.add(node)

    def _make_2d(self, node: "fx.Node", packet: Any) -> None:
        audio, *weights = node.all_input_nodes[:2]
        for entering in weights if audio in self.tall else [audio, *weights]:
            node.replace_input_with(entering, self._raised(entering, 2))
        arguments = _arguments(node)
        for name, alone in _HEIGHT.items():
            along = arguments.get(name)
            if isinstance(along, int):
                along = [along]
            if along and not isinstance(along, str):  # a pool without a stride steps by its kernel
                arguments[name] = [alone, *along]
        one_dimensional: Any = node.target
        node.target = getattr(packet, one_dimensional._overloadname)
        node.args, node.kwargs = tuple(arguments.values()), {}

    def _takes_only_step_out(self, node: "fx.Node") -> bool:
        """Whether [1, channels, 1] goes in and [1, channels] comes out."""
        shape = self._shapes[node.all_input_nodes[0]]
        return shape[2] == 1 and self._shapes.get(node) == shape[:2]

    def _raised(self, node: "fx.Node", dimension: int) -> "fx.Node":
        with self._graph.inserting_after(node):
            return self._graph.call_function(self._aten.unsqueeze.default, (node, dimension))

    def _lowered(self, node: "fx.Node") -> "fx.Node":
        with self._graph.inserting_after(node):
            return self._graph.call_function(self._aten.squeeze.dim, (node, 2))


def _is_pointwise(node: "fx.Node") -> bool:
    """Whether each number is made of those in the same place alone."""
    import torch

    if torch.Tag.pointwise in getattr(node.target, "tags", ()):
        return True
    # What PT2E writes around activations is in a library of its own, and has no tag. The library is
    # there where a graph has any of it.
    if getattr(node.target, "namespace", "") != "quantized_decomposed":
        return False
    pt2e = torch.ops.quantized_decomposed
    return node.target in (pt2e.quantize_per_tensor.default, pt2e.dequantize_per_tensor.default)


def _arguments(node: "fx.Node") -> dict[str, Any]:
    """The arguments of a call by their names, in the order of the operation, defaults too."""
    operation: Any = node.target
    found = {}
    for index, argument in enumerate(operation._schema.arguments):
        given = node.kwargs.get(argument.name, argument.default_value)
        found[argument.name] = node.args[index] if index < len(node.args) else given
    return found
