"""What a step of training costs by precision, threads and batch, and which layers it is spent in.

    python tests/benchmarks/training_step.py [--rounds 5] [--busy] [--students small tiny]

Forward, backward and AdamW of the reference recipe's students in one process, stage 1's losses. Settings take turns in each
round, and each is compared with that of the recipe (fp32, one thread, 12 stretches of 96 frames) in the same round, by frames a
second. ``--busy`` keeps another core at work meanwhile, as a second training would. Then the profiler says which layers take the
time, forward and backward together.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile

from compress.distill.losses import Criterion
from compress.recipe.recipe import StudentSettings, load_recipe
from compress.rig.rig import ARKIT_CLOSURE
from compress.speech.audio import HOP
from compress.students.conv_fc import build

CONTROLS = tuple(sorted(ARKIT_CLOSURE.weights)) + tuple(f"control{i}" for i in range(21))


@dataclass(frozen=True)
class Setting:
    """How a step is computed: stretches of so many frames, in a precision, on so many threads."""

    batch: int = 12
    frames: int = 96
    precision: str = "fp32"
    threads: int = 1

    def __str__(self) -> str:
        return f"{self.batch} × {self.frames} frames, {self.precision}, {self.threads} thread{'s' * (self.threads > 1)}"


RECIPE = Setting()
OTHERS = (
    Setting(threads=2),
    Setting(precision="bf16"),
    Setting(batch=6),
    Setting(batch=24),
    Setting(batch=6, frames=192),
    Setting(batch=24, frames=48),
)


class Bench:
    """One student and its optimiser, which a step moves as training does."""

    def __init__(self, settings: StudentSettings) -> None:
        torch.manual_seed(0)
        self.student = build(settings, len(CONTROLS), None).train()
        self.criterion = Criterion(settings.training, CONTROLS)
        self.optimizer = torch.optim.AdamW(self.student.parameters(), 1e-4)

    def step(self, setting: Setting) -> float:
        """Seconds of one step."""
        torch.set_num_threads(setting.threads)
        samples = self.student.config.window + (setting.frames - 1) * HOP
        audio = 0.1 * torch.randn(setting.batch, 1, samples)
        label = torch.rand(setting.batch, len(CONTROLS), setting.frames)
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=setting.precision == "bf16"):
            predicted = self.student.tapped(audio)[0]
        loss = torch.stack(list(self.criterion(predicted.float(), label).values())).sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return time.perf_counter() - began

    def layers(self) -> list[tuple[str, float]]:
        """The convolutions of the recipe's step and their shares of its time, the longest first."""
        self.step(RECIPE)
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
            self.step(RECIPE)
        total = sum(event.self_cpu_time_total for event in found.key_averages())
        shares: dict[str, float] = {}
        names = {
            tuple(module.weight.shape): name
            for name, module in self.student.steps.named_children()
            if isinstance(module, torch.nn.Conv1d)
        }
        for event in found.key_averages(group_by_input_shape=True):
            for shape in event.input_shapes:
                # Forward, oneDNN sees a convolution of one dimension as one of two.
                name = names.get(tuple(n for i, n in enumerate(shape) if len(shape) == 3 or i != 2))
                if name and "convolution" in event.key and len(shape) >= 3:
                    shares[name] = shares.get(name, 0.0) + event.self_cpu_time_total / total
                    break
        return sorted(shares.items(), key=lambda item: -item[1])


def _spin() -> None:
    a = torch.randn(600, 600)
    torch.set_num_threads(1)
    while True:
        a = torch.tanh(a @ a)


@contextmanager
def company(busy: bool) -> Iterator[None]:
    """Another process that computes all the while, if asked."""
    if not busy:
        yield
        return
    other = multiprocessing.get_context("spawn").Process(target=_spin, daemon=True)
    other.start()
    try:
        yield
    finally:
        other.terminate()
        other.join()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--students", nargs="*", default=["small", "tiny"])
    arguments = parser.parse_args()
    recipe = load_recipe("reference")
    for settings in (s for s in recipe.students if s.name in arguments.students):
        bench = Bench(settings)
        ratios: dict[Setting, list[float]] = {setting: [] for setting in OTHERS}
        own = []
        with company(arguments.busy):
            bench.step(RECIPE)
            for _ in range(arguments.rounds):
                seconds = bench.step(RECIPE)
                own.append(seconds)
                for setting, found in ratios.items():
                    work = setting.batch * setting.frames / (RECIPE.batch * RECIPE.frames)
                    found.append(seconds * work / bench.step(setting))
        print(f"{settings.name}: {1000 * statistics.median(own):.0f} ms a step of {RECIPE}")
        for setting, found in ratios.items():
            middle, low, high = statistics.median(found), min(found), max(found)
            print(f"  {setting}: {middle:.2f} times its frames a second ({low:.2f} to {high:.2f})")
        shares = ", ".join(f"{name} {share:.0%}" for name, share in bench.layers())
        print(f"  spent in {shares}", flush=True)


if __name__ == "__main__":
    main()
