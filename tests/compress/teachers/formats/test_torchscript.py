"""TorchScript programs as teachers."""

import warnings
from pathlib import Path
from typing import Any, Optional

import pytest
import torch
from torch import Tensor, nn

from compress.errors import TeacherError
from compress.teachers.loading import describe, find_teacher

# All of torch.jit is deprecated; what it wrote is still about.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

INTERFACE = "{rate_hz: 100}"


def script(module: nn.Module, path: Path, freeze: bool = False) -> None:
    scripted = torch.jit.script(module)
    torch.jit.save(torch.jit.freeze(scripted) if freeze else scripted, path)


def trace(module: nn.Module, path: Path, *example: Tensor) -> None:
    torch.jit.save(torch.jit.trace(module, example, strict=False), path)


@pytest.mark.parametrize("kind", ["scripted", "frozen", "traced"])
def test_its_curves_are_the_networks(
    open_named: Any, tmp_path: Path, strided: nn.Module, noise: Tensor, kind: str
) -> None:
    if kind == "traced":
        trace(strided, tmp_path / "m.pt", noise)
    else:
        script(strided, tmp_path / "m.pt", kind == "frozen")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        teacher = open_named("m.pt", INTERFACE)
    torch.testing.assert_close(teacher.animate(noise), strided(noise), rtol=0, atol=1e-6)
    assert teacher.parameters_count == (0 if kind == "frozen" else 2)


def test_dropout_is_off(open_named: Any, tmp_path: Path, windows: nn.Module, noise: Tensor) -> None:
    script(windows.train(), tmp_path / "m.pt")
    interface = (
        "{rate_hz: 60, audio: audio, inputs: {emotion: [0, 1]}, window: {samples: 800, moment: 0}}"
    )
    teacher = open_named("m.pt", interface)
    curves = teacher.animate(noise)
    assert torch.equal(teacher.animate(noise), curves)
    with torch.no_grad():
        expected = windows.eval()(noise[:, :800], torch.tensor([[0.0, 1.0]] * 2))
    torch.testing.assert_close(curves[:, 0], expected, rtol=0, atol=1e-6)


class Further(nn.Module):
    """Takes a number, and what may be left out; gives a dict."""

    def forward(
        self,
        audio: Tensor,
        gain: float,
        hop: int,
        shift: Optional[Tensor] = None,  # noqa: UP045
    ) -> dict[str, Tensor]:
        hops = audio.unfold(1, hop, hop).mean(2, keepdim=True) * gain
        if shift is not None:
            hops = hops + shift
        return {"jaw": hops, "brow": -hops}


def test_numbers_and_optional_inputs(open_named: Any, tmp_path: Path, noise: Tensor) -> None:
    script(Further(), tmp_path / "m.pt")
    hops = noise.unfold(1, 160, 160).mean(2) * 2
    interface = "{{rate_hz: 100, audio: audio, inputs: {{gain: 2, hop: 160{}}}}}"
    teacher = open_named("m.pt", interface.format(""))
    torch.testing.assert_close(teacher.animate(noise), torch.stack([hops, -hops], 2))
    shifted = open_named("m.pt", interface.format(", shift: 1")).animate(noise)
    torch.testing.assert_close(shifted[..., 0], hops + 1)
    found = describe(find_teacher("m.pt", tmp_path))
    assert [(p.name, p.dtype) for p in found.inputs] == [
        ("audio", "tensor"),
        ("gain", "float"),
        ("hop", "int"),
    ]
    assert found.facts == {"may be left out": "shift: Optional[Tensor] = None"}


class WithDefaults(nn.Module):
    """Takes a number, a word and a pair that all have defaults."""

    def forward(
        self,
        audio: Tensor,
        mood: float = 2.0,
        name: str = "calm, a) -> ",
        pair: tuple[int, int] = (160, 160),
    ) -> Tensor:
        size, step = pair
        return audio.unfold(1, size, step).mean(2, keepdim=True) * mood + len(name)


def test_arguments_with_defaults_may_be_left_out(
    open_named: Any, tmp_path: Path, noise: Tensor
) -> None:
    script(WithDefaults(), tmp_path / "m.pt")
    hops = noise.unfold(1, 160, 160).mean(2, keepdim=True)
    found = open_named("m.pt", INTERFACE).animate(noise)
    torch.testing.assert_close(found, 2 * hops + 12)
    found = open_named("m.pt", "{rate_hz: 100, audio: audio, inputs: {mood: 5}}").animate(noise)
    torch.testing.assert_close(found, 5 * hops + 12)
    described = describe(find_teacher("m.pt", tmp_path))
    assert [port.name for port in described.inputs] == ["audio"]
    assert described.facts["may be left out"] == (
        "mood: float = 2.0, name: str = 'calm, a) -> ', pair: Tuple[int, int] = (160, 160)"
    )


class WithoutAudio(nn.Module):
    """Takes nothing."""

    def forward(self) -> Tensor:
        return torch.zeros(1, 2, 3)


def test_one_that_takes_nothing_is_refused(open_named: Any, tmp_path: Path) -> None:
    script(WithoutAudio(), tmp_path / "m.pt")
    with pytest.raises(
        TeacherError, match=r"m\.pt is TorchScript without a forward that takes aud"
    ):
        open_named("m.pt", INTERFACE)


def test_it_is_described_without_trust(tmp_path: Path, windows: nn.Module) -> None:
    trace(windows, tmp_path / "m.pt", torch.zeros(2, 800), torch.zeros(2, 2))
    found = describe(find_teacher("m.pt", tmp_path))
    assert [(p.name, p.shape) for p in found.inputs] == [("audio", None), ("emotion", None)]
    assert (found.parameters, found.trust, found.interface) == (None, True, True)


def test_untrusted_it_is_not_opened(open_named: Any, tmp_path: Path, strided: nn.Module) -> None:
    script(strided, tmp_path / "m.pt")
    with pytest.raises(TeacherError, match=r"m\.pt is TorchScript: .* --trust"):
        open_named("m.pt", INTERFACE, trust=False)


def test_it_is_told_by_its_layout(tmp_path: Path, strided: nn.Module) -> None:
    for name in ("m.pt", "m.pth", "m.ts"):
        script(strided, tmp_path / name)
        assert find_teacher(name, tmp_path).format == "torchscript"
    torch.save(strided.state_dict(), tmp_path / "weights.pt")
    assert find_teacher("weights.pt", tmp_path).format == "pickled"


class Script(nn.Module):
    """What does not answer with tensors."""

    def forward(self, audio: Tensor) -> str:
        return "curves"


def test_what_is_no_tensor_is_refused(open_named: Any, tmp_path: Path) -> None:
    script(Script(), tmp_path / "m.pt")
    with pytest.raises(TeacherError, match=r"m\.pt gave a str as output, expected a tensor"):
        open_named("m.pt", INTERFACE)
