"""The Moonshine speech encoder: raw 16 kHz audio to 41.67 feature frames a second.

N. Jeffries et al., *Moonshine: Speech Recognition for Live Transcription and Voice Commands*, 2024,
arXiv:2410.15608. A convolutional stem (total stride 384 samples), then pre-norm transformer layers
with rotary positions.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compress.teachers.networks.encoders import check_counts, receptive_field

_KERNELS, _STRIDES = (127, 7, 3), (64, 3, 2)


@dataclass(frozen=True)
class MoonshineConfig:
    """Sizes of the encoder; the defaults are Moonshine tiny's. Raises `ValueError` for impossible
    ones.
    """

    dim: int = 288
    layers: int = 6
    heads: int = 8
    rotary_dim: int = 32

    name: ClassVar[str] = "moonshine"
    least_samples: ClassVar[int] = receptive_field(_KERNELS, _STRIDES)[0]
    stride: ClassVar[int] = receptive_field(_KERNELS, _STRIDES)[1]
    first_centre: ClassVar[float] = (least_samples - 1) / 2

    def __post_init__(self) -> None:
        for name, size in self.to_json().items():
            check_counts(name, size)
        if self.dim % self.heads or self.rotary_dim > self.dim // self.heads:
            raise ValueError(
                f"a dim of {self.dim} does not divide into {self.heads} heads that hold "
                f"{self.rotary_dim} rotary channels"
            )

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    def build(self) -> "MoonshineEncoder":
        return MoonshineEncoder(self)

    def rename(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(state)


def read_encoder(fields: Mapping[str, Any]) -> MoonshineConfig:
    """The encoder that an `encoder_config` says."""
    return MoonshineConfig(**fields)


def pretrained_fields(
    config: Mapping[str, object], preprocessor: Mapping[str, object]
) -> dict[str, object]:
    """Hugging Face's folder has the decoder too, and rotates other channels."""
    raise ValueError(
        "encoder moonshine has its weights beside the head; expected no encoder_weights"
    )


class _Attention(nn.Module):
    def __init__(self, config: MoonshineConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q_proj = nn.Linear(config.dim, config.dim, bias=False)
        self.k_proj = nn.Linear(config.dim, config.dim, bias=False)
        self.v_proj = nn.Linear(config.dim, config.dim, bias=False)
        self.o_proj = nn.Linear(config.dim, config.dim, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """`[batch, frames, dim]` → the same; `cos`, `sin`: `[frames, rotary]`."""
        batch, frames, dim = x.shape

        def heads(projection: nn.Linear) -> Tensor:
            projected: Tensor = projection(x)
            return projected.view(batch, frames, self.heads, dim // self.heads).transpose(1, 2)

        query, key = _rotate(heads(self.q_proj), cos, sin), _rotate(heads(self.k_proj), cos, sin)
        mixed = F.scaled_dot_product_attention(query, key, heads(self.v_proj))
        output: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(batch, frames, dim))
        return output


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions on the first channels of each head, in interleaved pairs."""
    turned, kept = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
    quarter = torch.stack((-turned[..., 1::2], turned[..., ::2]), -1).flatten(-2)
    return torch.cat([turned * cos + quarter * sin, kept], -1)


class _Layer(nn.Module):
    def __init__(self, config: MoonshineConfig) -> None:
        super().__init__()
        self.self_attn = _Attention(config)
        self.mlp = nn.ModuleDict(
            {
                "fc1": nn.Linear(config.dim, 4 * config.dim),
                "fc2": nn.Linear(4 * config.dim, config.dim),
            }
        )
        self.input_layernorm = nn.LayerNorm(config.dim, bias=False)
        self.post_attention_layernorm = nn.LayerNorm(config.dim, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        added: Tensor = self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.post_attention_layernorm(x))))
        return x + added


class MoonshineEncoder(nn.Module):
    """The encoder, giving every layer's output.

    The group norm sees the whole clip: batch equal lengths only.
    """

    inverse_frequencies: Tensor

    def __init__(self, config: MoonshineConfig) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(1, config.dim, _KERNELS[0], _STRIDES[0], bias=False)
        self.conv2 = nn.Conv1d(config.dim, 2 * config.dim, _KERNELS[1], _STRIDES[1])
        self.conv3 = nn.Conv1d(2 * config.dim, config.dim, _KERNELS[2], _STRIDES[2])
        self.group_norm = nn.GroupNorm(1, config.dim, eps=1e-5)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.register_buffer("inverse_frequencies", torch.zeros(config.rotary_dim // 2))

    def forward(self, audio: Tensor) -> list[Tensor]:
        """`[batch, samples]` at 16 kHz → each output, `[batch, frames, dim]`, the stem's first."""
        x = self.group_norm(torch.tanh(self.conv1(audio[:, None])))
        x = F.gelu(self.conv3(F.gelu(self.conv2(x)))).transpose(1, 2)
        angle = torch.arange(x.shape[1], device=x.device)[:, None] * self.inverse_frequencies
        cos, sin = angle.cos().repeat_interleave(2, -1), angle.sin().repeat_interleave(2, -1)
        outputs = [x]
        for layer in self.layers:
            outputs.append(layer(outputs[-1], cos, sin))
        return outputs
