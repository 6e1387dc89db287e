"""How much faster training is in the dense form: frames a second, against a loop over batches of windows.

    python tests/benchmarks/dense_training.py [--rounds 5] [--json] [--check]

Forward and backward of 64 consecutive frames of 8 clips, fp32, one CPU thread, one process. The windows of a clip are one batch
of 64, and the gradients of the 8 batches add up: the same loss of the same student, whose batch norm is folded, since its
statistics over windows are others than over steps. Dense, windows and dense again in each round; the ratio is what counts, since
machines are noisy.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from compress.distill import losses
from compress.recipe.recipe import load_recipe
from compress.speech.audio import HOP
from compress.students.contract import Window
from compress.students.conv_fc import ConvFC, build
from compress.students.facts import facts_of
from compress.students.folding import fold_batch_norm

CLIPS, FRAMES, CONTROLS = 8, 64, 26
VELOCITY_WEIGHT = 12.0
SAME = 1e-5  # float32 sums in another order
# Width of the reference recipe's `small`, and the least ratio that --check accepts.
STUDENTS = {"small": (1.0, 15.0), "tiny": (0.25, 10.0)}


@dataclass(frozen=True)
class Comparison:
    """One student: frames a second and their ratio in each round, and how far both forms differ.

    `arithmetic` is the ratio of their multiply-adds, what a machine that does nothing else would
    show. Differences are the largest one by the largest value, of outputs and of gradients.
    """

    student: str
    parameters: int
    dense_frames_s: list[float]
    window_frames_s: list[float]
    ratios: list[float]
    arithmetic: float
    output_difference: float
    gradient_difference: float

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)


def loss(rig: Tensor, label: Tensor) -> Tensor:
    """Of `[clips, controls, frames]`."""
    return losses.reconstruction(rig, label) + VELOCITY_WEIGHT * losses.velocity(rig, label)


def dense(student: ConvFC, audio: Tensor, label: Tensor) -> Tensor:
    """One step of training, all frames at once; the rig, `[clips, controls, frames]`."""
    rig: Tensor = student(audio)
    loss(rig, label).backward()
    return rig.detach()


def windows(student: ConvFC, audio: Tensor, label: Tensor) -> Tensor:
    """The same step, a batch of windows for each clip."""
    form, rigs = Window(student), []
    for samples, wanted in zip(audio[:, 0], label, strict=True):
        rig = form(samples.unfold(0, student.config.window, HOP)[:, None]).T[None]
        (loss(rig, wanted[None]) / CLIPS).backward()
        rigs.append(rig.detach())
    return torch.cat(rigs)


def compare(name: str, width: float, rounds: int) -> Comparison:
    small = next(s for s in load_recipe("reference").students if s.name == "small")
    torch.manual_seed(0)
    student = fold_batch_norm(build(small.model_copy(update={"width": width}), CONTROLS, None))
    samples = student.config.window + (FRAMES - 1) * HOP
    audio = 0.1 * torch.randn(CLIPS, 1, samples)
    label = torch.rand(CLIPS, CONTROLS, FRAMES)

    def once(form: Callable[..., Tensor]) -> tuple[float, Tensor, Tensor]:
        student.zero_grad()
        start = time.perf_counter()
        rig = form(student, audio, label)
        seconds = time.perf_counter() - start
        slopes = [p.grad.flatten() for p in student.parameters() if p.grad is not None]
        return seconds, rig, torch.cat(slopes)

    _, rig, slopes = once(dense)
    _, window_rig, window_slopes = once(windows)
    facts = facts_of(student.config)
    # The first frame of the dense form costs a window.
    stretch = facts.multiply_adds_window + (FRAMES - 1) * facts.multiply_adds_hop
    dense_s, window_s = [], []
    for _ in range(rounds):
        before, at_windows, after = once(dense)[0], once(windows)[0], once(dense)[0]
        dense_s.append((before + after) / 2)
        window_s.append(at_windows)
    return Comparison(
        student=name,
        parameters=student.parameters_count,
        dense_frames_s=[CLIPS * FRAMES / s for s in dense_s],
        window_frames_s=[CLIPS * FRAMES / s for s in window_s],
        ratios=[w / d for w, d in zip(window_s, dense_s, strict=True)],
        arithmetic=FRAMES * facts.multiply_adds_window / stretch,
        output_difference=float((rig - window_rig).abs().max() / rig.abs().max()),
        gradient_difference=float((slopes - window_slopes).abs().max() / slopes.abs().max()),
    )


def say(found: Comparison) -> None:
    at_dense, at_windows = map(statistics.median, (found.dense_frames_s, found.window_frames_s))
    print(
        f"{found.student}, {found.parameters:,} parameters: dense {at_dense:,.0f} frames/s, windows "
        f"{at_windows:,.0f}: ratio {found.ratio:.1f} ({min(found.ratios):.1f} to "
        f"{max(found.ratios):.1f} in {len(found.ratios)} rounds; multiply-adds say "
        f"{found.arithmetic:.1f}); outputs differ by {found.output_difference:.1e} of the largest, "
        f"gradients by {found.gradient_difference:.1e}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="exit with 1 below what is expected")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    found = [compare(name, width, arguments.rounds) for name, (width, _) in STUDENTS.items()]
    if arguments.json:
        machine = {"torch": torch.__version__, "cpus": os.cpu_count(), "load_before": load}
        students = [asdict(one) | {"ratio": one.ratio} for one in found]
        print(json.dumps({"machine": machine, "students": students}, indent=1))
    else:
        print(f"one thread, {os.cpu_count()} CPUs with a load of {load:.1f} before the start")
        for one in found:
            say(one)
    failed = [
        one.student
        for one in found
        if one.ratio < STUDENTS[one.student][1]
        or max(one.output_difference, one.gradient_difference) > SAME
    ]
    return 1 if arguments.check and failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
