"""How much larger and slower a full-size reference teacher is than the students that ship: HuBERT base and large with a head.

    python tests/benchmarks/reference_teacher.py [--seconds 10] [--rounds 5] [--threads 1]

The HuBERTs have random weights, made in memory: size and speed depend on the shapes alone, and nothing is said of quality. All run over the same
packaged speech, in turns, in one process; the ratios are what counts, since machines are noisy. A student's dense form takes the clip at once, as a
teacher does; its window form takes one window a frame, 60 a second, as a game does. Needs some 4 GB of memory.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from compress.assets import resolve
from compress.speech import audio
from compress.speech.sources.folder import scan
from compress.students.contract import Window
from compress.students.conv_fc import ConvFC
from compress.students.storing import load_student
from compress.teachers import Opening
from compress.teachers.formats.reference import open_checkpoint
from compress.teachers.networks.hubert import HubertConfig
from compress.teachers.networks.voice2face import Voice2Face

SEED = 20
FPS = 60
STUDENTS = ("builtin:small", "builtin:tiny")
BASE = HubertConfig()
LARGE = HubertConfig(
    hidden_size=1024,
    num_hidden_layers=24,
    num_attention_heads=16,
    intermediate_size=4096,
    feat_extract_norm="layer",
    do_stable_layer_norm=True,
    conv_bias=True,
)


@dataclass(frozen=True)
class Runner:
    """A model, how many weights it has, and what takes the clip through it."""

    name: str
    parameters: int
    run: Callable[[], object]


def speech(seconds: float) -> Tensor:
    """Packaged clips one after the other, float32 `[1, samples]`."""
    folder = resolve("builtin:speech", Path())
    wanted, samples = round(seconds * audio.SAMPLE_RATE), 0
    parts: list[Tensor] = []
    clips = scan(str(folder), min_clip_s=0.5).clips
    for clip in clips:
        if samples < wanted:
            parts.append(torch.from_numpy(clip.read()))
            samples += len(parts[-1])
    if samples < wanted:
        raise SystemExit(f"builtin:speech has {samples / audio.SAMPLE_RATE:.0f} s, asked {seconds}")
    return torch.cat(parts)[None, :wanted]


def teachers(clip: Tensor) -> list[Runner]:
    """The demo's teacher, and the same head on HuBERT base and large."""
    demo = open_checkpoint(resolve("builtin:voice2face-demo", Path()), Opening())
    built = {"voice2face-demo (Moonshine tiny)": demo}
    for name, encoder in (("HuBERT base + head", BASE), ("HuBERT large + head", LARGE)):
        torch.manual_seed(SEED)
        built[name] = Voice2Face(replace(demo.config, encoder_config=encoder)).eval()
    return [
        Runner(name, teacher.parameters_count, lambda teacher=teacher: teacher.animate(clip))
        for name, teacher in built.items()
    ]


def students(clip: Tensor) -> list[Runner]:
    """Both forms of each student that ships."""
    runners = []
    for name in STUDENTS:
        student, card = load_student(resolve(name, Path()))
        windows = cut(clip, student)
        dense = Runner(f"{name}, dense", card.parameters, lambda s=student: s.animate(clip))
        alone = Runner(
            f"{name}, windows", card.parameters, lambda s=student, w=windows: animate(s, w)
        )
        runners += [dense, alone]
    return runners


def cut(clip: Tensor, student: ConvFC) -> Tensor:
    """What the student sees for each frame of the clip, float32 `[frames, 1, window]`."""
    config = student.config
    padded = torch.nn.functional.pad(clip[0], (config.past, config.future))
    frames = math.ceil(clip.shape[1] * FPS / audio.SAMPLE_RATE)
    starts = [round(i / FPS * audio.SAMPLE_RATE) for i in range(frames)]
    return torch.stack([padded[start : start + config.window] for start in starts])[:, None]


@torch.inference_mode()
def animate(student: ConvFC, windows: Tensor) -> None:
    """One window after the other."""
    window = Window(student)
    for one in windows:
        window(one[None])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clip = speech(arguments.seconds)
    large, little = teachers(clip), students(clip)
    runners = large + little
    times: dict[str, list[float]] = {runner.name: [] for runner in runners}
    for i in range(arguments.rounds + 1):
        for runner in runners:
            start = time.perf_counter()
            runner.run()
            if i:  # the first round warms up
                times[runner.name].append(time.perf_counter() - start)
    print(f"{arguments.seconds:g} s of speech, {arguments.threads} thread(s), medians of", end=" ")
    print(f"{arguments.rounds} rounds in turns, PyTorch {torch.__version__}\n")
    print("| model | parameters | MB fp32 | MB fp16 | seconds | × real time |")
    print("|---|---:|---:|---:|---:|---:|")
    for runner in runners:
        seconds, megabytes = statistics.median(times[runner.name]), runner.parameters / 1e6
        print(
            f"| {runner.name} | {runner.parameters:,} | {4 * megabytes:.2f} | {2 * megabytes:.2f} "
            f"| {seconds:.3f} | {arguments.seconds / seconds:.1f} |"
        )
    print("\n| teacher | against | times larger | times slower, median (least to most) |")
    print("|---|---|---:|---:|")
    for teacher in large:
        for student in little:
            pairs = zip(times[teacher.name], times[student.name], strict=True)
            ratios = sorted(slow / fast for slow, fast in pairs)
            print(
                f"| {teacher.name} | {student.name} "
                f"| {teacher.parameters / student.parameters:.1f} "
                f"| {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |"
            )


if __name__ == "__main__":
    main()
