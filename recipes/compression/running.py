"""One row: cut, recover, calibrate, train with rounding; after each step a file, and what it scores."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from compress.assets import resolve
from compress.examples import examples
from compress.pruning_rounds import Lesson, cut, prune_in_rounds
from compress.quantizing import quantize
from compress.recipe import StudentSettings, load_recipe
from compress.split import prompt_id, watched
from compress.stages.exporting import signature_of, window_form
from compress.store import atomic_write, tool_versions
from compress.students.conv_fc import ConvFC
from compress.students.facts import facts_of
from compress.students.storing import StudentCard, load_student, save_student
from compress.watching import choose
from exporters.signature import Precision
from exporters.targets import load_target
from recipes.ablation.judging import GROUPS, QUIET, speech_groups
from recipes.ablation.options import Heard
from recipes.ablation.rows import Row as AblationRow
from recipes.ablation.running import Bench, material, open_bench
from recipes.compression.judging import judged
from recipes.compression.rows import Row

# What the tables of docs/results.md show, and what cards do besides.
JUDGED = ("english", "synthetic", QUIET)
NATURAL = "natural"


def run_in(bench: Path, sources: Heard, folder: Path, row: Row, methods: tuple[str, ...]) -> str:
    torch.set_num_threads(1)
    run_row(open_bench(bench, *sources, "builtin:small"), folder, row, methods)
    return row.id


def run_row(bench: Bench, folder: Path, row: Row, methods: Sequence[str]) -> None:
    """Each step's student and result, made now or found; int8 by the `methods`, ptq or qat."""
    settings = next(s for s in load_recipe("reference").students if s.name == row.student)
    student, card = load_student(resolve(f"builtin:{row.student}", Path()))
    lesson = lesson_of(bench, settings)
    judged_on = (*JUDGED, NATURAL)
    everything = speech_groups(bench.labels, bench.alignments)
    assert set(judged_on) <= set(everything), GROUPS
    groups = {name: everything[name] for name in judged_on}
    place = folder / row.id

    def step(name: str, make: Callable[[], tuple[ConvFC, StudentCard, dict[str, Any]]]) -> ConvFC:
        here = place / name
        if not (here / "result.json").exists():
            began = time.monotonic()
            made, own_card, record = make()
            minutes = (time.monotonic() - began) / 60
            save_student(here, made, replace(own_card, parameters=made.parameters_count))
            file = export(here, settings)
            result = {
                "row": row.id,
                "step": name,
                "minutes": minutes,
                "bytes": file.stat().st_size,
                "facts": facts_of(made.config).to_json(),
                "record": record,
                "groups": judged(file, groups),
            }
            atomic_write(here / "result.json", json.dumps(result) + "\n")
            print(f"{row.id} {name}: {minutes:.1f} min, {file.stat().st_size:,} bytes", flush=True)
        return load_student(here)[0]

    student = step("fp32", lambda: (student, card, {}))
    pruning = row.pruning_settings
    if pruning is not None:
        whole = student
        step("cut", lambda: (cut(whole, lesson, pruning, pruning.remove), card, {}))

        def recovered() -> tuple[ConvFC, StudentCard, dict[str, Any]]:
            made, record = prune_in_rounds(whole, card, lesson, pruning, place / "work")
            return made, card, record.to_json()

        student = step("recovered", recovered)
    integers = row.quantization_settings
    for method in methods:
        own = integers.model_copy(update={"method": method})

        def quantized(own: Any = own, source: ConvFC = student) -> Any:
            made, codes, record = quantize(source, lesson, own, place / "work" / own.method)
            return made, replace(card, step="int8", quantization=codes), record.to_json()

        step(method, quantized)


def lesson_of(bench: Bench, settings: StudentSettings) -> Lesson:
    """What a reference student was taught by."""
    labels = bench.labels
    everything = AblationRow("", "", settings.name)
    aside = [clip for clip in labels.side("train") if watched(prompt_id(clip.id))]
    chosen = choose(aside, examples(labels, aside), bench.alignments, labels.driven)
    guide = load_student(bench.guide)[0] if settings.guide else None
    return Lesson(material(bench, everything), chosen, settings.training, bench.recipe.seed, guide)


def export(folder: Path, settings: StudentSettings, target: str = "onnx") -> Path:
    """The file of the student in a folder for a target, without a recipe's hash."""
    module, student, card = window_form(folder)
    precision: Precision = "fp32" if card.quantization is None else "int8"
    signature = replace(
        signature_of(student, card, precision, settings.smoothing),
        teacher="builtin:voice2face-demo",
        tool_versions={k: v or "" for k, v in tool_versions("torch", "torchao", target).items()},
    )
    made = load_target(target)
    return made.export(module, signature, folder / f"model{made.SUFFIX}").path
