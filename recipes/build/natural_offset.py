"""How far the phone times of natural voices still are from their sound, after the correction.

    python -m recipes.build.natural_offset FOLDER [--clips 300]

For each shift of the phone times it correlates the lip aperture of the rule-based curves with that of the demo teacher, which
hears the sound; the shift of the best correlation is what is still wrong. Two measures beside it need no teacher: by how much
the sound begins after the first phone, and ends after the last. By voice and by speed, on clips of the training side, so that
held-out speech settles nothing. Prints a table in Markdown.
"""

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compress.assets import resolve
from compress.recipe.teacher import TeacherSettings
from compress.rig.rig import ARKIT, ARKIT_CLOSURE
from compress.speech.audio import SAMPLE_RATE
from compress.speech.split import prompt_id, split
from compress.speech.visemes import Segment, curves
from compress.teachers.loading import find_teacher, open_teacher

SHIFTS_S = np.round(np.arange(-0.060, 0.0601, 0.005), 3)
STEP_S = 0.010
# Below the loudest 10 ms of a clip by this factor, there is no speech.
QUIET = 10 ** (-35 / 20)
SPEEDS = ((0.8, 0.95), (0.95, 1.1), (1.1, 1.25))
LEAST_CLIPS = 3


@dataclass(frozen=True)
class Timed:
    """A clip's apertures, the teacher's `[frames]` and the rules' `[shifts, frames]`, and its edges.

    `onset_s`, `end_s`: how long after the first phone's start, and the last one's end, the sound begins and ends.
    """

    voice: str
    speed: float
    teacher: np.ndarray
    rules: np.ndarray
    onset_s: float
    end_s: float


def timed(entry: dict[str, Any], audio: np.ndarray, teacher: Any) -> Timed:
    """One clip, float32 `[samples]`, with its entry of alignments.json."""
    segments = [Segment(*one) for one in entry["visemes"]]
    with torch.inference_mode():
        heard = teacher.animate(torch.from_numpy(audio)[None])[0].numpy()
    own = ARKIT_CLOSURE.aperture(heard, teacher.controls)
    shifted = [_moved(segments, shift, audio, teacher.rate_hz) for shift in SHIFTS_S]
    frames = min(len(own), len(shifted[0]))
    level = np.abs(audio[: len(audio) // 160 * 160]).reshape(-1, 160).max(1)
    loud = np.flatnonzero(level > QUIET * level.max()) * STEP_S
    spoken = [s for s in segments if s.viseme != "sil"]
    return Timed(
        entry["voice"],
        entry["speed"],
        own[:frames],
        np.stack([one[:frames] for one in shifted]),
        float(loud[0]) - spoken[0].start,
        float(loud[-1]) + STEP_S - spoken[-1].end,
    )


def _moved(
    segments: Sequence[Segment], shift_s: float, audio: np.ndarray, rate_hz: float
) -> np.ndarray:
    """The aperture of the rules' curves with all times moved, `[frames]`."""
    moved = [
        Segment(s.viseme, max(0.0, s.start + shift_s), max(0.0, s.end + shift_s)) for s in segments
    ]
    return ARKIT_CLOSURE.aperture(curves(moved, len(audio) / SAMPLE_RATE, rate_hz, audio), ARKIT)


def row(name: str, clips: Sequence[Timed]) -> str:
    """The group's line of the table: the shift that fits best, and the means of both edges in ms."""
    teacher = np.concatenate([clip.teacher for clip in clips])
    likeness = [
        float(np.corrcoef(teacher, np.concatenate([clip.rules[i] for clip in clips]))[0, 1])
        for i in range(len(SHIFTS_S))
    ]
    best = int(np.argmax(likeness))
    now = likeness[int(np.flatnonzero(SHIFTS_S == 0)[0])]
    onset, end = (
        1000 * float(np.median([getattr(c, e) for c in clips])) for e in ("onset_s", "end_s")
    )
    return (
        f"| {name} | {len(clips)} | {1000 * SHIFTS_S[best]:+.0f} | {likeness[best]:.3f} | {now:.3f} "
        f"| {onset:+.0f} | {end:+.0f} |"
    )


def groups_of(clips: Sequence[Timed]) -> dict[str, list[Timed]]:
    """All clips, those of each range of speeds, and those of each voice that is no mixture."""
    groups: dict[str, list[Timed]] = defaultdict(list)
    groups["all"] = list(clips)
    for low, high in SPEEDS:
        groups[f"speed {low} to {high}"] = [c for c in clips if low <= c.speed < high]
    for clip in sorted(clips, key=lambda c: c.voice):
        if "+" not in clip.voice:
            groups[clip.voice].append(clip)
    return {name: some for name, some in groups.items() if len(some) >= LEAST_CLIPS}


def main() -> None:
    import soundfile

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--teacher", default="builtin:voice2face-demo")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = resolve(arguments.teacher, Path.cwd())
    teacher = open_teacher(
        find_teacher(str(folder), folder), TeacherSettings(checkpoint=str(folder)), folder
    )
    entries = json.loads((arguments.folder / "alignments.json").read_text("utf-8"))
    names = [name for name in sorted(entries) if split(prompt_id(name)) == "train"]
    picked = random.Random(0).sample(names, min(len(names), arguments.clips))
    read: Callable[[str], np.ndarray] = lambda name: soundfile.read(  # noqa: E731
        arguments.folder / f"{name}.flac", dtype="float32"
    )[0]
    clips = [timed(entries[name], read(name), teacher) for name in picked]
    print("| clips | n | best shift, ms | correlation there | at 0 | sound begins, ms | ends, ms |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, some in groups_of(clips).items():
        print(row(name, some))


if __name__ == "__main__":
    main()
