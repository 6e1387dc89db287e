"""Teachers that misbehave: one paragraph, exit code 3, and nothing that a good run would trip over."""

import os
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
from torch import Tensor, nn

Cli: TypeAlias = Callable[..., Any]

# All of torch.jit is deprecated; what it wrote is still about.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

MODULE = """
import pathlib, sys
import torch

pathlib.Path(__file__).with_name("ran").touch()
calls = 0


def make():
    return animate


def animate(audio):
    global calls
    hops = audio.unfold(1, 160, 160)
    curves = torch.stack([hops.abs().mean(2), hops.amax(2)], 2)
    opened = calls > 0  # the first call only asks how wide the outputs are
    calls += 1
    # HERE
    return curves
"""
INTERFACE = "{rate_hz: 100, columns: [{names: [jawOpen, mouthClose]}]}"


def recipe_of(own: Path, checkpoint: str, interface: str = INTERFACE, more: str = "") -> Path:
    path = own / "recipe.yaml"
    said = f"teacher:\n  checkpoint: {checkpoint}\n  interface: {interface}\n"
    said += "".join(f"  {line}\n" for line in more.splitlines())
    path.write_text(path.read_text().replace("teacher: {checkpoint: teacher}\n", said))
    return path


def module(own: Path, does: str) -> str:
    """A teacher that does something in its calls after it was opened."""
    (own / "odd.py").write_text(MODULE.replace("# HERE", textwrap.indent(does, "    ").strip()))
    return "odd:make"


def nothing_is_kept(run: Path) -> bool:
    """Whether no stage counts as done, and nothing is half-written."""
    kept = [path.name for path in run.rglob("*") if path.is_file()]
    assert not [name for name in kept if name == "stage.json" or name.endswith(".tmp")], kept
    return True


@pytest.mark.parametrize(
    ("does", "interface", "said"),
    [
        ("", INTERFACE.replace(", mouthClose", ""), ["1 names are given for 2 columns"]),
        ("", INTERFACE.replace("100", "30"), ["gave curves of shape", "about [", "interface", ".wav"]),
        ("if opened: curves[0, 4, 1] = float('nan')", INTERFACE,
            ["gave nan for mouthClose at frame 4 of", ".wav"]),
        ("if opened: curves[0, 4, 0] = float('inf')", INTERFACE, ["gave inf for jawOpen"]),
        ("if opened: raise MemoryError('no\\nroom')", INTERFACE,
            ["odd:make failed on audio", "it raised MemoryError: no room", ".wav"]),
        ("if opened: sys.exit(0)", INTERFACE, ["it raised SystemExit: 0", ".wav"]),
        ("sys.exit(0)", INTERFACE, ["could not be opened: it raised SystemExit: 0"]),
        ("if opened: curves = curves[:, :, :1]", INTERFACE, ["gave 1 values a pose", ".wav"]),
        ("if opened: curves = curves[:, :0]", INTERFACE, ["gave curves of shape", ".wav"]),
        ("if opened: curves = 'curves'", INTERFACE, ["gave a str as output", ".wav"]),
    ],
    ids=[
        *("names", "rate", "nan", "inf", "raises", "exits", "exits when opened", "width"),
        *("no frames", "no tensor"),
    ],
)  # fmt: skip
def test_it_is_said_and_a_good_one_goes_on_in_its_folder(
    own: Path, cli: Cli, does: str, interface: str, said: list[str]
) -> None:
    plain = (own / "recipe.yaml").read_text()
    recipe = recipe_of(own, module(own, does), interface)
    command = ("label", recipe, "--out", own / "run", "--trust")
    assert cli(*command).failed(3, *said)
    assert nothing_is_kept(own / "run")
    (own / "recipe.yaml").write_text(plain)
    recipe_of(own, module(own, ""))
    good = cli(*command)
    assert good.code == 0, good.err
    assert (own / "run" / "labels" / "stage.json").is_file()


def test_the_clip_that_it_fails_on_is_named(own: Path, cli: Cli) -> None:
    """Clips that no other is as long as go alone: the third call after the opening is one clip."""
    import numpy as np
    import soundfile

    names = sorted(path.name for path in (own / "speech" / "train").iterdir())
    for i, name in enumerate(names):
        samples = np.random.default_rng(i).uniform(-0.5, 0.5, 8000 + 160 * i)
        soundfile.write(own / "speech" / "train" / name, samples, 16_000)
    third = names[2]
    recipe = recipe_of(own, module(own, "if calls == 4: raise ValueError('too loud')"))
    ended = cli("label", recipe, "--out", own / "run", "--trust", "--set", "labels.shard_s=1000")
    assert ended.failed(3, "it raised ValueError: too loud", f"{own / 'speech' / 'train' / third}")
    assert ended.err.count(".wav") == 1


class Endless(nn.Module):
    """Never comes back from its second call on."""

    calls: int

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, audio: Tensor) -> Tensor:
        self.calls += 1
        i = 0
        total = audio.sum()
        while self.calls > 1:
            i += 1
            total = total + i
        hops = audio.unfold(1, 160, 160)
        return torch.stack([hops.abs().mean(2), hops.amax(2)], 2) + 0 * total


def save_endless_onnx(path: Path) -> None:
    """A loop whose condition stays true."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def value(name: str, shape: list[Any], kind: int = TensorProto.FLOAT) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    same = helper.make_node("Identity", ["going"], ["goes"])
    doubled = helper.make_node("Add", ["x", "x"], ["y"])
    counted = value("i", [], TensorProto.INT64), value("going", [], TensorProto.BOOL)
    body = helper.make_graph(
        [same, doubled],
        "body",
        [*counted, value("x", [1, "n", 2])],
        [value("goes", [], TensorProto.BOOL), value("y", [1, "n", 2])],
    )
    loop = helper.make_node("Loop", ["", "go", "audio"], ["rig"], body=body)
    go = numpy_helper.from_array(torch.tensor(True).numpy(), "go")
    ports = [value("audio", [1, 1, "n"])], [value("rig", [1, "n", 2])]
    graph = helper.make_graph([loop], "endless", *ports, [go])
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)


# So that in its time limit a process has nothing to do but to open the teacher, which takes milliseconds.
LOADED = """
import onnx, onnxruntime, torch
import compress.teachers.formats.onnx_program, compress.teachers.formats.python, compress.teachers.formats.torchscript
import compress.teachers.programs.program, compress.teachers.programs.torch_program
"""
HANGS = {
    "python loop": "while opened: pass",
    "sleep": "if opened: import time; time.sleep(1000)",
    "when opened": "while True: pass",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*HANGS, "import", "torchscript", "onnx"])
def test_one_that_hangs_is_left(own: Path, process: Cli, kind: str) -> None:
    if kind == "torchscript":
        torch.jit.save(torch.jit.script(Endless()), own / "odd.pt")
        checkpoint = "odd.pt"
    elif kind == "onnx":
        save_endless_onnx(own / "odd.onnx")
        checkpoint = "odd.onnx"
    else:
        checkpoint = module(own, HANGS.get(kind, ""))
        if kind == "import":
            (own / "odd.py").write_text("while True: pass")
    recipe = recipe_of(own, checkpoint, more="time_limit_s: 4")
    # That it ends by itself is what is asked: what hangs would do so for ever.
    ended = process("label", recipe, "--out", own / "run", "--trust", before=LOADED)
    assert ended.failed(3, f"Teacher {checkpoint} gave no answer within 4 s", "time_limit_s")
    assert (".wav" in ended.err) == (kind in ("python loop", "sleep", "torchscript"))
    assert len(ended.err.strip().splitlines()) == 1, "nothing is said at the interpreter's end"
    assert nothing_is_kept(own / "run")


@pytest.mark.slow
def test_one_that_hangs_can_be_debugged(own: Path, process: Cli) -> None:
    torch.jit.save(torch.jit.script(Endless()), own / "odd.pt")
    recipe = recipe_of(own, "odd.pt", more="time_limit_s: 4")
    ended = process("--debug", "label", recipe, "--out", own / "run", "--trust", before=LOADED)
    assert ended.code == 1
    assert "Traceback" in ended.err
    assert "gave no answer within 4 s" in ended.err.strip().splitlines()[-1]


def untrusted_python(own: Path, harm: Path) -> str:
    (own / "odd.py").write_text(f"import os\nos.mkdir({str(harm)!r})\n{MODULE}")
    return "odd:make"


def untrusted_package(own: Path, harm: Path) -> str:
    (own / "pack").mkdir()
    (own / "pack" / "__init__.py").write_text(f"import os\nos.mkdir({str(harm)!r})\n")
    (own / "pack" / "odd.py").write_text(MODULE)
    return "pack.odd:make"


class Harmful:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


class Doubled(nn.Module):
    def forward(self, audio: Tensor) -> Tensor:
        return audio[:, :, None] * 2


def untrusted_exported(own: Path, harm: Path) -> str:
    """A program whose sample inputs are a pickle that does harm."""
    program = torch.export.export(Doubled(), (torch.zeros(1, 1600),))
    torch.export.save(program, own / "good.pt2")
    torch.save(Harmful(harm), own / "harm.pt")
    with zipfile.ZipFile(own / "good.pt2") as old, zipfile.ZipFile(own / "odd.pt2", "w") as new:
        for name in old.namelist():
            bad = name.endswith("sample_inputs/model.pt")
            new.writestr(name, (own / "harm.pt").read_bytes() if bad else old.read(name))
    return "odd.pt2"


def untrusted_torchscript(own: Path, harm: Path) -> str:
    torch.jit.save(torch.jit.script(Doubled()), own / "odd.pt")
    return "odd.pt"


@pytest.mark.parametrize(
    "write", [untrusted_python, untrusted_package, untrusted_exported, untrusted_torchscript]
)
def test_untrusted_nothing_of_it_runs(
    own: Path, cli: Cli, write: Callable[[Path, Path], str]
) -> None:
    harm = own / "harm"
    checkpoint = write(own, harm)
    recipe = recipe_of(own, checkpoint)
    assert cli("label", recipe, "--out", own / "run").failed(3, "--trust", checkpoint)
    assert cli("label", recipe, "--out", own / "run", "--dry-run").code == 0
    assert not harm.exists()
    assert not (own / "ran").exists()
    assert nothing_is_kept(own / "run")


@pytest.mark.parametrize("write", [untrusted_python, untrusted_package])
def test_those_do_harm_when_they_are_trusted(
    own: Path, cli: Cli, write: Callable[[Path, Path], str]
) -> None:
    cli("label", recipe_of(own, write(own, own / "harm")), "--out", own / "run", "--trust")
    assert (own / "harm").exists()
