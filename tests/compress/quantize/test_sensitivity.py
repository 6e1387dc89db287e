"""What int8 costs layer by layer, and the search for the fewest layers that must be spared."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from compress.distill.watching import Judgement, Watched, judge
from compress.labels.examples import Example
from compress.quantize import sensitivity
from compress.quantize.calibration import calibrate, choosing
from compress.quantize.graph import IntegerDense
from compress.quantize.sensitivity import EVERYTHING, Cost, Costs, Row, Scan, against, scan
from compress.recipe.compression import QualityGate
from compress.speech.audio import HOP
from compress.students.conv_fc import ConvFC, ConvFCConfig, Layer
from compress.students.integers import Choice

CONFIG = ConvFCConfig(
    first_layer="conv",
    first=Layer(32, 32, 8),
    layers=(),
    head_kernel=2,
    head_channels=(8, 8),
    past=256,
    future=256,
    outputs=2,
    batch_norm=False,
)
LAYERS = CONFIG.layer_names
GATE = QualityGate()  # 1.05, 1.05, 1.10, 0.01
ALL_FLOAT: dict[str, Choice] = dict.fromkeys(LAYERS, "float")
Choices = Mapping[str, Choice]


# ------------------------------------------------------------------------------------------------
# a cost


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (Cost(1.0, 1.0, 1.0, 0.0, 0.0), 0.0),
        (Cost(1.025, 1.0, None, None, None), 0.5),
        (Cost(1.0, 1.10, None, None, None), 2.0),
        (Cost(1.01, 1.01, 1.09, 0.002, 0.001), 0.9),
        (Cost(1.01, 1.01, 1.01, 0.002, 0.01), 2.0),
        (Cost(1.01, 1.01, 1.01, 0.015, 0.0), 1.5),
        (Cost(0.5, 0.5, 0.5, -0.2, -0.01), 0.0),  # better than the float student
        (Cost(math.inf, 1.0, 1.0, 0.0, 0.0), math.inf),
    ],
)
def test_the_worst_share_by_hand(cost: Cost, expected: float) -> None:
    assert cost.worst(GATE) == pytest.approx(expected)


@pytest.mark.parametrize("field", range(5))
def test_what_is_no_number_breaks_every_gate(field: int) -> None:
    """Wherever it stands: a maximum with NaN in it depends on the order."""
    values: list[Any] = [1.0, 1.0, 1.0, 0.0, 0.0]
    values[field] = math.nan
    assert Cost(*values).worst(GATE) == math.inf


def test_a_gate_without_room_allows_what_costs_nothing() -> None:
    strict = QualityGate(mse=1.0, quiet_mse=1.0, jitter=1.0, pbm_loss=0.0, false_rise=0.0)
    assert Cost(1.0, 0.99, 1.0, 0.0, -0.1).worst(strict) == 0
    assert Cost(1.0, 1.0, 1.0, 1e-9, 0.0).worst(strict) == math.inf
    assert Cost(1.0, 1.0, 1.0, 0.0, 1e-9).worst(strict) == math.inf
    assert Cost(1.0001, 1.0, None, None, None).worst(strict) == math.inf


def test_a_cost_is_a_share_of_the_float_students_figures() -> None:
    whole = Judgement(mse=0.02, quiet_mse=0.04, r2=0.8, jitter=1.5, pbm=0.9, false_closures=0.01)
    found = Judgement(mse=0.03, quiet_mse=0.04, r2=0.7, jitter=3.0, pbm=0.85, false_closures=0.03)
    cost = against(found, whole)
    assert (cost.mse, cost.quiet_mse, cost.jitter) == pytest.approx((1.5, 1.0, 2.0))
    assert (cost.pbm_loss, cost.false_rise) == pytest.approx((0.05, 0.02))
    unknown = Judgement(mse=0.02, quiet_mse=0.04, r2=None, jitter=None, pbm=None)
    assert against(unknown, whole) == Cost(1.0, 1.0, None, None, None)
    assert against(found, unknown) == Cost(1.5, 1.0, None, None, None)


# ------------------------------------------------------------------------------------------------
# the search, on costs that add up


class Added:
    """Costs of a student whose layers' MSE add up: `int8` each, and `weights` of them with float
    activations. Remembers what it was asked."""

    def __init__(self, int8: Mapping[str, float], weights: Mapping[str, float]) -> None:
        self.int8, self.weights = int8, weights
        self.whole = Judgement(1.0, 1.0, None, None, None)
        self.asked: list[dict[str, Choice]] = []

    def __call__(self, choices: Choices) -> Cost:
        self.asked.append(dict(choices))
        table = {"int8": self.int8, "int8_weights": self.weights, "float": {}}
        extra = sum(table[choice].get(layer, 0.0) for layer, choice in choices.items())
        return Cost(1 + extra, 1.0, None, None, None)


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Scan]:
    """A scan of costs that are made up."""

    def run(costs: Added, gate: QualityGate = GATE, **options: Any) -> Scan:
        monkeypatch.setattr(sensitivity, "Costs", lambda *arguments: costs)
        return scan(ConvFC(CONFIG), [], "minmax", Watched((), (), ()), gate, **options)

    return run


FREE = dict.fromkeys(LAYERS, 0.0)


def test_where_all_in_int8_holds_all_are(scanned: Callable[..., Scan]) -> None:
    assert scanned(Added(FREE, FREE)).choices == dict.fromkeys(LAYERS, "int8")


def test_the_worst_layer_leaves_int8_and_no_other(scanned: Callable[..., Scan]) -> None:
    costs = Added(FREE | {"first": 0.02, "head1": 0.2}, FREE)
    found = scanned(costs)
    assert found.choices == dict.fromkeys(LAYERS, "int8") | {"head1": "int8_weights"}
    assert found.chosen.mse == pytest.approx(1.02)


def test_float_where_int8_weights_cost_too_much(scanned: Callable[..., Scan]) -> None:
    """All go to int8 weights before the first goes to float; then all others come back."""
    costs = Added(FREE | {"head1": 0.2}, FREE | {"head1": 0.1})
    assert scanned(costs).choices == dict.fromkeys(LAYERS, "int8") | {"head1": "float"}


def test_layers_that_are_not_needed_go_back(scanned: Callable[..., Scan]) -> None:
    """Worst first: 0.08 and 0.04 leave before 0.03 does, which was all that was in the way."""
    int8 = FREE | {"first": 0.08, "head1": 0.04, "head2": 0.03}
    weights = FREE | {"first": 0.03, "head1": 0.0, "head2": 0.0}
    # int8 throughout 0.15; first 0.10; and head1 0.06; and head2 0.03: holds. Back: rig is, head2
    # would be 0.06, head1 0.07, first 0.08.
    assert scanned(Added(int8, weights)).choices == {
        "first": "int8_weights",
        "head1": "int8_weights",
        "head2": "int8_weights",
        "rig": "int8",
    }
    # With a little more room for head2 it does go back.
    roomy = scanned(Added(int8 | {"head2": 0.019}, weights))
    assert roomy.choices["head2"] == "int8"
    assert roomy.chosen.worst(GATE) <= 1


def test_a_gate_that_nothing_meets_takes_the_least_bad_that_is_int8_somewhere(
    scanned: Callable[..., Scan],
) -> None:
    """All in float costs nothing and is no int8 student."""
    each = {"first": 0.4, "head1": 0.3, "head2": 0.2, "rig": 0.1}
    found = scanned(Added(each, {name: cost / 2 for name, cost in each.items()}))
    assert found.choices == ALL_FLOAT | {"rig": "int8_weights"}
    assert found.chosen.worst(GATE) == pytest.approx(0.05 / 0.05)
    strict = QualityGate(mse=1.01)
    found = scanned(Added(each, {name: cost / 2 for name, cost in each.items()}), strict)
    assert found.choices == ALL_FLOAT | {"rig": "int8_weights"}
    assert found.chosen.worst(strict) == pytest.approx(5.0)


def test_a_gate_that_only_float_meets_where_costs_are_no_numbers(
    scanned: Callable[..., Scan],
) -> None:
    broken = dict.fromkeys(LAYERS, math.nan)
    found = scanned(Added(broken, broken))
    assert set(found.choices.values()) != {"float"}
    assert found.chosen.worst(GATE) == math.inf


def test_choices_that_are_fixed_are_taken(scanned: Callable[..., Scan]) -> None:
    fixed: dict[str, Choice] = {**ALL_FLOAT, "head1": "int8"}
    costs = Added(FREE | {"head1": 0.5}, FREE)
    told: list[int] = []
    found = scanned(costs, fixed=fixed, progress=told.append)
    assert found.choices == fixed
    assert found.choices is not fixed
    assert found.chosen.mse == pytest.approx(1.5)
    assert told == list(range(1, 9))
    # Each layer alone in both ways, what is fixed, and everything in both ways.
    assert len(costs.asked) == 8 + 1 + 2
    assert [(row.layer, row.choice) for row in found.rows] == [
        (layer, choice) for layer in (*LAYERS, EVERYTHING) for choice in ("int8", "int8_weights")
    ]


# ------------------------------------------------------------------------------------------------
# a real one


def speech(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (0.3 * generator.standard_normal(40 * HOP) * np.linspace(0.1, 1, 40 * HOP)).astype(
        np.float32
    )


@pytest.fixture(scope="module")
def spoiled() -> ConvFC:
    """One channel of ``head1`` is 3000 times as loud and counts as much less in ``head2``.

    In float nothing changes. In int8 the one range of all channels is the loud one's.
    """
    torch.manual_seed(4)
    student = ConvFC(CONFIG).eval()
    with torch.no_grad():
        student.steps.get_parameter("head1.weight")[0] *= 3000
        student.steps.get_parameter("head1.bias")[0] *= 3000
        student.steps.get_parameter("head1.bias")[0] += 300
        student.steps.get_parameter("head2.weight")[:, 0] /= 3000
    return student


@pytest.fixture(scope="module")
def watched(spoiled: ConvFC) -> Watched:
    """Clips of which the student knows all but a little noise."""
    clips = []
    for seed in (1, 2):
        samples = speech(seed)
        curves = spoiled.animate(torch.from_numpy(samples)[None])[0].numpy()
        off = 0.002 * np.random.default_rng(seed).standard_normal(curves.shape)
        clips.append(Example(samples, (curves + off).astype(np.float32)))
    return Watched(tuple(clips), ((), ()), ("a", "b"))


@pytest.fixture(scope="module")
def batches() -> Sequence[Tensor]:
    return [torch.from_numpy(speech(seed))[None, None] for seed in (5, 6)]


@pytest.fixture(scope="module")
def found(spoiled: ConvFC, batches: Sequence[Tensor], watched: Watched) -> Scan:
    return scan(spoiled, batches, "minmax", watched, QualityGate(mse=1.5, quiet_mse=3, jitter=2))


def test_the_layer_that_is_bad_in_int8_ranks_worst(found: Scan) -> None:
    """The layers that give and take the one range that is too wide; their weights are innocent."""
    cost = {(row.layer, row.choice): row.cost.mse for row in found.rows}
    ranked = sorted(LAYERS, key=lambda layer: -cost[layer, "int8"])
    assert set(ranked[:2]) == {"head1", "head2"}
    assert cost["head1", "int8"] > 3 * cost[ranked[2], "int8"]
    assert cost["head1", "int8_weights"] < 0.1 * cost["head1", "int8"]
    assert cost[EVERYTHING, "int8"] > 1.5


def test_it_is_spared_and_the_gate_holds(found: Scan) -> None:
    assert found.choices["head1"] != "int8"
    assert found.choices["head2"] != "int8"
    assert "int8" in found.choices.values()
    assert found.chosen.worst(QualityGate(mse=1.5, quiet_mse=3, jitter=2)) <= 1


def test_costs_are_those_of_the_int8_student(
    spoiled: ConvFC, batches: Sequence[Tensor], watched: Watched, found: Scan
) -> None:
    assert found.whole == judge(spoiled.animate, watched)
    codes = choosing(calibrate(spoiled, batches, "minmax"), CONFIG, found.choices)
    expected = judge(IntegerDense(spoiled, codes).animate, watched)
    assert found.chosen.mse == pytest.approx(expected.mse / found.whole.mse)
    assert found.chosen.quiet_mse == pytest.approx(expected.quiet_mse / found.whole.quiet_mse)


def test_all_in_float_costs_nothing_and_nothing_is_heard_twice(
    spoiled: ConvFC,
    batches: Sequence[Tensor],
    watched: Watched,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    costs = Costs(spoiled, batches, "minmax", watched)
    assert costs(ALL_FLOAT) == Cost(1.0, 1.0, 1.0, None, None)
    assert costs(ALL_FLOAT).worst(QualityGate(mse=1, quiet_mse=1, jitter=1, pbm_loss=0)) == 0
    monkeypatch.setattr(sensitivity, "IntegerDense", None)
    assert costs(dict(reversed(ALL_FLOAT.items()))).mse == 1.0


def test_a_row_says_what_was_tried(found: Scan) -> None:
    assert isinstance(found.rows[0], Row)
    assert len(found.rows) == 2 * (len(LAYERS) + 1)
