"""What the tests share: a teacher with known curves, a little speech-like noise, tiny students."""

import os

# Before torch is imported: sums must not depend on how many cores the machine has.
os.environ["OMP_NUM_THREADS"] = "1"

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from scipy.io import wavfile
from torch import Tensor

from compress.labels.engines.in_process import InProcess
from compress.labels.making import Spoken, keeps_audio, label
from compress.labels.store import Labels
from compress.labels.work import Work
from compress.recipe.recipe import LabelSettings, LayerSettings, StudentSettings, TrainingSettings
from compress.recipe.teacher import TeacherSettings
from compress.speech.audio import SAMPLE_RATE
from compress.speech.sources.folder import scan
from compress.students.conv_fc import ACTIVATIONS, ConvFCConfig, Layer
from compress.teachers import Teacher
from compress.teachers.loading import TeacherFile
from compress.teachers.networks.moonshine import MoonshineConfig
from compress.teachers.networks.voice2face import HeadConfig, Voice2Face, Voice2FaceConfig
from compress.teachers.pieces import Cutting

torch.set_num_threads(1)


class KnownTeacher:
    """A teacher whose curves are a known function of the sample at each frame's time.

    ``jawOpen`` is that sample's size, ``mouthClose`` half of the sample, ``browInnerUp`` 0.25.
    `spoil` may change the curves of a call; `calls` are the shapes of the audio that came.
    """

    controls = ("jawOpen", "mouthClose", "browInnerUp")
    limits = (-1.0, 1.0)
    parameters_count = 3
    description = "a known function"

    def __init__(
        self,
        rate_hz: float = 30.0,
        offset_s: float = 0.0,
        sample_rate_hz: int = SAMPLE_RATE,
        spoil: Callable[[Tensor], Tensor] = lambda curves: curves,
    ) -> None:
        self.rate_hz, self.offset_s, self.sample_rate_hz = rate_hz, offset_s, sample_rate_hz
        self.spoil = spoil
        self.calls: list[tuple[int, ...]] = []

    def animate(self, audio: Tensor) -> Tensor:
        self.calls.append(tuple(audio.shape))
        frames = int(np.ceil(audio.shape[1] * self.rate_hz / self.sample_rate_hz))
        moments = np.round(np.arange(frames) / self.rate_hz * self.sample_rate_hz).astype(int)
        samples = audio[:, np.minimum(moments, audio.shape[1] - 1)]
        still = torch.full_like(samples, 0.25)
        return self.spoil(torch.stack([samples.abs(), 0.5 * samples, still], -1))


@pytest.fixture
def known_teacher() -> type[KnownTeacher]:
    return KnownTeacher


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine that is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def noise(seconds: float, seed: int) -> np.ndarray:
    """Noise that swells and fades four times a second, float32 [samples]."""
    samples = round(seconds * SAMPLE_RATE)
    swell = np.sin(2 * np.pi * 4 * np.arange(samples) / SAMPLE_RATE) ** 2
    random = np.random.default_rng(seed).uniform(-0.5, 0.5, samples)
    return np.asarray(random * swell, np.float32)


@pytest.fixture
def make_speech() -> Callable[..., list[Spoken]]:
    """Writes clips of noise of the given lengths below a folder; every third one is held out."""

    def make(folder: Path, seconds: tuple[float, ...]) -> list[Spoken]:
        folder.mkdir(parents=True, exist_ok=True)
        for i, length in enumerate(seconds):
            path = folder / f"{i}.wav"
            # Not by libsndfile, which writes the time of day into files of floats.
            wavfile.write(path, SAMPLE_RATE, noise(length, i))
        clips = scan(str(folder), min_clip_s=0.1).clips
        return [Spoken(clip, "heldout" if i % 3 == 2 else "train") for i, clip in enumerate(clips)]

    return make


@pytest.fixture
def label_by() -> Callable[..., Labels]:
    """Labels speech in this process by a teacher that is at hand."""

    def run(
        teacher: Teacher,
        key: str,
        speech: list[Spoken],
        folder: Path,
        settings: LabelSettings,
        cutting: Cutting | None = None,
    ) -> Labels:
        cut = cutting or Cutting()
        opened = TeacherSettings(
            checkpoint="known", max_chunk_s=cut.max_chunk_s, overlap_s=cut.overlap_s
        )
        file = TeacherFile("known", Path("known"), "known", None, "known")
        keep = keeps_audio(settings, speech)
        work = Work(file, opened, folder, settings.batch_s, keep, 1)
        return label(key, speech, folder, settings, work, InProcess(teacher))

    return run


@pytest.fixture
def label_settings() -> LabelSettings:
    return LabelSettings(batch_s=2.0, shard_s=1.4)


@pytest.fixture
def labels(
    tmp_path: Path,
    make_speech: Callable[..., list[Spoken]],
    label_settings: LabelSettings,
    label_by: Callable[..., Labels],
) -> Labels:
    """Labels of six clips, four of them for training, by the known teacher."""
    speech = make_speech(tmp_path / "speech", (0.6, 0.7, 0.6, 0.5, 0.6, 0.8))
    return label_by(KnownTeacher(), "key", speech, tmp_path / "labels", label_settings)


@pytest.fixture
def student_settings() -> StudentSettings:
    """A student that sees 16 ms on each side, by hand: 64 + (2 − 1 + 7 − 1) · 64 = 512 samples."""
    return StudentSettings(
        name="tiny",
        past_ms=16.0,
        future_ms=16.0,
        filters=8,
        first_kernel=32,
        first_stride=16,
        energy_kernel=1,
        energy_stride=1,
        layers=(LayerSettings(kernel=3, stride=4, channels=8),),
        head_channels=8,
        head_kernel=2,
        training=TrainingSettings(
            steps=12,
            batch=2,
            frames=6,
            warmup_steps=2,
            validate_every=4,
            checkpoint_every=4,
        ),
    )


def seen(layers: list[Layer]) -> int:
    """Samples behind one output of a stack, counted backwards from it."""
    samples = 1
    for layer in reversed(layers):
        samples = (samples - 1) * layer.stride + layer.kernel
    return samples


@st.composite
def _plans(draw: st.DrawFn) -> ConvFCConfig:
    kernels = st.integers(1, 4)
    gabor = draw(st.booleans())
    halvings = 8  # strides are powers of 2, and all together at most a hop of 256 = 2⁸

    def stride(most: int) -> int:
        nonlocal halvings
        power = draw(st.integers(0, min(most, halvings)))
        halvings -= power
        return 2**power

    first = Layer(draw(st.integers(2, 40)), 2 * stride(4), 8)
    halvings -= 1
    energy = Layer(draw(st.integers(1, 9)), stride(2), 0) if gabor else Layer(1, 1, 0)
    layers = tuple(
        Layer(draw(kernels), stride(3), draw(st.sampled_from([3, 8])))
        for _ in range(draw(st.integers(0, 3)))
    )
    head_kernel = draw(kernels)
    head = [Layer(head_kernel, 1, 8), Layer(draw(kernels), 1, 8)]
    window = seen([first, energy, *layers, *head])
    past = draw(st.integers(0, window))
    return ConvFCConfig(
        first_layer="gabor_log" if gabor else "conv",
        first=first,
        layers=layers,
        head_kernel=head_kernel,
        head_channels=(8, 8),
        past=past,
        future=window - past,
        outputs=3,
        energy=energy,
        activation=draw(st.sampled_from(sorted(ACTIVATIONS))),
    )


@pytest.fixture(scope="session")
def plans() -> st.SearchStrategy[ConvFCConfig]:
    """Plans that work: total strides that divide the hop, a window that the kernels just fill."""
    plans = _plans()
    assert isinstance(plans, st.SearchStrategy)
    return plans


@pytest.fixture
def tiny_voice2face() -> Voice2Face:
    """A Voice2Face of a few thousand weights, always the same ones."""
    torch.manual_seed(5)
    config = Voice2FaceConfig(
        controls=("jawOpen", "mouthClose", "eyeBlinkLeft"),
        driven=("mouthClose", "jawOpen"),
        constants={"eyeBlinkLeft": 0.1},
        rate_hz=30.0,
        head=HeadConfig(encoder_layers=(0, 2), hidden=8, lstm=8, mesh=8),
        encoder_config=MoonshineConfig(dim=16, layers=2, heads=2, rotary_dim=4),
    )
    teacher = Voice2Face(config).eval()
    teacher.encoder.inverse_frequencies.copy_(torch.tensor([1.0, 0.1]))
    return teacher
