"""A teacher on ten seconds of speech: what it is, and whether it keeps the contract of teachers."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.errors import TeacherError
from compress.progress import bar
from compress.rig.rig_file import find_rig, rig_of
from compress.rig.units import measure
from compress.speech.audio import SAMPLE_RATE
from compress.speech.gathering import excerpt
from compress.teachers import Teacher
from compress.teachers.loading import device_of, find_teacher, open_teacher
from compress.teachers.mesh.teacher import (
    BY_VERTICES,
    check_closure,
    lip_vertices,
    read_lips,
    vertex_count,
)
from compress.teachers.pieces import LEAST_OVERLAP_FRAMES, Cutting, animate_long

if TYPE_CHECKING:
    from compress.recipe.recipe import Recipe

Floats = NDArray[np.float32]

SECONDS = 10.0
# A hundredth of how far the liveliest control moves is not seen.
UNSEEN = 1e-2
# Of the rig's scale: what must be equal may differ by the order in which a batch is summed. In lower
# precision that may change the last digits, by about four steps of a number near 1.
EQUAL = {"fp32": 1e-5, "bf16": 2.0**-6, "fp16": 2.0**-9}
PIECES = 2.5  # of the ten seconds, one piece is so much less
OVERLAPS_S = (0.25, 0.5, 1.0, 1.5, 2.0)
RUNS = 3
LIVELIEST = 6


@dataclass(frozen=True)
class Reach:
    """How far a control moves over the excerpt, in rig units; `deviation` is the standard one."""

    control: str
    low: float
    high: float
    deviation: float


@dataclass(frozen=True)
class Cut:
    """What cutting into pieces that share so much audio changes, in rig units.

    The largest difference, and the root of the mean square over all frames and controls.
    """

    overlap_s: float
    max_abs: float
    rms: float


@dataclass(frozen=True)
class TeacherCheck:
    """What was found. Differences are the largest ones, in rig units; None where not tried.

    `speed` is seconds of speech a second. `scale` is the power of ten nearest to how far the
    controls go from 0, `unseen` a hundredth of how far the liveliest moves. `breaches` say what of the contract is broken; `still` counts controls that do
    not move.
    """

    name: str
    description: str
    parameters: int
    seconds: float
    frames: int
    rate_hz: float
    sample_rate_hz: int
    offset_s: float
    limits: tuple[float, float] | None
    controls: int
    still: int
    scale: float
    reach: tuple[Reach, ...]
    repeated: float
    batched: float | None
    speed: float
    threads: int
    device: str
    precision: str
    piece_s: float
    cuts: tuple[Cut, ...]
    unseen: float
    suffices_s: float | None
    rig: str
    closure: bool
    breaches: tuple[str, ...]

    @property
    def equal(self) -> float:
        """What is less apart counts as equal, in rig units."""
        return EQUAL[self.precision] * self.scale

    def to_json(self) -> str:
        """For machines; all controls, the liveliest first."""
        return json.dumps(asdict(self), indent=1)

    def facts(self) -> dict[str, str]:
        """For people, by name."""
        low, high = min(r.low for r in self.reach), max(r.high for r in self.reach)
        within = f", limits {self.limits[0]:g} to {self.limits[1]:g}" if self.limits else ""
        return {
            "teacher": f"{self.name}: {self.description}",
            "parameters": f"{self.parameters:,}",
            "audio": f"{self.seconds:.2f} s at {self.sample_rate_hz} Hz",
            "curves": f"[{self.frames}, {self.controls}]: {self.frames / self.seconds:.2f} frames a "
            f"second, {self.rate_hz:g} stated, the first at {self.offset_s:g} s",
            "range": f"{low:.4g} to {high:.4g}{within}; scale {self.scale:g}; {self.still} of "
            f"{self.controls} controls stand still",
            "liveliest": ", ".join(
                f"{r.control} {r.low:.3g} to {r.high:.3g}" for r in self.reach[:LIVELIEST]
            ),
            "lips": f"closures known from {self.rig}"
            if self.closure
            else "closures not known: "
            "PBM and closures will read `not run` (a rig file says them: teacher.rig)",
            "again": _same(self.repeated, "the same audio again"),
            "batched": "not run: too little speech"
            if self.batched is None
            else _same(self.batched, "two clips together and apart"),
            "speed": f"{self.speed:.1f} × real time on {self.device} in {self.precision}, "
            f"{self.threads} thread{'s' if self.threads > 1 else ''}",
            "cutting": self._cutting(),
        }

    def _cutting(self) -> str:
        if not self.cuts:
            return "not run: too little speech"
        if self.repeated > self.equal:
            return "not run: its curves change by themselves"
        rows = ", ".join(f"{c.overlap_s:g} s: {c.max_abs:.2g} ({c.rms:.1g})" for c in self.cuts)
        if self.suffices_s is None:
            end = (
                f"none changes them by less than {self.unseen:.2g}: the teacher hears further. "
                f"Set teacher.max_chunk_s above your longest clip"
            )
        else:
            end = f"teacher.overlap_s: {self.suffices_s:g} suffices (less than {self.unseen:.2g})"
        return (
            f"pieces of {self.piece_s:g} s by what they share, largest change (RMS): {rows}; {end}"
        )


def _same(difference: float, what: str) -> str:
    return f"{what}: " + ("equal" if difference == 0 else f"{difference:.2g} apart at most")


@dataclass(frozen=True)
class Excerpt:
    """The curves that were found, float32 `[frames, controls]`, for a picture."""

    curves: Floats
    times_s: NDArray[np.float64]
    liveliest: tuple[int, ...]


def check(
    recipe: "Recipe", seconds: float = SECONDS, *, hidden: bool = False
) -> tuple[TeacherCheck, Excerpt]:
    """Open a recipe's teacher and run it on the first seconds of its training speech.

    Raises `TeacherError` for a teacher that cannot be opened or whose curves have another shape
    than it says, and `AudioError` where there is no speech.
    """
    settings = recipe.teacher
    rig_file = find_rig(settings.rig, recipe.folder)
    samples = excerpt(recipe.speech, recipe.folder, seconds)
    file = find_teacher(settings.checkpoint, recipe.folder, settings.depends_on)
    teacher = open_teacher(file, settings, recipe.folder)
    rig = rig_of(rig_file, teacher.controls)
    known, closed = rig.name, rig.closure_of(teacher.controls) is not None
    if settings.mesh is not None:
        vertices = vertex_count(teacher)
        lip_vertices(read_lips(settings.mesh.lips, recipe.folder), vertices)
        if settings.lips_closed is not None:
            check_closure(settings.lips_closed, vertices)
            known, closed = BY_VERTICES, True
    with bar("teacher check", None, hidden) as progress:

        def say(what: str) -> None:
            progress(0, what)

        device = device_of(file, settings)
        return _checked(recipe, teacher, samples, device, known, closed, say)


def _checked(
    recipe: "Recipe",
    teacher: Teacher,
    samples: Floats,
    device: str,
    rig: str,
    closure: bool,
    say: Callable[[str], None],
) -> tuple[TeacherCheck, Excerpt]:
    heard_s = len(samples) / SAMPLE_RATE
    whole = Cutting(max_chunk_s=heard_s + 1)

    def run(clips: Floats, cutting: Cutting = whole) -> Floats:
        names = [f"the first {clips.shape[1] / SAMPLE_RATE:.2f} s of speech"] * len(clips)
        return animate_long(teacher, clips, cutting, names)

    say("once")
    curves = run(samples[None])[0]
    say("again")
    took, again = [], curves
    for _ in range(RUNS):
        start = time.perf_counter()
        again = run(samples[None])[0]
        took.append(time.perf_counter() - start)
    reach = _reach(teacher.controls, curves)
    measured = measure(
        teacher.controls,
        curves.min(0),
        curves.max(0),
        teacher.limits,
        mesh=recipe.teacher.mesh is not None,
    )
    unseen = UNSEEN * max(r.high - r.low for r in reach)
    say("batched")
    half = len(samples) // 2
    halves = np.stack([samples[:half], samples[half : 2 * half]])
    batched = None
    if half >= SAMPLE_RATE // 2:
        apart = np.concatenate([run(halves[:1]), run(halves[1:])])
        batched = float(np.abs(run(halves) - apart).max())
    say("in pieces")
    piece_s = min(recipe.teacher.max_chunk_s, heard_s / PIECES)
    changes = {
        overlap_s: run(samples[None], Cutting(piece_s, overlap_s))[0] - curves
        for overlap_s in OVERLAPS_S
        if overlap_s <= piece_s / 2 and overlap_s * teacher.rate_hz >= LEAST_OVERLAP_FRAMES
    }
    cuts = tuple(
        Cut(overlap_s, float(np.abs(change).max()), float(np.sqrt((change**2).mean())))
        for overlap_s, change in changes.items()
    )
    suffices = [cut.overlap_s for cut in cuts if cut.max_abs <= unseen]
    found = TeacherCheck(
        name=recipe.teacher.checkpoint,
        description=teacher.description,
        parameters=teacher.parameters_count,
        seconds=heard_s,
        frames=len(curves),
        rate_hz=teacher.rate_hz,
        sample_rate_hz=teacher.sample_rate_hz,
        offset_s=teacher.offset_s,
        limits=teacher.limits,
        controls=len(teacher.controls),
        still=int((~measured.moving).sum()),
        scale=measured.scale,
        reach=reach,
        repeated=float(np.abs(again - curves).max()),
        batched=batched,
        speed=heard_s / median(took),
        threads=recipe.threads,
        device=device,
        precision=recipe.teacher.precision,
        piece_s=round(piece_s, 2),
        cuts=cuts,
        unseen=unseen,
        suffices_s=min(suffices, default=None),
        rig=rig,
        closure=closure,
        breaches=(),
    )
    liveliest = tuple(teacher.controls.index(r.control) for r in reach[:LIVELIEST])
    times_s = teacher.offset_s + np.arange(len(curves)) / teacher.rate_hz
    return replace(found, breaches=tuple(_breaches(found))), Excerpt(curves, times_s, liveliest)


def _reach(controls: tuple[str, ...], curves: Floats) -> tuple[Reach, ...]:
    low, high, deviation = curves.min(0), curves.max(0), curves.std(0)
    order = np.argsort(-deviation, kind="stable")
    return tuple(
        Reach(controls[i], float(low[i]), float(high[i]), float(deviation[i])) for i in order
    )


def _breaches(found: TeacherCheck) -> Iterator[str]:
    if found.repeated > found.equal:
        yield (
            f"the same audio gave other curves the second time, by {found.repeated:.2g}: labels "
            f"would not repeat. Is it in evaluation mode, or does it draw random numbers?"
        )
    elif found.batched is not None and found.batched > found.equal:
        yield (
            f"a clip's curves depend on what it is batched with, by {found.batched:.2g}; "
            f"expected at most {found.equal:g}. Set teacher.interface.max_batch to 1"
        )
    if found.still == found.controls:
        yield "none of its controls moves: there is nothing to distil. Is it the right checkpoint?"
    if found.limits is not None:
        low, high = found.limits
        beyond = [r for r in found.reach if r.low < low - 1e-6 or r.high > high + 1e-6]
        if beyond:
            yield (
                f"{len(beyond)} of {found.controls} controls leave the limits {low:g} to {high:g}, "
                f"which students keep to; {beyond[0].control} goes from {beyond[0].low:.4g} to "
                f"{beyond[0].high:.4g}. Widen limits, or leave them out"
            )


def conclude(found: TeacherCheck) -> None:
    """Return if the contract of teachers is kept. Raises `TeacherError` with all that is not."""
    if found.breaches:
        said = "".join(f"\n  - {breach}" for breach in found.breaches)
        raise TeacherError(f"Teacher {found.name} breaks the contract of teachers:{said}")
