"""Clips that are read when they are asked for: what is kept, what is not, and that threads agree."""

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compress.errors import BadAudio
from compress.labels import examples as module
from compress.labels.examples import Example, LazyExamples, examples, hops_of
from compress.labels.store import LabelledClip, Labels
from compress.recipe.recipe import StudentSettings
from compress.speech.audio import HOP


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The clips whose audio was decoded, in order."""
    seen: list[str] = []
    whole = module.audio_of

    def noted(labels: Labels, clip: LabelledClip) -> np.ndarray:
        seen.append(clip.id)
        return whole(labels, clip)

    monkeypatch.setattr(module, "audio_of", noted)
    return seen


def test_examples_are_audio_with_its_curves(labels: Labels) -> None:
    train = examples(labels, labels.side("train"))
    assert len(train) == 4
    for example in train:
        assert example.curves.shape == (-(-len(example.samples) // HOP), 2)
        # 30 frames a second of the known teacher and hops meet at the clip's start.
        np.testing.assert_allclose(example.curves[0, 1], 0.5 * example.samples[0], atol=2e-5)
    heldout = labels.side("heldout")
    backwards = examples(labels, heldout[::-1])
    for one, other in zip(examples(labels, heldout), list(backwards)[::-1], strict=True):
        assert np.array_equal(one.curves, other.curves), "in the order asked for"
    assert np.array_equal(train[-1].samples, train[3].samples)
    with pytest.raises(IndexError):
        train[4]


def test_a_clip_is_decoded_when_it_is_first_heard_and_kept(
    labels: Labels, decoded: list[str]
) -> None:
    train = examples(labels, labels.side("train"))
    names = [clip.id for clip in labels.side("train")]
    assert train.hops == hops_of(train) == [clip.hops for clip in labels.side("train")]
    assert train[1:].hops == train.hops[1:]
    assert decoded == []
    first = train[2]
    assert train[2] is first
    assert decoded == [names[2]]
    assert hops_of(list(train)) == train.hops


def test_those_asked_for_longest_ago_are_given_up(labels: Labels, decoded: list[str]) -> None:
    clips = labels.side("train")
    sizes = [example.nbytes for example in examples(labels, clips)]
    decoded.clear()
    two = LazyExamples(labels, clips, sizes[0] + max(sizes[1:]))
    for number in (0, 1, 0, 2, 0, 1):
        two[number]
    names = [clip.id for clip in clips]
    assert decoded == [names[i] for i in (0, 1, 2, 1)]
    decoded.clear()
    none = LazyExamples(labels, clips, 0)
    assert np.array_equal(none[0].samples, none[0].samples)
    assert decoded == [names[0]] * 2


def test_threads_may_ask_at_once(labels: Labels) -> None:
    clips = labels.side("train")
    expected = list(examples(labels, clips))
    small = LazyExamples(labels, clips, expected[0].nbytes)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: small[i % 4], range(200)))
    for i, example in enumerate(found):
        assert np.array_equal(example.samples, expected[i % 4].samples)
        assert np.array_equal(example.curves, expected[i % 4].curves)


def test_to_another_process_only_names_travel(labels: Labels) -> None:
    train = examples(labels, labels.side("train"))
    before = len(pickle.dumps(train))
    whole = list(train)
    sent = pickle.dumps(train)
    assert len(sent) == before < whole[0].nbytes
    arrived = pickle.loads(sent)
    for one, other in zip(whole, arrived, strict=True):
        assert np.array_equal(one.samples, other.samples)


def test_a_part_of_a_recording_does_not_keep_the_whole(labels: Labels) -> None:
    clip = labels.side("train")[0]
    assert clip.audio is not None
    part = replace(clip, audio=replace(clip.audio, samples=4 * HOP), seconds=4 * HOP / 16_000)
    (found,) = LazyExamples(labels, [part])
    assert len(found.samples) == 4 * HOP
    assert found.samples.base is None


def test_audio_that_is_gone_is_named(labels: Labels) -> None:
    clip = labels.side("train")[1]
    assert clip.audio is not None
    Path(clip.audio.path).unlink()
    with pytest.raises(BadAudio, match=Path(clip.audio.path).name):
        examples(labels, labels.side("train"))[1]


def test_an_example_knows_its_size() -> None:
    assert Example(np.zeros(100, np.float32), np.zeros((3, 2), np.float32)).nbytes == 424


# Trains on so many minutes of noise in clips of ten seconds, with room for 8 MB of them: the peak in
# MB, and how many clips were heard.
TRAINED = """
import sys
from pathlib import Path

import numpy as np, soundfile, torch

torch.set_num_threads(1)
from compress.labels import examples
from compress.labels.curve_codec import pack
from compress.distill.distilling import Material, distill
from compress.labels.shards import Labelled, TeacherFacts, to_bytes
from compress.labels.store import LabelledClip, Labels
from compress.recipe.recipe import StudentSettings
from compress.speech.sources import Clip
from compress.speech.sources.folder import FileSource
from compress.students.conv_fc import build
from tests.peak import peak_bytes

folder, minutes = Path(sys.argv[1]), int(sys.argv[2])
settings = StudentSettings.model_validate_json(sys.argv[3])
seconds, rate = 10, 16_000
rng = np.random.default_rng(0)
clips, curves = [], []
for i in range(minutes * 60 // seconds):
    path = folder / f"{i}.wav"
    soundfile.write(path, rng.uniform(-0.5, 0.5, seconds * rate).astype(np.float32), rate)
    source = FileSource(path, seconds * rate)
    clip = Clip(str(i), source, 0, seconds * rate, seconds * rate, "", str(i))
    clips.append(LabelledClip(str(i), "train", clip, seconds, "", "shard", 250, 625))
    curves.append(Labelled(str(i), 250, pack(rng.uniform(0, 1, (250, 2)).astype(np.float32))))
facts = TeacherFacts(("a", "b"), None, 25.0, 0.0, 1, "none")
(folder / "shard").write_bytes(to_bytes(facts, curves))
names = facts.controls
labels = Labels(folder, "", names, names, {}, None, 1.0, 25.0, 0.0, 1, "", tuple(clips))
heard, whole = set(), examples.audio_of
examples.audio_of = lambda labels, clip: heard.add(clip.id) or whole(labels, clip)
material = Material(examples.LazyExamples(labels, clips, 8_000_000), [], names)
distill(lambda: build(settings, 2, None), material, settings.training, 7, folder / "work")
print(peak_bytes() // 2**20, len(heard))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="getrusage is POSIX's")
def test_memory_does_not_grow_with_the_corpus(
    student_settings: StudentSettings, tmp_path: Path
) -> None:
    """An hour of speech is 230 MB in memory, of which training heard all."""
    training = {"steps": 150, "batch": 16, "frames": 96, "checkpoint_every": 1000}
    asked = student_settings.training.model_copy(update=training)
    settings = student_settings.model_copy(update={"training": asked})
    peaks = {}
    for minutes in (2, 60):
        folder = tmp_path / str(minutes)
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", TRAINED, folder, str(minutes), settings.model_dump_json()],
            env=os.environ | {"PYTHONPATH": str(Path(module.__file__).parents[2])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        peaks[minutes], heard = map(int, done.stdout.split())
        assert heard == minutes * 6, "all of it"
    assert peaks[60] < peaks[2] + 30
