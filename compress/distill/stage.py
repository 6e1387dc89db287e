"""Stage distill: pseudo-labels in, a trained student with its batch norm folded out."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from compress.errors import ModelError, UsageError
from compress.labels.store import Labels, hops_of
from compress.recipe.mistakes import words
from compress.rig.rig import ARKIT, Rig
from compress.speech.sources import Clip
from compress.store import (
    atomic_folder,
    atomic_write,
    content_key,
    kept,
    seal,
    stage,
    tool_versions,
)
from compress.students import ARCHITECTURES
from compress.students.facts import StudentFacts, facts_of
from compress.students.finding import KnownStudent, find_student
from compress.students.storing import StudentCard, load_student, save_student
from exporters.errors import ContractError

if TYPE_CHECKING:
    from compress.distill.distilling import Material, TrainingLog
    from compress.recipe.recipe import StudentSettings
    from compress.students.contract import Plan, Student

FORMAT = 5
# Of a student, which is to be small: forty times as many as the largest that ships has.
MOST_PARAMETERS = 100_000_000
LOG = "distilled.jsonl"
# What a student's settings say about what comes after its training, or stands in a key of its own.
LATER = {"smoothing", "pruning", "quantization", "start"}


@dataclass(frozen=True)
class DistillJob:
    """Everything that a distilled student depends on; `labels_key` stands for the labels.

    `closure_key` is that of what a rig's file or a mesh says of closed lips, `rest_key` that of
    sound that is not speech and its label.
    """

    folder: Path
    logs: Path
    work: Path
    labels_key: str
    settings: "StudentSettings"
    seed: int
    threads: int
    events: Path | None = None
    guide: KnownStudent | None = None
    start: KnownStudent | None = None
    closure_key: str | None = None
    rest_key: str | None = None

    @property
    def key(self) -> str:
        rest = {} if self.rest_key is None else {"rest": self.rest_key}
        return content_key(
            **rest,  # what has none keeps the key that it had before there was any
            format=FORMAT,
            labels=self.labels_key,
            student=self.settings.model_dump(mode="json", exclude=LATER),
            start=self.start.key if self.start else None,
            seed=self.seed,
            threads=self.threads,
            guide=self.guide.key if self.guide else None,
            closure=self.closure_key if self.settings.training.closure_weight else None,
            versions=tool_versions("torch", "numpy", "scipy", "lightning-fabric"),
        )

    @property
    def checkpoints(self) -> Path:
        """Where the training's state is kept while it lasts; of use to this key only."""
        return self.work / self.key


@dataclass(frozen=True)
class Distilled:
    """A student's folder, and its training log: one dict a row, see `distillation.TrainingLog`.

    The log is empty when that of this very training is lost, which is no reason to train again.
    """

    folder: Path
    key: str
    parameters: int
    log: tuple[dict[str, float], ...]


def run(job: DistillJob, labels: Labels, call: Callable[[str], None] | None = None) -> Distilled:
    """The distilled student, trained now or found, or a copy of the one to start from.

    `call` has other processes `join` the training of a key.
    """

    def make() -> "tuple[Student, StudentCard]":
        if job.start is not None:
            return _copied(job, job.start, labels)
        if call is not None:
            call(job.key)
        return _finished(job, labels, *_train(job, labels))

    def write(folder: Path, made: "tuple[Student, StudentCard]") -> None:
        save_student(folder, *made)

    _, card = kept(job.folder, job.key, make, write, load_student)
    if job.checkpoints.exists():
        shutil.rmtree(job.checkpoints)
        for folder in (job.work, job.work.parent):
            if not any(folder.iterdir()):
                folder.rmdir()
    lines = (job.logs / LOG).read_text("utf-8").splitlines() if stage(job.logs, job.key).hit else []
    rows = tuple(json.loads(line) for line in lines)
    return Distilled(job.folder, job.key, card.parameters, rows)


def join(job: DistillJob, labels: Labels) -> None:
    """Take part in a training that another process leads; nothing is written."""
    _train(job, labels)


def _train(job: DistillJob, labels: Labels) -> "tuple[Student, TrainingLog]":
    from compress.distill.distilling import distill
    from compress.students.folding import in_rig_units

    guide = guide_of(job.settings.name, job.guide, labels)
    settings = job.settings
    alone = settings.model_copy(update={"guide": None})  # which is at hand already
    check_students([alone], Path(), len(labels.driven))

    # A partial, not a function in a function: processes of a distributed run must be able to load it.
    units = labels.own_units
    # Limits are of the rig's own units.
    build = partial(_build, settings, len(labels.driven), labels.limits if units.plain else None)
    student, log = distill(
        build,
        material(labels),
        settings.training,
        job.seed,
        job.checkpoints,
        guide=guide,
        events=job.events,
    )
    return in_rig_units(student, units, labels.limits), log


def _finished(
    job: DistillJob, labels: Labels, student: "Student", log: "TrainingLog"
) -> "tuple[Student, StudentCard]":
    """The trained student with its batch norm folded out, and its card; writes its log."""
    from compress.students.folding import fold_batch_norm

    settings = job.settings
    folded = fold_batch_norm(student)
    card = StudentCard(
        name=settings.name,
        architecture=settings.architecture,
        step="distilled",
        controls=labels.controls,
        driven=labels.driven,
        constants=labels.constants,
        parameters=folded.parameters_count,
        labels_key=labels.key,
        training_steps=int(log.rows[-1]["step"]),
        guide=settings.guide,
        scale=labels.scale,
        rests=labels.rests,
        units=labels.units,
    )
    # Seconds are no result, so the log lies outside of the student's folder.
    with atomic_folder(job.logs) as logs:
        atomic_write(logs / LOG, "".join(json.dumps(row) + "\n" for row in log.rows))
        seal(logs, job.key)
    return folded, card


def material(labels: Labels) -> "Material":
    """What a student learns from: the training side, some clips of it set aside to watch.

    In the units that it is trained in. Sound that is not speech is no part of what is watched.
    """
    from compress.distill.distilling import Material
    from compress.distill.watching import set_aside
    from compress.labels.examples import examples
    from compress.labels.rest_examples import rest_examples

    learned, watched = set_aside(labels.side("train"))
    units = labels.own_units
    return Material(
        examples(labels, learned, units),
        examples(labels, watched, units),
        labels.driven,
        units.rig(labels.rig, labels.driven),
        rest_examples(labels, units),
        1.0 if labels.rest is None else labels.rest.most_share,
    )


def guide_of(student: str, guide: KnownStudent | None, labels: Labels) -> "Student | None":
    """The guide, which must have learned the same rig. Raises `ModelError` for another one."""
    if guide is None:
        return None
    return _same_rig(f"The guide of {student}", guide, labels.driven)[0]


def _copied(job: DistillJob, start: KnownStudent, labels: Labels) -> "tuple[Student, StudentCard]":
    """A trained student under the name that it has in this run, with the units of its labels."""
    student, card = _same_rig(f"The start of {job.settings.name}", start, labels.driven)
    card = replace(card, scale=labels.scale, rests=labels.rests, units=labels.units)
    return student, replace(card, name=job.settings.name)


def _same_rig(
    role: str, known: KnownStudent, driven: tuple[str, ...], fewer: bool = False
) -> "tuple[Student, StudentCard]":
    """A known student, which must have learned these controls, or `fewer` of them."""
    student, card = load_student(known.folder)
    if not (set(card.driven) <= set(driven) if fewer else card.driven == driven):
        raise ModelError(
            f"{role} in {known.folder} moves {len(card.driven)} "
            f"controls, {', '.join(card.driven[:3])} …; the teacher of this run moves "
            f"{len(driven)}, {', '.join(driven[:3])} …. It must have learned "
            f"from the same rig."
        )
    return student, card


def check_students(
    students: Sequence["StudentSettings"], base: Path, outputs: int = len(ARKIT)
) -> dict[str, StudentFacts]:
    """The facts of each student, before any pruning; none is given memory for its weights.

    `base` is where the folder of a `start` is looked for. Raises `UsageError` with every plan that
    cannot work or is too large, every layer of which a guide has no counterpart, every layer
    that int8 settings name and the student lacks, and every pruning that cannot reach its budget,
    and `ModelError` for a `start` or a guide that cannot be read.
    """
    from compress.distill.guidance import align

    built: dict[str, Plan] = {}
    mistakes = []
    for settings in students:
        doing = "built"
        try:
            config = built[settings.name] = _shape(settings, base, outputs)
            if (found := facts_of(config).parameters) > MOST_PARAMETERS:
                raise ValueError(
                    f"its shape has {found / 1e6:,.0f} million parameters, expected at most "
                    f"{MOST_PARAMETERS / 1e6:.0f} million"
                )
            doing, training = "guided", settings.training
            guide = _guide_config(settings, base, built)
            if guide is not None and training.feature_weight:
                for layers in training.feature_layers.items():
                    align(config, guide, *layers)
            doing = "made smaller"
            _check_compression(settings, config)
        except ValueError as error:
            mistakes.append(f"Student {settings.name} cannot be {doing}: {error}.")
        except (UsageError, ContractError) as error:
            mistakes.append(f"Student {settings.name} cannot be {doing}: {error}")
    if mistakes:
        raise UsageError("\n".join(mistakes))
    return {name: facts_of(config) for name, config in built.items()}


def _guide_config(
    settings: "StudentSettings", base: Path, built: "Mapping[str, Plan]"
) -> "Plan | None":
    """The shape of a guide, from this recipe or from elsewhere; None where none is known."""
    if settings.guide is None or settings.guided_within:
        return built.get(settings.guide or "")
    found = find_student(f"The guide of {settings.name}", settings.guide, base)
    return load_student(found.folder)[0].config


def check_losses(students: Sequence["StudentSettings"], driven: Sequence[str], rig: Rig) -> None:
    """Raise `UsageError` for every student whose losses these controls cannot have."""
    from compress.distill.losses import require_known

    mistakes = []
    for settings in students:
        try:
            require_known(settings.training, driven, rig)
        except UsageError as error:
            mistakes.append(f"Student {settings.name} cannot be trained: {error}")
    if mistakes:
        raise UsageError("\n".join(mistakes))


def check_others(
    students: Sequence["StudentSettings"], base: Path, controls: tuple[str, ...]
) -> None:
    """Raise `ModelError` for a start or a guide from elsewhere that knows other controls than these."""
    for settings in students:
        outside = None if settings.guided_within else settings.guide
        for role, name in (("start", settings.start), ("guide", outside)):
            if name is not None:
                title = f"The {role} of {settings.name}"
                _same_rig(title, find_student(title, name, base), controls, fewer=True)


def check_speech(
    students: Sequence["StudentSettings"], clips: Sequence[Clip], rest: Sequence[Clip] = ()
) -> None:
    """Raise `AudioError` where clips, not yet labelled, are too short or too few to train on.

    As drawing stretches of them would, if every clip gets its labels. `rest` is not speech.
    """
    from compress.distill.sampling import Sampler
    from compress.distill.stretches import require_long_enough
    from compress.distill.watching import set_aside

    hops = [hops_of(clip.samples) for clip in set_aside(clips)[0]]
    for settings in students:
        training = settings.training
        require_long_enough(max(hops, default=0), training.frames)
        if rest:
            longest = max(hops_of(clip.samples) for clip in rest)
            require_long_enough(longest, training.frames, "clip of speech.rest")
        long_enough = [length for length in hops if length >= training.frames]
        # The seed orders clips, and has no part in how they are shared.
        Sampler(long_enough, training.frames, training.batch, 0).slots(0, training.devices)


def check_labels(jobs: Sequence[DistillJob], base: Path, labels: Labels) -> None:
    """Raise what a training on these labels would, for each of them, before the first one.

    What the students share with the labels is known by now: which controls move.
    """
    settings = [job.settings for job in jobs]
    check_students(settings, base, len(labels.driven))
    check_losses(settings, labels.driven, labels.rig)
    for job in jobs:
        if job.start is not None:
            _same_rig(f"The start of {job.settings.name}", job.start, labels.driven)
        if job.guide is not None and not job.settings.guided_within:
            _same_rig(f"The guide of {job.settings.name}", job.guide, labels.driven)


def _shape(settings: "StudentSettings", base: Path, outputs: int) -> "Plan":
    if settings.start is not None:
        role = f"The start of {settings.name}"
        start = find_student(role, settings.start, base)
        if start.step == "int8" and (settings.pruning or settings.quantization):
            raise ModelError(
                f"{role} in {start.folder} is an int8 student, whose weights are rounded already. "
                f"Expected a float one, such as RUN/students/small/distilled, or neither pruning "
                f"nor quantization."
            )
        return load_student(start.folder)[0].config
    import torch

    with torch.device("meta"):
        return _build(settings, outputs, None).config


def _check_compression(settings: "StudentSettings", config: "Plan") -> None:
    pruning, integers = settings.pruning, settings.quantization
    if pruning is not None:
        from compress.prune.allocation import require_reachable

        require_reachable(config, pruning.of, pruning.remove, pruning.allocation, pruning.multiple)
    if integers is not None and integers.keep_float != "auto":
        layers, named = set(config.layer_names), {*integers.keep_float, *integers.float_activations}
        if unknown := sorted(named - layers):
            raise UsageError(
                f"quantization names {words(unknown)}, which it lacks. Its layers are "
                f"{words(config.layer_names)}."
            )
        if layers <= set(integers.keep_float):
            raise UsageError(
                "quantization.keep_float names all its layers, so that nothing would be int8. "
                "Leave some out, or leave out quantization."
            )


def _build(
    settings: "StudentSettings", outputs: int, limits: tuple[float, float] | None
) -> "Student":
    """An untrained student."""
    return ARCHITECTURES.load(settings.architecture).build(settings, outputs, limits)
