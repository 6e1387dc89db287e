"""Teachers on a device, and in lower precision.

What is on a second device here is on PyTorch's ``meta``, which has shapes and no numbers: an
operation between it and the CPU raises, as between the CPU and a GPU.
"""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compress.errors import MissingError, TeacherError
from compress.recipe.teacher import TeacherSettings
from compress.teachers import Opening
from compress.teachers.formats import exported, onnx_program, pickled, python, reference
from compress.teachers.loading import device_of, find_teacher, open_teacher
from compress.teachers.networks.voice2face import Voice2Face, save_checkpoint
from compress.teachers.placed import Place, Placed, in_float32, placed, torch_devices
from compress.teachers.programs.torch_program import running
from tests.compress.teachers.hubert_folders import untrained

HERE = ("cpu",) if not torch.accelerator.is_available() else torch_devices()
only_cpu = pytest.mark.skipif(HERE != ("cpu",), reason="this machine has another device")


@pytest.fixture
def checkpoint(tmp_path: Path, tiny_voice2face: Voice2Face) -> Path:
    save_checkpoint(tiny_voice2face, tmp_path / "teacher")
    return tmp_path


def opened(base: Path, name: str = "teacher", **said: Any) -> Any:
    settings = TeacherSettings(checkpoint=name, **said)
    return open_teacher(find_teacher(name, base), settings, base)


def speech(clips: int = 3, seconds: float = 2.0) -> Tensor:
    """Noise that swells and fades, each clip another one."""
    samples = torch.arange(round(seconds * 16_000)) / 16_000
    noise = torch.rand(clips, len(samples), generator=torch.Generator().manual_seed(3)) - 0.5
    return noise * torch.sin(2 * torch.pi * 3 * samples) ** 2


# ------------------------------------------------------------------------------------ precision


def test_the_reference_teacher_in_bf16(checkpoint: Path) -> None:
    """Near its own curves, in finer steps than bf16 has, and the same whatever is beside a clip."""
    audio = speech()
    usual, lower = opened(checkpoint), opened(checkpoint, precision="bf16")
    exact, found = usual.animate(audio), lower.animate(audio)
    assert found.dtype == torch.float32
    moves = (exact.amax(1) - exact.amin(1)).amax()
    assert 0 < (found - exact).abs().max() < 0.05 * moves
    assert not torch.equal(found, found.to(torch.bfloat16).float())
    alone = torch.cat([lower.animate(clip[None]) for clip in audio])
    torch.testing.assert_close(alone, found, rtol=0, atol=1e-5)
    assert torch.equal(lower.animate(audio), found)
    assert lower.description == usual.description.removesuffix(".") + ", on cpu in bf16."
    assert (lower.controls, lower.rate_hz, lower.limits) == (
        usual.controls,
        usual.rate_hz,
        usual.limits,
    )


def test_nothing_is_put_around_a_teacher_in_its_usual_place(checkpoint: Path) -> None:
    teacher = reference.open_checkpoint(checkpoint / "teacher", Opening())
    assert isinstance(teacher, Voice2Face)
    assert placed(teacher, Place()) is teacher


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of all torch.jit
@pytest.mark.parametrize("kind", ["exported", "scripted", "a module", "a teacher"])
def test_programs_in_bf16(tmp_path: Path, windows: nn.Module, noise: Tensor, kind: str) -> None:
    """Their products come out with bf16's eight bits."""
    interface: dict[str, Any] | None = INTERFACE
    name = "m.pt2" if kind == "exported" else "m.pt"
    if kind == "exported":
        batch = torch.export.Dim("batch")
        example, shapes = (torch.zeros(2, 800), torch.zeros(2, 2)), ({0: batch}, {0: batch})
        program = torch.export.export(windows, example, dynamic_shapes=shapes)
        torch.export.save(program, tmp_path / name)
    elif kind == "scripted":
        torch.jit.save(torch.jit.script(windows), tmp_path / name)
    else:
        (tmp_path / "mine.py").write_text(IN_PYTHON)
        name = "mine:net" if kind == "a module" else "mine:teacher"
        interface = {"rate_hz": 100.0} if kind == "a module" else None
    said = {"trust": True, "interface": interface}
    usual, lower = (opened(tmp_path, name, **said, precision=p) for p in ("fp32", "bf16"))
    exact, found = usual.animate(noise), lower.animate(noise)
    assert (found.dtype, found.device.type) == (torch.float32, "cpu")
    assert 0 < (found - exact).abs().max() <= 2**-7 * exact.abs().max()
    assert lower.description.removesuffix(".").endswith(", on cpu in bf16")


INTERFACE = {
    "rate_hz": 60.0,
    "audio": "audio",
    "inputs": {"emotion": (0.25, 0.5)},
    "window": {"samples": 800, "moment": 400},
}
IN_PYTHON = """
import torch


class Net(torch.nn.Module):
    controls, rate_hz, offset_s, sample_rate_hz = ("jawOpen",), 100.0, 0.0, 16000
    limits, description, parameters_count = None, "mine.", 160

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(0, 1, 160)[:, None])

    def forward(self, audio):
        return audio.unfold(1, 160, 160) @ self.weight


class Teacher(Net):
    def animate(self, audio):
        return self(audio)


net, teacher = Net, Teacher
"""


def test_float32_is_kept_inside_of_lower_precision() -> None:
    values = torch.rand(4, 4)
    with Place("cpu", "bf16").computing():
        assert (values @ values).dtype == torch.bfloat16
        with in_float32(values.device):
            assert (values @ values).dtype == torch.float32
        assert (values @ values).dtype == torch.bfloat16
    assert (values @ values).dtype == torch.float32
    with in_float32(torch.device("meta")):  # which has no lower precision
        pass


def test_fp32_is_fp32_on_cuda_too_and_repeats() -> None:
    """These are switches of the process, which are there without a GPU."""
    cudnn = torch.backends.cudnn
    before = (cudnn.allow_tf32, cudnn.deterministic, cudnn.enabled)
    with Place("cuda").computing():
        assert (cudnn.allow_tf32, cudnn.deterministic, cudnn.enabled) == (False, True, True)
    assert (cudnn.allow_tf32, cudnn.deterministic, cudnn.enabled) == before


@only_cpu
def test_a_precision_that_pytorch_would_leave_out_in_silence_is_refused() -> None:
    with (
        pytest.warns(UserWarning, match="Disabling autocast"),
        pytest.raises(TeacherError, match="PyTorch has no bf16 for cuda"),
        Place("cuda", "bf16").computing(),
    ):
        pass


def test_fp16_is_not_for_the_cpu(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match=r"precision is fp16.*expected bf16, fp32, or another"):
        TeacherSettings(checkpoint="teacher", precision="fp16")


@only_cpu
def test_fp16_wherever_it_can_be_had_is_nowhere_here(checkpoint: Path) -> None:
    with pytest.raises(MissingError, match="fp16, which needs a device other than the CPU"):
        opened(checkpoint, device="auto", precision="fp16")


def test_an_onnx_program_has_the_precision_of_its_file(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"m\.onnx computes in the precision .* is bf16. Leave"):
        onnx_program.open_checkpoint(tmp_path / "m.onnx", Opening(precision="bf16"))


# --------------------------------------------------------------------------------------- devices


def test_the_devices_of_this_machine() -> None:
    found = torch_devices()
    assert found == HERE
    assert found[-1] == "cpu"
    assert reference.devices() == exported.devices() == python.devices() == found
    assert pickled.devices() == ("cpu",)
    assert onnx_program.devices()[-1] == "cpu"


def test_auto_is_the_first_that_is_there(checkpoint: Path) -> None:
    file = find_teacher("teacher", checkpoint)
    settings = TeacherSettings(checkpoint="teacher", device="auto")
    assert device_of(file, settings) == HERE[0]
    assert device_of(file, TeacherSettings(checkpoint="teacher")) == "cpu"


@only_cpu
def test_auto_is_the_cpu_where_nothing_else_is(checkpoint: Path) -> None:
    assert torch.equal(
        opened(checkpoint, device="auto").animate(speech()), opened(checkpoint).animate(speech())
    )


@pytest.mark.parametrize("device", ["cuda:99", "xla", "meta"])
def test_a_device_that_is_not_here_is_said_with_those_that_are(
    checkpoint: Path, device: str
) -> None:
    said = f"teacher.device is {device}, but what runs teacher has only {', '.join(HERE)} on this"
    with pytest.raises(MissingError, match=said):
        opened(checkpoint, device=device)


def test_onnx_runtime_says_what_it_was_built_for(tmp_path: Path) -> None:
    from tests.compress.teachers.formats.test_onnx_program import audio2face

    audio2face(tmp_path / "network.onnx")
    said = {"interface": {"rate_hz": 30.0, "window": {"samples": 8320, "moment": 4160}}}
    assert "xla" not in onnx_program.devices()
    with pytest.raises(MissingError, match=r"teacher\.device is xla, but what runs network\.onnx"):
        opened(tmp_path, "network.onnx", device="xla", **said)


@pytest.mark.skipif("cuda" in onnx_program.devices(), reason="this ONNX Runtime has CUDA")
def test_onnx_runtime_that_falls_back_is_noticed(tmp_path: Path) -> None:
    """It only warns, and would label for hours on the CPU."""
    from tests.compress.teachers.formats.test_onnx_program import audio2face

    audio2face(tmp_path / "network.onnx")
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(MissingError, match="could not load its CUDAExecutionProvider"),
    ):
        onnx_program.open_checkpoint(tmp_path / "network.onnx", Opening(device="cuda"))


@pytest.mark.parametrize("encoder", ["moonshine", pytest.param("hubert", marks=pytest.mark.slow)])
def test_all_of_the_reference_teacher_is_where_its_audio_is(
    tiny_voice2face: Voice2Face, encoder: str
) -> None:
    """No tensor of its own making stays on the CPU."""
    teacher = tiny_voice2face if encoder == "moonshine" else untrained(None)
    usual = teacher.animate(torch.zeros(2, 20_000)).shape
    curves = teacher.to("meta").animate(torch.zeros(2, 20_000, device="meta"))
    assert (curves.device.type, curves.shape) == ("meta", usual)


def test_what_stays_on_the_cpu_is_noticed() -> None:
    """So that the test above can fail."""

    def animate(audio: Tensor) -> Tensor:
        return audio + torch.ones(audio.shape)

    with pytest.raises(RuntimeError, match="device"):
        animate(torch.zeros(2, 3, device="meta"))


class Far:
    """A teacher that notes where its audio is."""

    controls, rate_hz, offset_s, sample_rate_hz = ("jawOpen",), 100.0, 0.0, 16_000
    limits, description, parameters_count = None, "far away.", 0
    heard = moved = ""

    def to(self, device: str) -> None:
        self.moved = device

    def animate(self, audio: Tensor) -> Tensor:
        self.heard = audio.device.type
        return torch.zeros(len(audio), audio.shape[1] // 160, 1, dtype=torch.float64)


def test_audio_goes_there_and_curves_come_back() -> None:
    far, place = Far(), Place("meta")
    assert place.moved(far, "far") is far, "one that moves and says nothing"
    assert far.moved == "meta"
    teacher = Placed(far, place)
    curves = teacher.animate(torch.zeros(2, 1600))
    assert far.heard == "meta"
    assert (curves.device.type, curves.dtype, curves.shape) == ("cpu", torch.float32, (2, 10, 1))
    assert teacher.description == "far away, on meta in fp32."


def test_a_module_says_where_it_went_itself(strided: nn.Module) -> None:
    moved = Place("meta").moved(strided, "m")
    assert {weight.device.type for weight in moved.parameters()} == {"meta"}


def test_what_cannot_be_moved_is_refused_with_what_can() -> None:
    with pytest.raises(TeacherError, match=r"mine:build is a function without `to`.*\.pt2, Torch"):
        Place("cuda").moved(lambda audio: audio, "mine:build")
    assert Place("cpu", "bf16").moved(len, "mine:build") is len


def test_programs_get_their_tensors_there() -> None:
    from compress.teachers import Port

    ports = (Port("audio", "float32", None), Port("half", "bfloat16", None), Port("n", "int", ()))
    came: dict[str, Any] = {}

    def call(tensors: Any) -> Tensor:
        came.update(tensors)
        return torch.zeros(1)

    import numpy as np

    feeds = {"audio": np.zeros(3, np.float32), "half": np.zeros(2, np.float32), "n": np.array(7)}
    running(call, ports, "p", Place("meta"))(feeds)
    assert {came[name].device.type for name in ("audio", "half")} == {"meta"}
    assert (came["audio"].dtype, came["half"].dtype) == (torch.float32, torch.bfloat16)
    assert came["n"] == 7


def test_all_of_an_exported_program_moves(tmp_path: Path, noise: Tensor) -> None:
    """Also what it makes on the way. It runs to the end, where meta has no numbers to give."""

    class Making(nn.Module):
        def forward(self, audio: Tensor) -> Tensor:
            ramp = torch.arange(audio.shape[1], device="cpu") / 16_000
            return (audio * ramp + torch.ones(1, device="cpu")).unfold(1, 160, 160)

    program = torch.export.export(Making(), (noise,))
    torch.export.save(program, tmp_path / "m.pt2")
    window = {"samples": noise.shape[1], "moment": 0}
    interface = TeacherSettings(
        checkpoint="m", interface={"rate_hz": 100.0, "window": window}
    ).interface
    opening = Opening(trust=True, interface=interface, device="meta")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(NotImplementedError, match="meta tensor; no data"):
            exported.open_checkpoint(tmp_path / "m.pt2", opening)


# ------------------------------------------------------------------------------------------- key


def test_the_key_is_of_device_and_precision_where_they_are_not_the_usual_ones() -> None:
    def parts(**said: Any) -> dict[str, object]:
        return TeacherSettings(checkpoint="a", **said).key_parts

    assert parts() == parts(device="cpu", precision="fp32")
    assert not {"device", "precision"} & parts().keys(), "as before there was a choice"
    different = [parts(), parts(precision="bf16"), parts(device="cuda"), parts(device="mps")]
    different += [parts(device="auto"), parts(device="cuda", precision="bf16")]
    assert all(one not in different[:i] for i, one in enumerate(different))
    assert parts(device="cuda:1") == parts(device="cuda")


@pytest.mark.parametrize("device", ["GPU", "cuda:", "", "cuda:a", "cpu cuda"])
def test_what_is_no_name_of_a_device_is_a_mistake(device: str) -> None:
    with pytest.raises(ValueError, match="device"):
        TeacherSettings(checkpoint="a", device=device)
