"""Training and judging one row with one seed; the result is a small JSON file, made once."""

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compress.assets import resolve
from compress.distill.distilling import Material, distill
from compress.labels import stage as labelling
from compress.labels.examples import Example, examples
from compress.labels.rest_examples import rest_examples
from compress.labels.store import LabelledClip, Labels, audio_of
from compress.recipe.recipe import Recipe, StudentSettings, load_recipe
from compress.rig.rig import ARKIT
from compress.run.planning import find_inputs, plan
from compress.speech import visemes
from compress.speech.alignments import Alignment
from compress.speech.audio import HOP, SAMPLE_RATE
from compress.speech.split import prompt_id, watched
from compress.store import atomic_write
from compress.students.conv_fc import build
from compress.students.folding import fold_batch_norm
from compress.students.storing import StudentCard, load_student, save_student
from recipes.ablation.judging import judged, speech_groups, teacher_judged
from recipes.ablation.options import Heard, Paths
from recipes.ablation.rows import Row

BASE = Path(__file__).with_name("base.yaml")


@dataclass(frozen=True)
class Bench:
    """What all rows share: the base recipe, labelled speech, alignments, and the guide's folder."""

    recipe: Recipe
    labels: Labels
    alignments: dict[str, Alignment]
    guide: Path
    folder: Path

    def result(self, row: Row, seed: int) -> Path:
        return self.folder / "results" / f"{row.id}-{seed}.json"


@cache
def open_bench(folder: Path, speech: Paths, rest: Paths, guide: str) -> Bench:
    """Everything that the rows share; the teacher labels the speech when it has not yet."""
    sources = {"train": speech, "rest": rest}
    recipe = load_recipe(BASE, [f"speech.{k}=[{', '.join(v)}]" for k, v in sources.items()])
    inputs = find_inputs(recipe)
    labels = labelling.run(plan(recipe, inputs, folder / "run").label)
    return Bench(recipe, labels, inputs.alignments, resolve(guide, Path.cwd()), folder)


def run_rows(
    folder: Path, where: Heard, guide: str, rows: Sequence[Row], jobs: int
) -> Iterator[str]:
    """Trains and judges rows side by side; gives the name of each that is done."""
    shared = (folder.absolute(), *where, guide)
    open_bench(*shared)  # labels once, before the workers start
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as workers:
        running = [workers.submit(run_in, *shared, row, seed) for row in rows for seed in row.seeds]
        for job in running:
            yield job.result()


def run_in(folder: Path, speech: Paths, rest: Paths, guide: str, row: Row, seed: int) -> str:
    run_row(open_bench(folder, speech, rest, guide), row, seed)
    return f"{row.id}, seed {seed}"


def run_row(bench: Bench, row: Row, seed: int) -> dict[str, Any]:
    """The result of a row and seed, made now or found; a killed training goes on from its checkpoint."""
    path = bench.result(row, seed)
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return found
    torch.set_num_threads(1)  # two rows side by side are faster than one row on two threads
    if row.student == "teacher":
        result = {"groups": teacher_judged(speech_groups(bench.labels, bench.alignments))}
    else:
        result = _trained(bench, row, seed) if row.trained else _reference(bench, row)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, json.dumps({"row": row.id, "seed": seed, **result}) + "\n")
    return result


def _reference(bench: Bench, row: Row) -> dict[str, Any]:
    student, card = load_student(resolve(row.student, Path()))
    name = row.student.removeprefix("builtin:")
    settings = next(s for s in load_recipe("reference").students if s.name == name)
    log = (resolve(row.student, Path()) / "training-log.jsonl").read_text("utf-8").splitlines()
    minutes = json.loads(log[-1])["seconds"] / 60
    return _facts(settings, card.parameters, card.training_steps, minutes) | {
        "groups": judged(student, settings.smoothing, speech_groups(bench.labels, bench.alignments))
    }


def _trained(bench: Bench, row: Row, seed: int) -> dict[str, Any]:
    base = next(s for s in bench.recipe.students if s.name == row.student)
    settings = _with(base, row.settings)
    guide = load_student(bench.guide)[0] if row.guided else None
    labels, began = bench.labels, time.monotonic()

    student, log = distill(
        lambda: build(settings, len(labels.driven), labels.limits),
        material(bench, row),
        settings.training,
        seed,
        bench.folder / "work" / f"{row.id}-{seed}",
        guide=guide,
    )
    folded = fold_batch_norm(student)
    card = StudentCard(
        settings.name,
        settings.architecture,
        "distilled",
        labels.controls,
        labels.driven,
        labels.constants,
        folded.parameters_count,
        labels.key,
        settings.training.steps,
    )
    save_student(bench.folder / "students" / f"{row.id}-{seed}", folded, card)
    groups = speech_groups(labels, bench.alignments)
    facts = _facts(settings, folded.parameters_count, settings.training.steps, log.seconds / 60)
    print(f"{row.id}-{seed}: {log.rows[-1]}, {time.monotonic() - began:.0f} s", flush=True)
    return facts | {"log": log.rows, "groups": judged(folded, settings.smoothing, groups)}


def _with(base: StudentSettings, changes: dict[str, Any]) -> StudentSettings:
    """A student with other training settings, checked as a recipe's are."""
    fields = base.model_dump(mode="json")
    training = fields["training"] | {k: v for k, v in changes.items() if k != "augmentation"}
    training["augmentation"] |= changes.get("augmentation", {})
    return StudentSettings.model_validate_json(json.dumps(fields | {"training": training}))


def _facts(
    settings: StudentSettings, parameters: int, steps: int, minutes: float
) -> dict[str, Any]:
    return {
        "parameters": parameters,
        "past_ms": settings.past_ms,
        "future_ms": settings.future_ms,
        "smoothing": list(settings.smoothing),
        "steps": steps,
        "minutes": minutes,
    }


def material(bench: Bench, row: Row) -> Material:
    """A row's speech with the labels that it learns, a share of it set aside to watch."""
    labels = bench.labels
    clips = [clip for clip in labels.side("train") if row.hears(clip.id)]
    if row.labels == "rules":
        clips = [clip for clip in clips if clip.id in bench.alignments]
    aside = [clip for clip in clips if watched(prompt_id(clip.id))]
    heard = [clip for clip in clips if not watched(prompt_id(clip.id))]
    if row.minutes is not None:
        heard = _first(heard, row.minutes)
    make = _by_rules if row.labels == "rules" else _by_teacher
    rest = labels.rest
    return Material(
        make(bench, heard),
        make(bench, aside),
        labels.driven,
        rest=rest_examples(labels),
        most_rest=0.0 if rest is None else rest.most_share,
    )


def _first(clips: Sequence[LabelledClip], minutes: float) -> list[LabelledClip]:
    """The first so many minutes of clips whose names begin with a number, in its order."""
    in_order = sorted(clips, key=lambda clip: (clip.id.rsplit("/", 1)[1], clip.id))
    ends = np.cumsum([clip.hops * HOP / SAMPLE_RATE / 60 for clip in in_order])
    return in_order[: 1 + int(np.searchsorted(ends, minutes))]


def _by_teacher(bench: Bench, clips: Sequence[LabelledClip]) -> Sequence[Example]:
    return examples(bench.labels, clips)


def _by_rules(bench: Bench, clips: Sequence[LabelledClip]) -> list[Example]:
    """Rule-based curves of aligned clips on the hop grid: what there is without a teacher."""
    columns = [ARKIT.index(name) for name in bench.labels.driven]
    found = []
    for clip in clips:
        samples = audio_of(bench.labels, clip)
        segments = bench.alignments[clip.id].segments
        curves = visemes.curves(segments, len(samples) / SAMPLE_RATE, SAMPLE_RATE / HOP, samples)
        found.append(Example(samples, np.ascontiguousarray(curves[: clip.hops, columns])))
    return found
