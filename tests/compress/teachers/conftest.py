"""What tests of programs share: an interface from YAML, as a recipe says it, and small networks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
import yaml
from torch import Tensor, nn

from compress.recipe.teacher import InterfaceSettings, TeacherSettings
from compress.teachers import Opening
from compress.teachers.guarded import Guarded
from compress.teachers.loading import find_teacher, open_teacher

OpenNamed: TypeAlias = Callable[..., Guarded]


@pytest.fixture
def opening(tmp_path: Path) -> Callable[..., Opening]:
    """What a recipe says, its interface as YAML; trusted, and its paths start in `tmp_path`."""

    def make(interface: str) -> Opening:
        fields = yaml.safe_load(interface)
        settings = TeacherSettings.model_validate_json(
            _json({"checkpoint": "x", "interface": fields})
        )
        assert isinstance(settings.interface, InterfaceSettings)
        return Opening(trust=True, interface=settings.interface, base=tmp_path)

    return make


@pytest.fixture
def open_named(tmp_path: Path) -> OpenNamed:
    """Opens a checkpoint below `tmp_path` by its name, as a recipe there would, its interface as
    YAML.
    """

    def make(name: str, interface: str | None = None, trust: bool = True) -> Guarded:
        fields = None if interface is None else yaml.safe_load(interface)
        said = {"checkpoint": name, "interface": fields, "trust": trust}
        file = find_teacher(name, tmp_path)
        return open_teacher(file, TeacherSettings.model_validate_json(_json(said)), tmp_path)

    return make


def _json(fields: dict[str, Any]) -> str:
    import json

    return json.dumps(fields)


class Windows(nn.Module):
    """A windowed network of fixed weights: mean square and mean of quarters, plus an emotion.

    audio `[batch, samples]`, emotion `[batch, 2]` → `[batch, 3]`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 3)
        with torch.no_grad():
            self.mix.weight.copy_(torch.arange(12.0).reshape(3, 4) / 12 - 0.4)
            self.mix.bias.copy_(torch.tensor([0.1, -0.2, 0.3]))
        self.dropout = nn.Dropout(0.5)

    def forward(self, audio: Tensor, emotion: Tensor) -> Tensor:
        quarters = audio.unflatten(1, (4, -1))
        mixed: Tensor = self.mix(self.dropout(quarters.square().mean(2) * 10))
        return mixed + emotion.sum(1, keepdim=True)


class Strided(nn.Module):
    """A network of whole clips: the mean and the greatest of every 160 samples.

    audio `[batch, samples]` → `[batch, samples // 160, 2]`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([2.0, 0.5]))

    def forward(self, audio: Tensor) -> Tensor:
        hops = audio.unfold(1, 160, 160)
        return torch.stack([hops.abs().mean(2), hops.amax(2)], 2) * self.scale


@pytest.fixture
def windows() -> Windows:
    return Windows().eval()


@pytest.fixture
def strided() -> Strided:
    return Strided().eval()


@pytest.fixture
def noise() -> Tensor:
    """Two clips of 0.3 s at 16 kHz, float32 `[2, 4800]`."""
    return torch.rand(2, 4800, generator=torch.Generator().manual_seed(3)) * 2 - 1
