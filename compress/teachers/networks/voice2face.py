"""Voice2Face, the paper's teacher: speech encoder, mesh generator, Mesh2Rig.

Raw audio → encoder → mesh generator (CNN → LSTM → FC) → Mesh2Rig (FC) → rig curves. D. Han et al.,
*Tiny is not small enough*, 2025, arXiv:2507.18352. The paper's encoder is HuBERT; that of the demo
is Moonshine. `save_checkpoint` writes what `reference` reads.
"""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from compress.store import atomic_write
from compress.teachers.networks.encoders import (
    FORMAT,
    SAMPLE_RATE_HZ,
    VERSION,
    EncoderConfig,
    check_counts,
)
from compress.teachers.networks.moonshine import MoonshineConfig
from compress.teachers.placed import in_float32


@dataclass(frozen=True)
class HeadConfig:
    """Sizes of the mesh generator and Mesh2Rig, and the encoder layers (0: the stem) they read."""

    encoder_layers: tuple[int, ...] = (2, 3, 4, 5, 6)
    hidden: int = 256
    lstm: int = 160
    mesh: int = 96
    dropout: float = 0.1


@dataclass(frozen=True)
class Voice2FaceConfig:
    """Everything but the weights.

    `driven` are the controls predicted; each other control keeps its value in `constants`.
    `encoder_weights` says where those of the encoder lie, if not beside the head's: a Hugging Face
    folder, relative to the checkpoint's, or ``hub:OWNER/NAME@REVISION``. Raises `ValueError` for
    values that cannot be.
    """

    controls: tuple[str, ...]
    driven: tuple[str, ...]
    constants: dict[str, float]
    rate_hz: float
    head: HeadConfig
    limits: tuple[float, float] = (0.0, 1.0)
    encoder_config: EncoderConfig = field(default_factory=MoonshineConfig)
    encoder_weights: str | None = None

    def __post_init__(self) -> None:
        if unknown := ({*self.driven, *self.constants} - set(self.controls)):
            raise ValueError(f"controls lacks {', '.join(sorted(unknown))}")
        for name, names in (("controls", self.controls), ("driven", self.driven)):
            if not names or len(set(names)) < len(names):
                raise ValueError(f"{name} is empty, or names one twice")
        if not all(math.isfinite(value) for value in self.constants.values()):
            raise ValueError("a value of constants is no number")
        if not 0 < self.rate_hz < math.inf:
            raise ValueError(f"rate_hz is {self.rate_hz}, expected more than 0")
        low, high = self.limits
        if not low < high:
            raise ValueError(f"limits are {list(self.limits)}, expected the lower one first")
        layers = self.encoder_config.layers
        if not self.head.encoder_layers or not set(self.head.encoder_layers) <= {
            *range(layers + 1)
        }:
            raise ValueError(
                f"head.encoder_layers are {list(self.head.encoder_layers)}, expected some of 0 to "
                f"{layers}"
            )
        if not 0 <= self.head.dropout < 1:
            raise ValueError(f"head.dropout is {self.head.dropout}, expected 0 to 1")
        for name in ("hidden", "lstm", "mesh"):
            check_counts(name, getattr(self.head, name))

    def to_json(self) -> dict[str, object]:
        elsewhere = (
            {} if self.encoder_weights is None else {"encoder_weights": self.encoder_weights}
        )
        return {
            "format": FORMAT,
            "version": VERSION,
            "controls": self.controls,
            "driven": self.driven,
            "constants": self.constants,
            "rate_hz": self.rate_hz,
            "head": asdict(self.head),
            "limits": self.limits,
            "encoder": self.encoder_config.name,
            "encoder_config": self.encoder_config.to_json(),
            **elsewhere,
        }


class Voice2FaceHead(nn.Module):
    """Mesh generator and Mesh2Rig over the frozen encoder's layers."""

    def __init__(self, config: HeadConfig, encoder_dim: int, outputs: int) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.zeros(len(config.encoder_layers)))
        self.norm = nn.LayerNorm(encoder_dim)
        self.input = nn.Linear(encoder_dim, config.hidden)
        self.conv1 = nn.Conv1d(config.hidden, config.hidden, 5, padding=2)
        self.conv2 = nn.Conv1d(config.hidden, config.hidden, 5, padding=2)
        self.lstm = nn.LSTM(config.hidden, config.lstm, batch_first=True, bidirectional=True)
        self.mesh = nn.Sequential(
            nn.Linear(2 * config.lstm, 192), nn.GELU(), nn.Linear(192, config.mesh)
        )
        self.rig = nn.Sequential(nn.Linear(config.mesh, 96), nn.GELU(), nn.Linear(96, outputs))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, features: Tensor, position: Tensor) -> Tensor:
        """Rig values at the asked positions.

        `features`: `[batch, layers, encoder frames, dim]`; `position`: `[batch, frames]`, each
        output frame's place among the encoder's frames, fractional → `[batch, frames, driven]`
        before the limits.
        """
        weight = self.mix.softmax(0)[None, :, None, None]
        x = (F.layer_norm(features, features.shape[-1:]) * weight).sum(1)
        x = self.input(self.dropout(self.norm(x)))
        x = _interpolate(x, position).transpose(1, 2)
        x = x + F.gelu(self.conv1(x))
        x = x + F.gelu(self.conv2(x))
        x = self.dropout(self.lstm(x.transpose(1, 2))[0])
        rig: Tensor = self.rig(self.mesh(x))
        return rig


def _interpolate(x: Tensor, position: Tensor) -> Tensor:
    """Linear interpolation in time of `[batch, frames, channels]` at `[batch, n]`.

    Beyond the ends the first and the last frame hold.
    """
    last = x.shape[1] - 1
    before = position.floor().long().clamp(0, last)
    after = (before + 1).clamp(max=last)
    share = (position - before).clamp(0, 1)[..., None]

    def take(index: Tensor) -> Tensor:
        return torch.gather(x, 1, index[..., None].expand(-1, -1, x.shape[-1]))

    return take(before) * (1 - share) + take(after) * share


def frame_positions(frames: int, rate_hz: float, encoder: EncoderConfig) -> Tensor:
    """Where the frames at times i / rate_hz lie among the encoder's frames, float32 `[frames]`."""
    samples = torch.arange(frames) / rate_hz * SAMPLE_RATE_HZ
    return (samples - encoder.first_centre) / encoder.stride


class Voice2Face(nn.Module):
    """The whole teacher. Answers the teacher contract of `compress.teachers`."""

    sample_rate_hz = SAMPLE_RATE_HZ
    offset_s = 0.0
    _rest: Tensor

    def __init__(self, config: Voice2FaceConfig) -> None:
        super().__init__()
        self.config = config
        self.controls, self.rate_hz, self.limits = config.controls, config.rate_hz, config.limits
        self.encoder = config.encoder_config.build()
        self.head = Voice2FaceHead(config.head, config.encoder_config.dim, len(config.driven))
        self._driven = [config.controls.index(name) for name in config.driven]
        rest = torch.tensor([config.constants.get(name, 0.0) for name in config.controls])
        self.register_buffer("_rest", rest, persistent=False)

    @property
    def description(self) -> str:
        return (
            f"Voice2Face: {self.config.encoder_config.name} encoder, mesh generator (CNN, BiLSTM, FC) and "
            f"Mesh2Rig (FC)."
        )

    @property
    def parameters_count(self) -> int:
        return sum(p.numel() for p in self.parameters())

    @torch.inference_mode()
    def animate(self, audio: Tensor) -> Tensor:
        """Curves of clips of equal length, within the limits.

        float32 `[batch, samples]` at 16 kHz → `[batch, frames, controls]`. Frame i stands for
        i / rate_hz seconds; there are as many frames as start inside the clip.
        """
        batch, samples = audio.shape
        frames = math.ceil(samples * self.rate_hz / SAMPLE_RATE_HZ)
        encoder = self.config.encoder_config
        # The stem needs one full receptive field; a shorter clip is followed by silence.
        padded = F.pad(audio, (0, max(0, encoder.least_samples - samples)))
        features = self.encode(padded)
        position = frame_positions(frames, self.rate_hz, encoder).to(audio.device)
        curves = self._rest.repeat(batch, frames, 1)
        # Small, and its outputs are the curves: in bf16 these would go in steps of 1/256.
        with in_float32(audio.device):
            driven = self.head(features.float(), position.expand(batch, -1))
        curves[..., self._driven] = driven.clamp(*self.limits)
        return curves

    def encode(self, audio: Tensor) -> Tensor:
        """What the head reads: `[batch, samples]` → `[batch, layers, frames, dim]`."""
        outputs = self.encoder(audio)
        return torch.stack([outputs[layer] for layer in self.config.head.encoder_layers], 1)


def save_checkpoint(teacher: Voice2Face, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Writes the folder that a recipe names as its teacher: weights of `dtype` and their config.

    Where the config names `encoder_weights`, relative to `folder`, the head alone is written.
    Raises `StorageError` where that cannot be.
    """
    prefix = "" if teacher.config.encoder_weights is None else "head."
    state = {
        name: (value.to(dtype) if value.is_floating_point() else value).contiguous()
        for name, value in teacher.state_dict().items()
        if name.startswith(prefix)
    }
    atomic_write(folder / "model.safetensors", save(state))
    atomic_write(folder / "config.json", json.dumps(teacher.config.to_json(), indent=1) + "\n")
