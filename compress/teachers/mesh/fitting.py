"""Fitting a PCA to a teacher's vertices, in a memory that does not grow with the speech."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.errors import TeacherError
from compress.labels.making import Spoken
from compress.progress import Bar, bar
from compress.speech.audio import SAMPLE_RATE
from compress.speech.split import Side
from compress.store import content_key, tool_versions
from compress.teachers import Teacher
from compress.teachers.loading import TeacherFile
from compress.teachers.mesh.teacher import lip_vertices, vertex_count
from compress.teachers.pieces import Cutting, animate_long, cut
from exporters.mesh import Mesh, MeshFacts, lip_columns

if TYPE_CHECKING:
    from compress.recipe.teacher import MeshSettings, TeacherSettings

Floats = NDArray[np.float32]

FORMAT = 1
# Standard deviation of the first coefficient: they then move about as far as blendshapes do.
FIRST_DEVIATION = 1 / 4
# Components beyond those that are asked for, which keep the last of these from being cut short.
SPARE = 16
# Shares of a sum that was rounded to float32: the whole of it may come out a little less.
ROUNDING = 1e-6
HELDOUT_MINUTES = 1.0
_BLOCK = 256  # frames rebuilt at a time


@dataclass(frozen=True)
class Stretch:
    """Samples `start` to `stop` of a clip: as much as the teacher hears at once."""

    spoken: Spoken
    start: int
    stop: int

    @property
    def seconds(self) -> float:
        return (self.stop - self.start) / SAMPLE_RATE


@dataclass(frozen=True, eq=False)
class Basis:
    """A mean `[values]`, orthonormal rows `[components, values]`, both float32, the deviation of
    the first row's coefficient, and the share of the variance that the rows keep.
    """

    mean: Floats
    rows: Floats
    deviation: float
    variance: float


def mesh_key(
    teacher: TeacherFile,
    speech: Sequence[Spoken],
    settings: "TeacherSettings",
    lips: Sequence[int],
    threads: int,
) -> str:
    """Key of the mesh that `fit` makes, from hashes alone."""
    return content_key(
        format=FORMAT,
        teacher=teacher.hash,
        clips=[[s.clip.id, s.side, s.clip.sha256] for s in speech],
        opened=settings.key_parts,
        lips=list(lips),
        threads=threads,
        versions=tool_versions("torch", "numpy", "scipy", "scikit-learn", "soundfile"),
    )


def fit(
    teacher: Teacher,
    key: str,
    speech: Sequence[Spoken],
    settings: "MeshSettings",
    cutting: Cutting,
    lips: Sequence[int],
) -> Mesh:
    """Run a teacher of vertices over training speech, spread evenly, and fit a PCA to them.

    What that leaves out is measured on a minute of held-out speech. `lips` is what `read_lips`
    gave. Raises `TeacherError` for values or lips that cannot be vertices, and for a mesh that does
    not move or that so many components, or so few frames, do not suffice for.
    """
    vertices = vertex_count(teacher)
    numbers = lip_vertices(lips, vertices)
    train = _spread(_stretches(teacher, speech, "train", cutting), settings.fit_minutes)
    heldout = _spread(_stretches(teacher, speech, "heldout", cutting), HELDOUT_MINUTES)
    with bar("fit", _minutes(train) + _minutes(heldout)) as progress:
        basis = fit_basis(_vertices(teacher, train, cutting, progress, 0.0), settings)
        scale = FIRST_DEVIATION / basis.deviation
        facts = MeshFacts(
            key=key,
            vertices=vertices,
            components=len(basis.rows),
            variance=basis.variance,
            scale=scale,
            fitted_clips=_clips(train),
            fitted_minutes=round(_minutes(train), 3),
            heldout_clips=_clips(heldout),
            heldout_minutes=round(_minutes(heldout), 3),
            residual=0.0,
            lip_residual=None,
        )
        rows = np.asarray(basis.rows / scale, np.float32)
        mesh = Mesh(mean=basis.mean, basis=rows, lips=numbers, facts=facts)
        unseen = _vertices(teacher, heldout, cutting, progress, _minutes(train))
        return with_residual(mesh, unseen)


def fit_basis(frames: Iterable[Floats], settings: "MeshSettings") -> Basis:
    """PCA of vertices that come as float32 `[frames, vertices × 3]` of any number of frames.

    Incremental: Ross et al., *Incremental Learning for Robust Visual Tracking*, 2008; exact but
    for what lies below the components that are carried along. Raises `TeacherError` as `fit` does.
    """
    from sklearn.decomposition import IncrementalPCA

    asked = settings.components
    carried = settings.max_components if asked is None else asked + SPARE
    batches = _batches(frames, carried)
    first = next(batches, None)
    if first is None:
        raise TeacherError("There is no frame of training speech to fit teacher.mesh on.")
    _check_counts(asked, *first.shape)
    # Vertices may lie far from the origin, for what they move: float32 rounds less from here.
    reference = first[0].copy()
    pca, seen = IncrementalPCA(min(carried, *first.shape), copy=False), 0
    for batch in chain([first], batches):
        seen += len(batch)
        with np.errstate(invalid="ignore", divide="ignore"):  # shares of no movement at first
            pca.partial_fit(batch - reference)
    mean = np.asarray(reference + pca.mean_, np.float32)
    motion, vertices = math.sqrt(pca.var_.sum() * 3 / len(mean)), len(mean) // 3
    if motion <= ROUNDING * np.abs(mean).max():
        raise TeacherError(
            f"The {vertices} vertices of the teacher's mesh do not move over {seen} frames of "
            f"training speech: there is nothing to distil. Is it the right checkpoint, and are "
            f"these columns its vertices?"
        )
    shares = np.cumsum(pca.explained_variance_ratio_)
    count = asked or int(np.searchsorted(shares, settings.variance - ROUNDING)) + 1
    if count > len(shares):
        raise TeacherError(
            f"{len(shares)} components keep {shares[-1]:.4%} of the variance of the teacher's "
            f"{vertices} vertices over {seen} frames of training speech, expected "
            f"{settings.variance:.4%}. Raise teacher.mesh.max_components, which takes memory, lower "
            f"teacher.mesh.variance, or say in teacher.mesh.components how many to take."
        )
    return Basis(
        mean,
        np.ascontiguousarray(pca.components_[:count], np.float32),
        math.sqrt(pca.explained_variance_[0]),
        min(1.0, float(shares[count - 1])),
    )


def _check_counts(asked: int | None, frames: int, columns: int) -> None:
    """The first batch is the whole speech, where that is short."""
    if asked is not None and asked > columns:
        raise TeacherError(
            f"teacher.mesh.components is {asked}, expected at most {columns}: the teacher's mesh "
            f"has {columns // 3} vertices of three values."
        )
    least = 2 if asked is None else asked
    if frames < least:
        raise TeacherError(
            f"Frames of training speech to fit teacher.mesh on: found {frames}, expected at least "
            f"{least}, one for each of its components. Give more speech, raise "
            f"teacher.mesh.fit_minutes, or lower teacher.mesh.components."
        )


def _batches(frames: Iterable[Floats], size: int) -> Iterator[Floats]:
    """Batches of `size` frames, the last of fewer than twice as many; of fewer only if it is all."""
    pending: Floats | None = None
    for piece in frames:
        for start in range(0, len(piece), size):
            block = piece[start : start + size]
            pending = block.copy() if pending is None else np.concatenate([pending, block])
            if len(pending) >= 2 * size:
                yield pending[:size]
                pending = pending[size:]
    if pending is not None:
        yield pending


def with_residual(mesh: Mesh, frames: Iterable[Floats]) -> Mesh:
    """The mesh, with how far vertices `[frames, vertices × 3]` are from themselves rebuilt."""
    squares, largest, count = 0.0, 0.0, 0
    lips = lip_columns(mesh.lips)
    for piece in frames:
        for start in range(0, len(piece), _BLOCK):
            block = piece[start : start + _BLOCK]
            apart = (mesh.rebuild(mesh.project(block)) - block).astype(np.float64)
            squares += float((apart**2).sum())
            count += len(block)
            if mesh.lips.size:
                distances = np.linalg.norm(apart[:, lips].reshape(len(block), -1, 3), axis=2)
                largest += float(distances.max(1).sum())
    facts = replace(
        mesh.facts,
        residual=math.sqrt(squares / count / mesh.facts.vertices),
        lip_residual=largest / count if mesh.lips.size else None,
    )
    return replace(mesh, facts=facts)


def _stretches(
    teacher: Teacher, speech: Sequence[Spoken], side: Side, cutting: Cutting
) -> list[Stretch]:
    """All that is said on one side of the split, in the order of the speech."""
    return [
        Stretch(spoken, piece.start, piece.stop)
        for spoken in speech
        if spoken.side == side
        for piece in cut(round(spoken.clip.seconds * SAMPLE_RATE), teacher.rate_hz, cutting)
    ]


def _spread(stretches: Sequence[Stretch], minutes: float) -> list[Stretch]:
    """As many as so many minutes hold, evenly over all of them, and one at the least."""
    total = _minutes(stretches)
    count = len(stretches) if total <= minutes else int(minutes / total * len(stretches))
    for taken in range(count, 1, -1):
        # The middles of equal parts.
        chosen = [stretches[(2 * i + 1) * len(stretches) // (2 * taken)] for i in range(taken)]
        if _minutes(chosen) <= minutes:
            return chosen
    return [stretches[len(stretches) // 2]]


def _vertices(
    teacher: Teacher, stretches: Sequence[Stretch], cutting: Cutting, progress: Bar, done: float
) -> Iterator[Floats]:
    """The teacher's vertices of each stretch, `[frames, vertices × 3]`; `done` counts minutes."""
    for spoken, parts in groupby(stretches, key=lambda stretch: stretch.spoken):
        samples = spoken.clip.read()[None]
        for part in parts:
            heard = samples[:, part.start : part.stop]
            yield animate_long(teacher, heard, cutting, [spoken.clip.path])[0]
            done += part.seconds / 60
            progress(done)


def _minutes(stretches: Sequence[Stretch]) -> float:
    return sum(stretch.seconds for stretch in stretches) / 60


def _clips(stretches: Sequence[Stretch]) -> int:
    return len({stretch.spoken.clip.id for stretch in stretches})
