"""What a run will do: keys that follow what they should, and nothing else."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from compress.errors import UsageError
from compress.recipe.recipe import load_recipe
from compress.rig.rig_file import read_rig
from compress.run.jobs import STAGES, Inputs, Plan
from compress.run.planning import find_inputs, plan
from compress.speech.alignments import Alignment
from compress.speech.visemes import segments_of
from compress.store import seal

Keys = dict[str, str]


def keys(planned: Plan) -> Keys:
    return {f"{stage} {what}".strip(): key for stage, what, _, key in planned.steps()}


@pytest.fixture
def keys_of(workshop: Path, finished: Path) -> Callable[..., Keys]:
    """Keys of the finished run's steps, with some settings changed."""

    def of(*sets: str, inputs: Inputs | None = None) -> Keys:
        recipe = load_recipe(workshop / "recipe.yaml", sets)
        return keys(plan(recipe, inputs or find_inputs(recipe), finished))

    return of


@pytest.fixture
def keys_of_shrinking(workshop: Path, tmp_path: Path) -> Callable[..., Keys]:
    """Keys of a recipe that prunes and quantizes, with some settings changed; nothing is made."""

    def of(*sets: str, inputs: Inputs | None = None) -> Keys:
        recipe = load_recipe(workshop / "shrinking.yaml", sets)
        return keys(plan(recipe, inputs or find_inputs(recipe), tmp_path))

    return of


def changed(one: Keys, other: Keys) -> list[str]:
    assert one.keys() == other.keys()
    return [step for step in one if one[step] != other[step]]


EXPORTED = [
    *("export small-fp32", "verify small-fp32 onnx", "benchmark small-fp32 onnx"),
    "report",
]
JUDGED = [*EXPORTED[:-1], "verify small distilled", "report"]


# What asks for figures alone: no file is made again.
JUDGED_ANEW = ["verify small-fp32 onnx", "verify small distilled", "verify baselines"]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("description=other", ["report"]),
        ("gates.min_r2=0.5", ["report"]),
        ("gates.targets={onnx: {max_bytes: 9000000}}", ["report"]),
        ("export.license=CC0-1.0", ["report"]),
        ("report.clips=2", ["report clips", "report"]),
        ("labels.max_missing_share=0.5", ["report"]),
        ("speech.kinds={known: ['en/*']}", [*JUDGED_ANEW, "report clips", "report"]),
        ("speech.timeout_s=9", []),
        ("parity.max_lag_ms=9", ["verify small-fp32 onnx", "report"]),
        ("parity.fp16_max_abs=0.01", ["verify small-fp32 onnx", "report"]),
        ("parity.max_abs=2e-5", EXPORTED),  # the golden windows hold it
        ("export.onnx.opset=19", EXPORTED),
        ("students.0.smoothing=[1, 1, 1]", JUDGED),  # the client does it: nothing is trained
        ("students.0.training.steps=7", ["distill small", *JUDGED]),
        ("seed=8", ["distill small", *JUDGED]),
        ("labels.shard_s=5", "all but the teacher's cost and its rest pose"),
        ("teacher.max_chunk_s=20", "all"),
        ("threads=2", "all but the teacher's cost"),  # it is timed with one
    ],
)
def test_a_setting_changes_what_depends_on_it(
    keys_of: Callable[..., Keys], setting: str, expected: list[str] | str
) -> None:
    before = keys_of()
    if isinstance(expected, str):
        spared = {"benchmark teacher"} if "but" in expected else set()
        spared |= {"label rest pose"} if "rest pose" in expected else set()
        expected = [step for step in before if step not in spared]
    assert changed(before, keys_of(setting)) == expected


FILES = [
    f"{stage} small-{precision}{target}"
    for precision in ("fp32", "int8")
    for stage, target in (("export", ""), ("verify", " onnx"), ("benchmark", " onnx"))
]


def files_of(made: list[str]) -> list[str]:
    """Steps about files of what was made again; of all where nothing was but the client's part."""
    return [row for row in FILES if made != ["quantize"] or "int8" in row]


STEPS = ("small distilled", "small pruned", "small int8")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("quantization.seed=1", ["quantize"]),
        ("quantization.gate.mse=1.5", ["quantize"]),
        ("pruning.remove=0.3", ["prune", "quantize"]),
        ("pruning.recovery_steps=4", ["prune", "quantize"]),
        ("smoothing=[1, 1, 1]", []),  # the client's, not the weights'
        ("training.ema=0.5", ["distill", "prune", "quantize"]),
    ],
)
def test_what_makes_a_student_smaller_redoes_what_follows_from_it(
    keys_of_shrinking: Callable[..., Keys], setting: str, expected: list[str]
) -> None:
    """All files, where the weights are others or the client does something else with them."""
    after = keys_of_shrinking(f"students.0.{setting}")
    steps = {"distill": "distilled", "prune": "pruned", "quantize": "int8"}
    made, judged = (
        [f"{stage} small" for stage in expected],
        [f"verify small {steps[stage]}" for stage in expected or steps],
    )
    assert changed(keys_of_shrinking(), after) == [*made, *files_of(expected), *judged, "report"]


def test_an_alignment_changes_what_choices_are_made_by(
    keys_of_shrinking: Callable[..., Keys], workshop: Path
) -> None:
    found = find_inputs(load_recipe(workshop / "shrinking.yaml"))
    phones = (("P", 0.1, 0.2),)
    known = {"0": Alignment("pub", phones, tuple(segments_of(phones)))}
    aligned = Inputs(found.teacher, found.speech, known)
    judged = [f"verify {what}" for what in (*STEPS, "baselines")]
    expected = ["prune small", "quantize small", *FILES, *judged, "report clips", "report"]
    assert changed(keys_of_shrinking(), keys_of_shrinking(inputs=aligned)) == expected


def test_who_speaks_is_asked_by_those_who_judge_and_by_nobody_who_chooses(
    keys_of_shrinking: Callable[..., Keys], workshop: Path
) -> None:
    found = find_inputs(load_recipe(workshop / "shrinking.yaml"))
    phones = (("P", 0.1, 0.2),)
    known = Alignment("pub", phones, tuple(segments_of(phones)))
    keys_of_two = [
        keys_of_shrinking(inputs=Inputs(found.teacher, found.speech, {"0": one}))
        for one in (known, replace(known, voice="af_heart"))
    ]
    judged = [f"verify {what}" for what in (*STEPS, "baselines")]
    files = [row for row in FILES if row.startswith("verify")]
    assert changed(*keys_of_two) == [*files, *judged, "report clips", "report"]


def test_each_tier_is_of_the_student_as_it_was_made_last(workshop: Path, tmp_path: Path) -> None:
    def sources(*sets: str) -> dict[str, str]:
        recipe = load_recipe(workshop / "shrinking.yaml", sets)
        (jobs,) = plan(recipe, find_inputs(recipe), tmp_path).students
        return {tier.name: tier.export.student_folder.name for tier in jobs.tiers} | {
            job.step: job.source.folder.name for job in (jobs.prune, jobs.quantize) if job
        }

    assert sources() == {
        "small-fp32": "pruned",
        "small-int8": "int8",
        "pruned": "distilled",
        "int8": "pruned",
    }
    assert sources("students.0.pruning=") == {
        "small-fp32": "distilled",
        "small-int8": "int8",
        "int8": "distilled",
    }
    assert sources("students.0.quantization=") == {"small-fp32": "pruned", "pruned": "distilled"}


def test_an_alignment_changes_what_is_judged(keys_of: Callable[..., Keys], workshop: Path) -> None:
    found = find_inputs(load_recipe(workshop / "recipe.yaml"))
    phones = (("P", 0.1, 0.2),)
    known = {"100": Alignment("pub", phones, tuple(segments_of(phones)))}
    aligned = Inputs(found.teacher, found.speech, known)
    expected = [
        *("verify small-fp32 onnx", "verify small distilled", "verify baselines"),
        *("report clips", "report"),
    ]
    assert changed(keys_of(), keys_of(inputs=aligned)) == expected


def test_a_changed_file_changes_its_checks(workshop: Path, run: Path) -> None:
    recipe = load_recipe(workshop / "recipe.yaml")
    planned = plan(recipe, find_inputs(recipe), run)
    before = keys(planned)
    model = run / "models" / "small-fp32" / "model.onnx"
    model.write_bytes(model.read_bytes()[::-1])
    expected = [
        "verify small-fp32 onnx",
        "benchmark small-fp32 onnx",
        "benchmark teacher",
        "report clips",
        "report",
    ]
    assert changed(before, keys(planned)) == expected
    assert to_do(planned) == expected


def to_do(planned: Plan) -> list[str]:
    return [
        f"{stage} {what}".strip() for stage, what, reason in planned.outlook("report") if reason
    ]


def test_what_goes_by_files_is_to_do_when_they_are_exported_again(
    workshop: Path, run: Path
) -> None:
    """The files of today are there still, and their hashes alone would call these done."""
    recipe = load_recipe(workshop / "recipe.yaml", ["students.0.training.steps=7"])
    assert {"benchmark teacher", "report clips"} < set(
        to_do(plan(recipe, find_inputs(recipe), run))
    )


def test_labels_with_more_missing_than_allowed_are_to_do(workshop: Path, run: Path) -> None:
    index = run / "labels" / "index.json"
    fields = json.loads(index.read_text())
    fields["missing"] = [{"id": "gone", "reason": "it was not there"}]
    index.write_text(json.dumps(fields))
    recipe = load_recipe(workshop / "recipe.yaml", ["labels.max_missing_share=0.5"])
    planned = plan(recipe, find_inputs(recipe), run)
    seal(run / "labels", planned.label.key)
    assert to_do(planned) == ["report"]  # an edited recipe
    strict = load_recipe(workshop / "recipe.yaml", ["labels.max_missing_share=0.01"])
    rows = plan(strict, find_inputs(strict), run).outlook("label")
    assert rows == [
        ("label", "", "1 clips have no labels, more than labels.max_missing_share allows"),
        ("label", "rest pose", ""),
    ]


@pytest.mark.parametrize(
    ("module", "number", "expected"),
    [
        ("compress.labels.making", "FORMAT", {"label"}),
        ("compress.labels.rest_stage", "FORMAT", {"label rest pose"}),
        ("compress.distill.stage", "FORMAT", {"distill small"}),
        ("compress.distill.shrinking", "FORMAT", {"prune small", "quantize small"}),
        ("compress.export.stage", "FORMAT", {row for row in FILES if "export" in row}),
        ("compress.prove.verify_stage", "FORMAT", {row for row in FILES if "verify" in row}),
        ("compress.prove.verify_stage", "BENCHMARK_FORMAT", {r for r in FILES if "benchmark" in r}),
        (
            "compress.prove.source_stage",
            "FORMAT",
            {f"verify {what}" for what in (*STEPS, "baselines")},
        ),
        ("compress.prove.cost_stage", "FORMAT", {"benchmark teacher"}),
        ("compress.report.clips", "FORMAT", {"report clips"}),
        ("compress.run.jobs", "REPORT_FORMAT", {"report"}),
    ],
)
def test_every_key_has_a_format_number(
    keys_of_shrinking: Callable[..., Keys],
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    number: str,
    expected: set[str],
) -> None:
    """The results of another version of lipstill are made again and not read."""
    before = keys_of_shrinking()
    monkeypatch.setattr(f"{module}.{number}", 1_000_000)
    assert expected <= set(changed(before, keys_of_shrinking()))


def test_every_step_is_among_those_whose_format_is_tested(
    keys_of_shrinking: Callable[..., Keys],
) -> None:
    (parameters,) = [
        mark.args[1]
        for mark in test_every_key_has_a_format_number.pytestmark  # type: ignore[attr-defined]
    ]
    assert set().union(*(row[2] for row in parameters)) == keys_of_shrinking().keys()


def test_keys_do_not_depend_on_where_things_lie(
    keys_of: Callable[..., Keys], own: Path, run: Path
) -> None:
    recipe = load_recipe(own / "recipe.yaml")
    assert changed(keys_of(), keys(plan(recipe, find_inputs(recipe), run))) == []


def test_some_students_only(workshop: Path, tmp_path: Path) -> None:
    recipe = load_recipe(workshop / "recipe.yaml")
    inputs = find_inputs(recipe)
    one = plan(recipe, inputs, tmp_path, ["small", "small"])
    assert [jobs.name for jobs in one.students] == ["small"]
    with pytest.raises(UsageError, match="no student large, tall; it has small"):
        plan(recipe, inputs, tmp_path, ["large", "small", "tall"])


def test_stages_are_those_that_steps_name(workshop: Path, tmp_path: Path) -> None:
    recipe = load_recipe(workshop / "shrinking.yaml")
    steps = [step[0] for step in plan(recipe, find_inputs(recipe), tmp_path).steps()]
    assert set(steps) == set(STAGES)


def test_only_empty_folders_and_runs_are_written(workshop: Path, tmp_path: Path) -> None:
    recipe = load_recipe(workshop / "recipe.yaml")
    inputs = find_inputs(recipe)
    (tmp_path / ".lock").touch()  # of a run killed at its very start
    plan(recipe, inputs, tmp_path)
    (tmp_path / "letter.txt").touch()
    with pytest.raises(UsageError, match="no run of lipstill"):
        plan(recipe, inputs, tmp_path)
    (tmp_path / "run.json").touch()
    plan(recipe, inputs, tmp_path)


def test_what_starts_from_a_student_is_called_so_in_the_chain(
    workshop: Path, tmp_path: Path
) -> None:
    short = tmp_path / "short.yaml"
    short.write_text(
        f"name: short\nteacher: {{checkpoint: {workshop / 'teacher'}}}\n"
        f"speech: {{train: [{workshop / 'speech'}]}}\nstudents: [{{name: small}}]\n"
    )

    def steps(*sets: str) -> dict[str, str]:
        recipe = load_recipe(short, sets)
        (student,) = plan(recipe, find_inputs(recipe), tmp_path / "run").students
        return {tier.name: tier.step for tier in student.tiers}

    in_float = ("small-fp32", "small-fp16")
    assert steps() == dict.fromkeys(in_float, "distilled")
    assert steps("students.0.start=builtin:tiny") == dict.fromkeys(in_float, "start")
    assert steps("students.0.start=builtin:tiny-int8") == {"small-int8": "start"}
    with pytest.raises(UsageError, match=r"can be had in int8\. Add one of these to"):
        steps("students.0.start=builtin:tiny-int8", "export.precisions=[fp32, fp16]")
    with pytest.raises(UsageError, match=r"can be had in fp32, fp16.* or a quantization"):
        steps("export.precisions=[int8]")


def test_a_rig_file_changes_what_goes_by_what_it_says(
    keys_of_shrinking: Callable[..., Keys], workshop: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """When lips are closed is a part of choices, and of training that weighs closures; names for
    people are only shown.
    """
    found = find_inputs(load_recipe(workshop / "shrinking.yaml"))
    path = tmp_path_factory.mktemp("rig") / "rig.yaml"

    def keys_with(lips: float, label: str, *sets: str) -> Keys:
        path.write_text(
            f"name: slider\nlips_closed: {{weights: {{jawOpen: 1.0}}, below: {lips}}}\n"
            f"labels: {{jawOpen: {label}}}\n"
        )
        inputs = Inputs(found.teacher, found.speech, {}, read_rig(path))
        return keys_of_shrinking(*sets, inputs=inputs)

    judged = [*(f"verify {what}" for what in (*STEPS, "baselines")), "report clips", "report"]
    assert changed(keys_with(0.1, "Jaw"), keys_with(0.1, "Mouth")) == [
        *[row for row in FILES if row.startswith("verify")],
        *judged,
    ]
    after = changed(keys_with(0.1, "Jaw"), keys_with(0.2, "Jaw"))
    assert after == ["prune small", "quantize small", *FILES, *judged]
    weighs = "students.0.training.closure_weight=0.5"
    after = changed(keys_with(0.1, "Jaw", weighs), keys_with(0.2, "Jaw", weighs))
    assert after[0] == "distill small"
