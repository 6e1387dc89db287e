"""Codes of a file against codes of its source: what rounding explains, and what it does not.

Two runtimes add floats in another order. A sum that lies within that of the middle between two
codes is rounded up by one and down by the other: the codes are one step apart, and nothing is
wrong. In an early layer such a step moves many sums behind it a little, and now and then a last
code by two. Both are rare. A wrong scale or another way to round moves a large part of all codes,
by however little.
"""

from dataclasses import dataclass

import numpy as np

from exporters.targets.runtime import Codes

# Measured by tests/benchmarks/code_noise.py: of 3 million codes of `small-pruned-int8` two are two
# steps apart for inputs that are 4e-7 apart, and five in ONNX Runtime and LiteRT. A short training
# was seen to have more of these.
BEYOND_SHARE = 1e-3
# Measured by the same: one code in 1,100, and in the worst single window one in 24.
# Rounding down instead of to the nearest moves every second one.
APART_SHARE = 0.2
# Of a handful of codes, or where nearly all are clamped, that share says nothing.
FEW, FEW_SHARE = 3, 0.01


@dataclass(frozen=True)
class CodesApart:
    """How far codes are apart. `fault` is empty where rounding explains it."""

    largest: int
    """Largest difference in steps."""
    beyond: int
    """How many differ by more steps than the limit."""
    fault: str


def compare_codes(codes: Codes, expected: Codes, limit: int) -> CodesApart:
    """Compare int8 codes of one shape; `limit` is in steps.

    All codes but one in a thousand must be within `limit`, those within twice as much; and no more
    than one in five of those that are not at an end of their range may differ at all.
    """
    # In int8 the difference of 127 and -128 would be -1.
    difference = np.abs(codes.astype(np.int32) - expected.astype(np.int32))
    largest = int(difference.max(initial=0))
    beyond = int(np.count_nonzero(difference > limit))
    apart = int(np.count_nonzero(difference))
    # What both clamp to the same end says nothing of how they round.
    ends = np.iinfo(np.int8)
    free = int(np.count_nonzero((difference > 0) | ((codes > ends.min) & (codes < ends.max))))
    faults = []
    if largest > 2 * limit:
        faults.append(f"the largest difference is {largest} steps, limit {2 * limit}")
    elif beyond > max(1, BEYOND_SHARE * codes.size):
        faults.append(
            f"{beyond} differ by more than {limit} steps, limit one in {1 / BEYOND_SHARE:,.0f}"
        )
    if limit and apart > max(FEW, FEW_SHARE * codes.size, APART_SHARE * free):
        faults.append(
            f"{apart} of the {free} that are not at an end of their range differ, limit one in "
            f"{1 / APART_SHARE:.0f}: the file has another scale or rounds in another way"
        )
    said = f"{apart} of {codes.size} codes differ: {'; '.join(faults)}" if faults else ""
    return CodesApart(largest, beyond, said)
