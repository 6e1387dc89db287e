"""What a model file is made of, and whether that is what its precision promises.

A converter may add layout changes, fall back to float or store weights wide without a word; sizes
and latencies then tell of another file than the one that was meant.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from exporters.proof.checks import Outcome
from exporters.signature import Signature

Compute = Literal["float", "int8"]
Storage = Literal["float32", "float16", "int8"]


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """One convolution of a file: how it is computed, and how its weights are stored."""

    compute: Compute
    """`int8` if its input and output are codes, so that integer kernels run it."""
    weights: Storage


@dataclass(frozen=True, kw_only=True)
class Structure:
    """A file's graph in brief."""

    operations: Mapping[str, int]
    """How often each operation occurs, by the format's own names; constants are none."""
    layout_changes: int
    """Operations that only move axes: transposes."""
    convolutions: tuple[Convolution, ...]
    """In the order in which they run, as many as the student has layers."""
    weight_bytes: int
    """What its constants take as they are stored: weights and biases, scales and zero points."""


def structural_faults(structure: Structure, signature: Signature) -> list[str]:
    """Everything in a file that its precision does not promise, in words; empty if it is sound.

    No layout change. In int8, each layer computed and stored as the signature's quantization says.
    In fp32, all weights float32. In fp16, all weights float16 but those of layers before a
    logarithm, which may be float32: the first.
    """
    faults = []
    if structure.layout_changes:
        faults.append(f"{structure.layout_changes} transposes, expected none")
    found = structure.convolutions
    if signature.precision == "fp32":
        expected = [{Convolution(compute="float", weights="float32")}] * len(found)
    elif signature.precision == "fp16":
        half, whole = (Convolution(compute="float", weights=w) for w in ("float16", "float32"))
        expected = [{half, whole}] + [{half}] * (len(found) - 1)
    else:
        expected = [{_quantized(choice)} for choice in _choices(signature)]
    if len(found) != len(expected):
        return [*faults, f"{len(found)} convolutions, expected {len(expected)}"]
    for number, (convolution, allowed) in enumerate(zip(found, expected, strict=True), 1):
        if convolution not in allowed:
            promised = " or ".join(sorted(_in_words(one) for one in allowed))
            faults.append(f"convolution {number} is {_in_words(convolution)}, expected {promised}")
    return faults


def judge_structure(structure: Structure, signature: Signature) -> Outcome:
    """Whether a file is what its precision promises, and in a few words what it is made of.

    Raises ValueError for an int8 signature that names no layers.
    """
    if faults := structural_faults(structure, signature):
        return Outcome("failed", "; ".join(faults))
    stored = Counter(convolution.weights for convolution in structure.convolutions)
    weights = ", ".join(f"{count} of {storage}" for storage, count in stored.items())
    integers = sum(convolution.compute == "int8" for convolution in structure.convolutions)
    said = f", {integers} of them computed in int8" if integers else ""
    count = sum(structure.operations.values())
    return Outcome(
        "passed",
        f"{count} operations, no transpose; weights of {len(structure.convolutions)} convolutions: "
        f"{weights}{said}",
    )


def _choices(signature: Signature) -> list[str]:
    layers = signature.quantization.get("layers")
    if not isinstance(layers, dict) or not layers:
        raise ValueError(f"the int8 signature of {signature.student} names no layers")
    return list(layers.values())


def _quantized(choice: str) -> Convolution:
    return Convolution(
        compute="int8" if choice == "int8" else "float",
        weights="float32" if choice == "float" else "int8",
    )


def _in_words(convolution: Convolution) -> str:
    return f"computed in {convolution.compute} with {convolution.weights} weights"
