"""Sound that is not speech: the rest pose is its label, and a student that has learned it rests."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from compress.distill import stage as training
from compress.distill.distilling import Material, distill
from compress.distill.guidance import Guidance
from compress.distill.many.synchronised import variance
from compress.distill.stretches import Stretches, weighted
from compress.errors import AudioError, TeacherError
from compress.judge import rest_sounds
from compress.labels import rest_stage as resting
from compress.labels import stage as labelling
from compress.labels.examples import Example, examples
from compress.labels.making import Spoken
from compress.labels.rest_examples import rest_examples
from compress.labels.rest_pose import SILENCE_S, Rest, RestClip, rest_pose
from compress.labels.rest_stage import RestJob
from compress.labels.store import Labels
from compress.recipe.recipe import (
    LabelSettings,
    LayerSettings,
    StudentSettings,
    TrainingSettings,
    load_recipe,
)
from compress.recipe.students import AugmentationSettings
from compress.recipe.teacher import TeacherSettings
from compress.run.planning import find_inputs, plan
from compress.speech.audio import HOP, SAMPLE_RATE
from compress.speech.gathering import gather
from compress.speech.not_speech import coloured
from compress.speech.sources.folder import scan
from compress.speech.split import split
from compress.students.conv_fc import build
from compress.teachers import Teacher
from compress.teachers.loading import TeacherFile, find_teacher, open_teacher
from compress.teachers.pieces import Cutting

BUILT_IN = TeacherSettings(checkpoint="builtin:voice2face-demo")
PLAIN = AugmentationSettings(gain_db=(0.0, 0.0), noise_share=0.0, speed_share=0.0, room_share=0.0)


@pytest.fixture(scope="module")
def packaged() -> Teacher:
    found = find_teacher(BUILT_IN.checkpoint, Path(), ())
    teacher: Teacher = open_teacher(found, BUILT_IN, Path())
    return teacher


def write_sounds(folder: Path, seconds: Sequence[float], seed: int = 0) -> None:
    """Noise of so many seconds each, named by numbers that are on the training side, then held out."""
    folder.mkdir(parents=True, exist_ok=True)
    sides = {side: iter([i for i in range(300) if split(str(i)) == side]) for side in SIDES}
    for i, length in enumerate(seconds):
        name = next(sides["heldout" if i == len(seconds) - 1 else "train"])
        samples = 0.2 * coloured(np.random.default_rng(seed + i), length, "white")
        soundfile.write(folder / f"{name}.flac", samples, SAMPLE_RATE)


SIDES = ("train", "heldout")

# ------------------------------------------------------------------------------------------------
# the pose


def test_the_rest_pose_of_a_known_teacher_is_its_pose_on_silence(
    known_teacher: type[Teacher],
) -> None:
    """Whatever happens at the edges: a teacher that starts and ends with an open mouth."""

    def startled(curves: torch.Tensor) -> torch.Tensor:
        curves[:, :20] += 0.7
        curves[:, -20:] += 0.7
        return curves

    teacher = known_teacher(spoil=startled)  # type: ignore[call-arg]
    assert rest_pose(teacher, Cutting()) == pytest.approx([0, 0, 0.25])
    assert teacher.calls == [(1, round(SILENCE_S * SAMPLE_RATE))]  # type: ignore[attr-defined]
    short = rest_pose(teacher, Cutting(max_chunk_s=4.0))  # cut as any longer clip is
    assert short == pytest.approx([0, 0, 0.25])


def test_the_packaged_teacher_rests_with_a_closed_jaw_and_stays_so_on_noise(
    packaged: Teacher,
) -> None:
    """It has learned to: before, its jaw was open by 0.31 here."""
    pose = dict(zip(packaged.controls, rest_pose(packaged, Cutting()), strict=True))
    assert abs(pose["jawOpen"]) < 0.05
    noise = 0.1 * coloured(np.random.default_rng(0), 2.0, "white")
    curves = packaged.animate(torch.from_numpy(noise)[None])[0].numpy()
    jaw = np.median(curves[:, packaged.controls.index("jawOpen")])
    assert jaw == pytest.approx(pose["jawOpen"], abs=0.05)


def rest_job(folder: Path, clips: tuple[RestClip, ...] = ()) -> RestJob:
    file = TeacherFile("known", Path("known"), "known", None, "known")
    return RestJob(folder / "rest", file, TeacherSettings(checkpoint="known"), 1, clips=clips)


def test_it_is_found_the_second_time(known_teacher: type[Teacher], tmp_path: Path) -> None:
    made = resting.run(rest_job(tmp_path), known_teacher)
    found = resting.run(rest_job(tmp_path), lambda: pytest.fail("opened"))
    pose = {"jawOpen": 0.0, "mouthClose": 0.0, "browInnerUp": 0.25}
    assert made == found == Rest(pose, teacher=tmp_path / "rest" / "teacher.safetensors")
    assert found is not None
    assert found.of(["browInnerUp", "jawOpen"]).tolist() == [0.25, 0]


def test_a_teacher_without_numbers_on_silence_is_refused_where_it_is_needed_only(
    known_teacher: type[Teacher], tmp_path: Path
) -> None:
    def broken() -> Teacher:
        return known_teacher(spoil=lambda curves: curves * float("nan"))  # type: ignore[call-arg]

    assert resting.run(rest_job(tmp_path), broken) is None
    assert not (tmp_path / "rest" / "teacher.safetensors").exists()
    assert resting.run(rest_job(tmp_path), known_teacher) is not None, "asked again"
    write_sounds(tmp_path / "sounds", [0.6])

    def moody(curves: torch.Tensor) -> torch.Tensor:
        return curves if curves[..., 0].max() < 0.1 else curves * float("nan")

    deaf = resting.run(rest_job(tmp_path / "deaf"), lambda: known_teacher(spoil=moody))  # type: ignore[call-arg]
    assert deaf is not None, "what it does on noise is no reason to stop"
    assert deaf.teacher is None
    clips = tuple(RestClip(clip, "train") for clip in scan(str(tmp_path / "sounds")).clips)
    with pytest.raises(TeacherError, match=r"rest pose .* digital silence.*nan for jawOpen"):
        resting.run(rest_job(tmp_path / "other", clips), broken)


# ------------------------------------------------------------------------------------------------
# what is heard


def still(hops: int, pose: float, seed: int = 0) -> Example:
    """A clip of noise around −2, where no speech of the tests lies, with one pose throughout."""
    samples = np.random.default_rng(seed).uniform(-0.9, -0.8, hops * HOP).astype(np.float32)
    return Example(samples, np.full((hops, 2), pose, np.float32))


def moving(hops: int, seed: int) -> Example:
    rng = np.random.default_rng(seed)
    samples = rng.uniform(0.1, 0.5, hops * HOP).astype(np.float32)
    return Example(samples, rng.uniform(0.0, 1.0, (hops, 2)).astype(np.float32))


ASKED = TrainingSettings(batch=20, frames=8, augmentation=PLAIN)


def test_its_share_is_that_of_its_seconds_and_never_more_than_is_allowed() -> None:
    speech, sounds = [moving(80, i) for i in range(5)], [still(80, 5.0, i) for i in range(5)]

    def share(rest: Sequence[Example], most: float) -> float:
        drawn = Stretches(speech, ASKED, 1, rest=rest, most_rest=most)
        heard = [drawn.batch(step, 64, 64) for step in range(1, 51)]
        still = torch.cat([(label == 5).all(2).all(1) for _, label in heard])
        masks = [drawn.spoken(step) for step in range(1, 51)]
        assert torch.equal(~torch.cat([m for m in masks if m is not None]), still)
        return float(still.float().mean())

    assert share(sounds, 1.0) == pytest.approx(0.5, abs=0.02)
    assert share(sounds, 0.1) == pytest.approx(0.1, abs=0.02)
    assert share(sounds[:1], 0.5) == pytest.approx(1 / 6, abs=0.02)
    assert sum(weighted([100, 50], [600], 0.1)[:2]) == pytest.approx(5400)
    assert weighted([100, 50], [10], 0.1) == [100, 50, 10]


def test_without_it_what_is_heard_is_what_it_was() -> None:
    speech = [moving(80, i) for i in range(5)]
    one, other = Stretches(speech, ASKED, 1), Stretches(speech, ASKED, 1, rest=(), most_rest=0.1)
    assert one.spoken(1) is None
    for found, wanted in zip(one.batch(3, 64, 64), other.batch(3, 64, 64), strict=True):
        assert torch.equal(found, wanted)


def test_processes_hear_its_shares_of_the_same_batch() -> None:
    speech, sounds = [moving(80, i) for i in range(8)], [still(80, 5.0, i) for i in range(8)]
    whole = Stretches(speech, ASKED, 1, rest=sounds, most_rest=0.3)
    halves = [Stretches(speech, ASKED, 1, rank, 2, sounds, 0.3) for rank in range(2)]
    for step in range(1, 6):
        masks = [half.spoken(step) for half in halves]
        assert torch.equal(torch.cat([m for m in masks if m is not None]), whole.spoken(step))
        labels = [half.batch(step, 64, 64)[1] for half in halves]
        assert torch.equal(torch.cat(labels), whole.batch(step, 64, 64)[1])


def test_sounds_shorter_than_a_stretch_are_left_out_and_not_all_may_be() -> None:
    speech = [moving(80, i) for i in range(5)]
    drawn = Stretches(speech, ASKED, 1, rest=[still(4, 5.0), still(9, 5.0)], most_rest=0.5)
    assert drawn.spoken(1) is not None
    with pytest.raises(AudioError, match=r"No clip of speech\.rest is as long as one stretch"):
        Stretches(speech, ASKED, 1, rest=[still(4, 5.0)], most_rest=0.5)


def test_the_guide_has_no_say_where_there_is_no_speech(student_settings: StudentSettings) -> None:
    torch.manual_seed(3)
    student, guide = (build(student_settings, 2, None).eval() for _ in range(2))
    guidance = Guidance(student.config, guide, {"conv1": "conv1"})
    audio = torch.randn(4, 1, student.config.window + 5 * HOP)
    spoken = torch.tensor([True, False, True, True])
    own = student.tapped(audio, ["conv1"])[1]
    wanted = guidance.features(audio)
    error = guidance(own, wanted, spoken)
    squared = ((own["conv1"] - wanted["conv1"]) ** 2)[spoken].sum() / own["conv1"].numel()
    assert error.item() == pytest.approx(
        (squared / (variance(wanted["conv1"]) + 1e-6)).item(), rel=1e-5
    )
    assert guidance(own, wanted).item() > error.item()


# ------------------------------------------------------------------------------------------------
# what it does to a student


def test_a_student_that_learned_the_rest_pose_keeps_nearer_to_it_on_noise(
    packaged: Teacher,
    label_by: Callable[..., Labels],
    tmp_path: Path,
) -> None:
    """Of packaged speech and the packaged teacher; the noise that it is judged on is other noise."""
    clips = [c for c in scan("builtin:speech").clips if 2 < c.seconds < 5][:14]
    speech = [Spoken(clip, "heldout" if i == 0 else "train") for i, clip in enumerate(clips)]
    labels = label_by(packaged, "key", speech, tmp_path / "labels", LabelSettings())
    pose = dict(zip(packaged.controls, map(float, rest_pose(packaged, Cutting())), strict=True))
    write_sounds(tmp_path / "sounds", [3.0] * 5)
    sounds = tuple(RestClip(c, "train") for c in scan(str(tmp_path / "sounds")).clips)
    resting = replace(labels, rest=Rest(pose, sounds, 0.3))
    asked = StudentSettings(
        name="tiny",
        past_ms=124.0,
        future_ms=124.0,
        filters=16,
        layers=(LayerSettings(kernel=3, stride=2, channels=16),),
        head_channels=16,
        training=TrainingSettings(
            steps=120,
            batch=8,
            frames=24,
            warmup_steps=5,
            learning_rate=1e-2,
            ema=0.9,
            augmentation=PLAIN.model_copy(update={"gain_db": (-20.0, 6.0)}),
        ),
    )
    unheard = 0.2 * coloured(np.random.default_rng(99), 2.0, "white")
    driven = resting.rest.of(labels.driven) if resting.rest else np.zeros(0)
    farthest = {}
    for name, taught in (("speech alone", labels), ("with rest", resting)):
        train = examples(taught, taught.side("train"))
        material = Material(train, [], taught.driven, rest=rest_examples(taught), most_rest=0.3)
        student, log = distill(
            lambda: build(asked, len(labels.driven), labels.limits),
            material,
            asked.training,
            7,
            tmp_path / name,
        )
        with torch.no_grad():
            curves = student.animate(torch.from_numpy(unheard)[None])[0].numpy()
        farthest[name] = float(np.abs(curves - driven).max(1).mean())
        assert log.rows[-1]["loss"] < log.rows[0]["loss"]
    assert farthest["with rest"] < 0.5 * farthest["speech alone"]


# ------------------------------------------------------------------------------------------------
# from a recipe


@pytest.fixture
def sounds(own: Path) -> Path:
    """The workshop's recipe, and sounds beside its speech: six to learn from, one to judge on."""
    write_sounds(own / "sounds", [0.7] * 6 + [0.8])
    return own


def test_a_recipe_with_sounds_that_are_not_speech(sounds: Path, tmp_path: Path) -> None:
    recipe = load_recipe(sounds / "recipe.yaml", ["speech.rest=[sounds]", "speech.rest_share=0.4"])
    planned = plan(recipe, find_inputs(recipe), tmp_path / "run")
    labels = labelling.run(planned.label)
    assert {clip.side for clip in labels.clips} == {"train", "heldout"}
    assert len(labels.clips) == 11, "the sounds have no curves among the labels"
    assert labels.rest is not None
    assert len(labels.rest.side("train")) == 6
    assert len(labels.rest.side("heldout")) == 1
    assert rest_sounds.chosen_heldout(labels.rest.clips)[0][1] == round(0.8 * SAMPLE_RATE)
    kept = json.loads((planned.rest.folder / "pose.json").read_text())
    assert kept == labels.rest.pose
    assert tuple(kept) == labels.controls
    material = training.material(labels)
    assert (len(material.rest), material.most_rest) == (6, 0.4)
    (job,) = planned.distills
    one = training.run(job, labels)
    alone = load_recipe(sounds / "recipe.yaml")
    without = plan(alone, find_inputs(alone), tmp_path / "alone")
    other = training.run(without.distills[0], labelling.run(without.label))
    assert one.log[-1]["loss"] != other.log[-1]["loss"]


def test_sounds_have_a_part_in_what_is_trained_and_none_in_the_labels(
    sounds: Path, tmp_path: Path
) -> None:
    def keys(*sets: str) -> dict[str, str]:
        recipe = load_recipe(sounds / "shrinking.yaml", sets)
        planned = plan(recipe, find_inputs(recipe), tmp_path / "run")
        return {f"{stage} {what}".strip(): key for stage, what, _, key in planned.steps()}

    with_sounds = "speech.rest=[sounds]"
    before, after = keys(), keys(with_sounds)
    kept = {name for name in before if before[name] == after[name]}
    assert {"label", "benchmark teacher"} <= kept
    assert not {"label rest pose", "verify baselines"} & kept, "another row of the report"
    assert not {"distill small", "prune small", "quantize small", "report"} & kept
    more = keys(with_sounds, "speech.rest_share=0.2")
    assert more["distill small"] != after["distill small"]
    assert more["label"] == after["label"]
    assert keys("speech.rest_share=0.2")["distill small"] == before["distill small"], "of nothing"


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("nowhere", r"The speech .*nowhere is not there"),
        ("speech", r"among the sounds that are not speech .* is the same recording"),
        ("lonely", r"All 1 clips of speech\.rest fall on the held-out side"),
        ("silent", r"no audio"),
    ],
)
def test_sounds_that_cannot_be_used(sounds: Path, rest: str, said: str) -> None:
    write_sounds(sounds / "lonely", [0.7])
    (sounds / "silent").mkdir()
    recipe = load_recipe(sounds / "recipe.yaml", [f"speech.rest=[{rest}]"])
    with pytest.raises(AudioError, match=said):
        gather(recipe.speech, sounds)


def test_too_short_sounds_are_said_before_the_labels(sounds: Path, tmp_path: Path) -> None:
    from compress.run.beforehand import check_run

    recipe = load_recipe(
        sounds / "recipe.yaml",
        ["speech.rest=[sounds]", "students.0.training.frames=46", "speech.train=[long]"],
    )
    for i in range(2):
        samples = 0.2 * coloured(np.random.default_rng(i), 2.0, "pink")
        (sounds / "long").mkdir(exist_ok=True)
        soundfile.write(sounds / "long" / f"{i}.flac", samples, SAMPLE_RATE)
    inputs = find_inputs(recipe)
    with pytest.raises(AudioError, match=r"No clip of speech\.rest .*frames = 46 needs 0\.74 s"):
        check_run(recipe, inputs, plan(recipe, inputs, tmp_path / "run"), "report")
