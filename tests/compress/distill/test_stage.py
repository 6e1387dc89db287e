"""Stage distill: found or made, with its guide, and refused early."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from compress.distill import stage as training
from compress.errors import InputError, ModelError, UsageError
from compress.labels import stage as labelling
from compress.labels.store import Labels
from compress.recipe.recipe import StudentSettings, load_recipe
from compress.run.jobs import Plan
from compress.run.planning import find_inputs, plan
from compress.speech.split import watched
from compress.students.finding import find_student
from compress.students.storing import load_student


@pytest.fixture
def planned(workshop: Path, run: Path) -> Plan:
    recipe = load_recipe(workshop / "recipe.yaml")
    return plan(recipe, find_inputs(recipe), run)


@pytest.fixture
def made(planned: Plan) -> Labels:
    return labelling.run(planned.label)


def test_a_student_that_is_there_is_found(planned: Plan, made: Labels) -> None:
    job = planned.students[0].distill
    found = training.run(job, made)
    assert (found.folder, found.key) == (job.folder, job.key)
    assert [row["step"] for row in found.log][-1] == 6


def test_the_log_of_another_training_is_not_shown(planned: Plan, made: Labels) -> None:
    job = planned.students[0].distill
    record = json.loads((job.logs / "stage.json").read_text())
    (job.logs / "stage.json").write_text(json.dumps(record | {"key": "other"}))
    assert training.run(job, made).log == ()


def test_its_checkpoints_go_when_the_student_is_there(planned: Plan, made: Labels) -> None:
    """Those of other settings stay: somebody may want to go on from them."""
    job = planned.students[0].distill
    job.checkpoints.mkdir(parents=True)
    (job.work / "other-key").mkdir()
    training.run(job, made)
    assert [path.name for path in job.work.iterdir()] == ["other-key"]
    (job.work / "other-key").rmdir()
    job.checkpoints.mkdir()
    training.run(job, made)
    assert not job.work.parent.exists()


def test_other_settings_are_another_student(planned: Plan, made: Labels, tmp_path: Path) -> None:
    job = planned.students[0].distill
    fewer = job.settings.training.model_copy(update={"steps": 3})
    other = replace(
        job,
        folder=tmp_path / "distilled",
        logs=tmp_path / "logs",
        work=tmp_path / "work" / "small",
        settings=job.settings.model_copy(update={"training": fewer}),
    )
    assert other.key != job.key
    trained = training.run(other, made)
    assert [row["step"] for row in trained.log][-1] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["distilled", "logs", "run"]
    assert json.loads((tmp_path / "distilled" / "student.json").read_text())["step"] == "distilled"


# ------------------------------------------------------------------------------------------------
# guides


@pytest.fixture
def guided(own: Path, tmp_path: Path) -> Callable[..., Plan]:
    """Plans of a recipe with small, middle that it guides, and tiny that middle guides."""
    tree = yaml.safe_load((own / "recipe.yaml").read_text())
    (small,) = tree["students"]
    learning = small["training"] | {"feature_layers": {"conv1": "conv1", "head2": "head2"}}
    middle = small | {"name": "middle", "guide": "small", "past_ms": 20, "training": learning}
    tiny = middle | {"name": "tiny", "guide": "middle", "width": 0.5}
    tree["students"] = [small, middle, tiny]
    (own / "recipe.yaml").write_text(yaml.safe_dump(tree))

    def planned(*students: str, sets: tuple[str, ...] = ()) -> Plan:
        recipe = load_recipe(own / "recipe.yaml", sets)
        return plan(recipe, find_inputs(recipe), tmp_path / "guided", students)

    return planned


def distill_keys(planned: Plan) -> dict[str, str]:
    return {job.settings.name: job.key for job in planned.distills}


def test_what_changes_a_guide_changes_those_that_it_guides(guided: Callable[..., Plan]) -> None:
    before = distill_keys(guided())
    for setting, expected in (
        ("students.0.training.ema=0.5", ["small", "middle", "tiny"]),
        ("students.1.training.ema=0.5", ["middle", "tiny"]),
        ("students.2.training.ema=0.5", ["tiny"]),
        ("students.2.guide=small", ["tiny"]),
        ("students.2.guide=", ["tiny"]),
        ("students.0.smoothing=[1, 1, 1]", []),  # the client's, not the weights'
    ):
        after = distill_keys(guided(sets=(setting,)))
        assert [name for name in after if after[name] != before[name]] == expected, setting


def test_a_student_asked_for_alone_has_its_guides_trained_first(
    guided: Callable[..., Plan],
) -> None:
    alone = guided("tiny")
    assert [job.settings.name for job in alone.distills] == ["small", "middle", "tiny"]
    assert [student.name for student in alone.students] == ["tiny"]
    assert distill_keys(alone) == distill_keys(guided()), "the same students, shown or not"
    steps = [(step, what) for step, what, _, _ in alone.steps()]
    assert [what for step, what in steps if step == "distill"] == ["small", "middle", "tiny"]
    assert [what for step, what in steps if step == "export"] == ["tiny-fp32"]
    with_one = guided("small", "tiny")
    assert [job.settings.name for job in with_one.distills] == ["small", "middle", "tiny"]
    assert [job.settings.name for job in guided("small").distills] == ["small"]


def test_a_run_of_a_student_alone_trains_its_guides_too(
    guided: Callable[..., Plan], own: Path, cli: Callable[..., Any]
) -> None:
    folder = guided().folder
    asked = ("compress", own / "recipe.yaml", "--out", folder, "--until", "distill")
    ended = cli(*asked, "--student", "middle")
    assert ended.code == 0, ended.err
    assert sorted(path.name for path in (folder / "students").iterdir()) == ["middle", "small"]
    before = {path: path.stat().st_mtime_ns for path in (folder / "students").rglob("*.*")}
    assert cli(*asked).code == 0
    assert (folder / "students" / "tiny" / "distilled" / "weights.safetensors").exists()
    assert {path: path.stat().st_mtime_ns for path in before} == before, "nothing is made twice"


def test_guides_come_first_in_whatever_order_students_are_asked_for(
    guided: Callable[..., Plan],
) -> None:
    asked = guided("tiny", "middle", "small")
    assert [student.name for student in asked.students] == ["small", "middle", "tiny"]


def test_a_guided_student_is_trained_and_its_projections_are_not_kept(
    guided: Callable[..., Plan],
) -> None:
    planned = guided("tiny")
    labels = labelling.run(planned.label)
    *_, distilled = [training.run(job, labels) for job in planned.distills]
    assert all("feature" in row for row in distilled.log)
    student, card = load_student(distilled.folder)
    assert card.guide == "middle"
    assert load_file(distilled.folder / "weights.safetensors").keys() == student.state_dict().keys()
    # The same training, guided by nobody, ends elsewhere.
    (tiny,) = planned.students
    nobody = replace(tiny.distill, guide=None, folder=distilled.folder.with_name("alone"))
    assert nobody.key != tiny.distill.key
    alone = training.run(nobody, labels)
    weights = [
        load_student(folder)[0].get_parameter("steps.rig.weight")
        for folder in (distilled.folder, alone.folder)
    ]
    assert not torch.equal(*weights)


def test_a_guide_of_another_rig_is_refused(planned: Plan, made: Labels, tmp_path: Path) -> None:
    job = planned.students[0].distill
    other = shutil.copytree(job.folder, tmp_path / "other")
    card = json.loads((other / "student.json").read_text())
    card["driven"] = card["driven"][::-1]
    (other / "student.json").write_text(json.dumps(card))
    asked = replace(
        job,
        folder=tmp_path / "distilled",
        guide=find_student("The guide of small", "other", tmp_path),
    )
    with pytest.raises(
        ModelError, match=r"The guide of small in .*/other moves 27 controls, mouth"
    ):
        training.run(asked, made)
    assert not (tmp_path / "distilled").exists()


def test_a_guide_from_elsewhere_is_a_folder_known_by_its_bytes(
    planned: Plan, tmp_path: Path
) -> None:
    folder = shutil.copytree(planned.students[0].distill.folder, tmp_path / "elsewhere" / "a")
    found = find_student("The guide of tiny", "elsewhere/a", tmp_path)
    assert found.folder == folder
    (tmp_path / "here").mkdir()
    again = find_student("The guide of tiny", "../elsewhere/a", tmp_path / "here")
    assert again.key == found.key, "wherever it is looked for from"
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    assert find_student("The guide of tiny", "elsewhere/a", tmp_path).key != found.key


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        ((), "no student.json and no weights.safetensors"),
        (("student.json",), "no weights.safetensors"),
        (("weights.safetensors",), "no student.json"),
    ],
)
def test_a_guide_that_is_not_there_is_refused(
    tmp_path: Path, files: tuple[str, ...], missing: str
) -> None:
    (tmp_path / "a").mkdir()
    for name in files:
        (tmp_path / "a" / name).touch()
    with pytest.raises(ModelError, match=rf"guide of tiny is \./a, but .*/a has {missing}\. Exp"):
        find_student("The guide of tiny", "./a", tmp_path)


def test_a_builtin_guide_that_does_not_ship_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no builtin:nobody"):
        find_student("The guide of tiny", "builtin:nobody", tmp_path)


# ------------------------------------------------------------------------------------------------
# what is learned from, and what cannot work


def test_prompts_to_watch_are_not_learned_from(labels: Labels) -> None:
    """One in 24 of the training prompts; held-out clips are neither learned from nor watched."""
    names = [clip.id for clip in labels.side("train")]
    found = training.material(labels)
    assert (len(found.train), len(found.validation)) == (4, 0)
    assert not any(map(watched, names)), "of these four, by chance"
    assert found.driven == labels.driven
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "compress.speech.split.watched", lambda prompt: prompt in (names[1], "2", "5")
        )
        set_aside = training.material(labels)
    assert len(set_aside.train) == 3
    (clip,) = set_aside.validation
    assert (clip.curves == found.train[1].curves).all()
    assert [len(c.samples) for c in set_aside.train] == [
        len(found.train[i].samples) for i in (0, 2, 3)
    ]


def test_all_plans_that_cannot_work_are_named(student_settings: StudentSettings) -> None:
    def changed(name: str, **fields: object) -> StudentSettings:
        return student_settings.model_copy(update={"name": name, **fields})

    plans = [changed("a", head_kernel=90), changed("b"), changed("c", first_kernel=33)]
    with pytest.raises(UsageError, match=r"(?s)Student a cannot.*Student c cannot") as error:
        training.check_students(plans, Path())
    assert "Student b" not in str(error.value)


def test_parameters_by_hand(student_settings: StudentSettings) -> None:
    """First layer, norms, three convolutions of the head: counted for three outputs."""
    sizes = training.check_students([student_settings], Path(), outputs=3)
    more = training.check_students([student_settings], Path(), outputs=4)
    assert list(sizes) == ["tiny"]
    assert more["tiny"].parameters - sizes["tiny"].parameters == 8 + 1, (
        "one more row of eight weights, and its bias"
    )


def test_layers_that_a_guide_of_the_recipe_lacks_are_named_before_anything_runs(
    student_settings: StudentSettings,
) -> None:
    def guided(**changes: object) -> list[StudentSettings]:
        learning = student_settings.training.model_copy(update=changes)
        tiny = {"name": "small", "guide": "tiny", "training": learning}
        return [student_settings, student_settings.model_copy(update=tiny)]

    with pytest.raises(UsageError, match=r"Student small cannot be guided: .*no layer 'conv4'"):
        training.check_students(guided(), Path())
    training.check_students(guided(feature_layers={"conv1": "head1"}), Path())
    training.check_students(guided(feature_weight=0.0), Path())


def test_the_card_says_how_long_training_was(planned: Plan, made: Labels, tmp_path: Path) -> None:
    """Patience of one validation, at best two of them: step 6 of 60 at the latest, or further."""
    job = planned.students[0].distill
    one = made.side("train")[0]
    patient = {"steps": 60, "patience": 1, "validate_every": 3, "learning_rate": 1e-12}
    asked = replace(
        job,
        folder=tmp_path / "distilled",
        logs=tmp_path / "logs",
        settings=job.settings.model_copy(
            update={"training": job.settings.training.model_copy(update=patient)}
        ),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compress.speech.split.watched", lambda prompt: prompt == one.id)
        log = training.run(asked, made).log
    assert log[-1]["step"] < 60
    assert load_student(asked.folder)[1].training_steps == log[-1]["step"]
