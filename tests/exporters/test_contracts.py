"""Half a module is refused, and one paragraph names all that it lacks."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import exporters
from exporters.contracts import Kind
from exporters.errors import ContractError
from exporters.measuring.devices import DEVICES, load_device
from exporters.targets.contract import TARGETS, available_targets, load_target, target_of

Add = Callable[[str, str], Path]

WHOLE = """\
SUFFIX, PRECISIONS, TOOLS, RUNTIMES, EVALUATED = ".whole", ("fp32",), (), (), False
def export(module, signature, path): ...
def open_runtime(path, *, threads=1): ...
def import_runtime(): ...
def further_runtimes(path, *, threads=1): return {}
def structure(path): ...
"""


def test_all_of_ours_keep_their_contracts() -> None:
    assert len(TARGETS.names()) >= 3
    for kind in (TARGETS, DEVICES):
        assert kind.names() == kind.available()
        assert {kind.fault(name) for name in kind.names()} == {""}


def test_all_that_is_lacking_is_named_together(add_module: Add) -> None:
    file = add_module(
        "exporters.targets.half",
        "SUFFIX, PRECISIONS = '.half', 'fp32'\n"
        "def export(module, path): ...\n"
        "structure = None\n"
        "open_runtime = 7\n",
    )
    with pytest.raises(ContractError) as raised:
        load_target("half")
    assert raised.value.exit_code == 4
    assert str(raised.value) == (
        f"{file} does not keep the contract of a target. It lacks PRECISIONS, a tuple, and has a "
        "str; TOOLS, a tuple; RUNTIMES, a tuple; EVALUATED, a bool; the function export(module, "
        "signature, path, **options), and has export(module, path); the function open_runtime("
        "path, *, threads=1), and has a int of that name; the function import_runtime(); the "
        "function further_runtimes(path, *, threads=1); the function structure(path). "
        "exporters.targets.contract.Target says what each of them is."
    )


@pytest.mark.parametrize(
    ("line", "instead", "said"),
    [
        ("def structure(path): ...", "", "It lacks the function structure(path)."),
        (
            "def open_runtime(path, *, threads=1): ...",
            "def open_runtime(path): ...",
            "open_runtime(path, *, threads=1), and has open_runtime(path).",
        ),
        (
            "def import_runtime(): ...",
            "def import_runtime(way): ...",
            "import_runtime(), and has import_runtime(way).",
        ),
        (
            "def export(module, signature, path): ...",
            "def export(module, signature, path, *, beads): ...",
            "and has export(module, signature, path, *, beads).",
        ),
        (
            "def export(module, signature, path): ...",
            "globals()['export'] = print",
            "It lacks a definition of export in its own source.",
        ),
    ],
)
def test_each_part_is_asked_for(add_module: Add, line: str, instead: str, said: str) -> None:
    assert line in WHOLE
    add_module("exporters.targets.whole", WHOLE)
    assert load_target("whole").SUFFIX == ".whole"
    add_module("exporters.targets.part", WHOLE.replace(line, instead).replace(".whole", ".part"))
    assert said in TARGETS.fault("part")
    assert "part" not in available_targets()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_package\ndef export(): ...", "ModuleNotFoundError: No module named"),
        ("def export(:", "SyntaxError: "),
        ("1 / 0\ndef export(): ...", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(add_module: Add, source: str, said: str) -> None:
    file = add_module("exporters.targets.broken", source)
    fault = TARGETS.fault("broken")
    assert fault.startswith(f"{file} cannot be imported as the target 'broken': {said}")
    assert fault.endswith("A module of this kind imports what its work needs inside its functions.")
    # What has nothing to do with it goes on.
    assert target_of(Path("model.onnx")) == "onnx"


def test_what_is_found_may_be_imported_from_elsewhere(add_module: Add) -> None:
    add_module("exporters.targets.whole", WHOLE)
    add_module(
        "exporters.targets.another",
        "from exporters.targets.whole import *\nfrom exporters.targets.whole import export\n",
    )
    assert {"another", "whole"} <= set(available_targets())


@pytest.mark.parametrize("name", ["coffee", "parity", "report", "../onnx", "onnx.py", "", "é"])
def test_other_names_list_what_there_is(name: str) -> None:
    assert not TARGETS.knows(name)
    fault = TARGETS.fault(name)
    assert fault == f"There is no target {name!r}; there is coreml, onnx, tflite."


def test_half_a_device(add_module: Add) -> None:
    add_module(
        "exporters.measuring.devices.toaster", "SUFFIX = '.onnx'\ndef obstacle(): return ''\n"
    )
    with pytest.raises(
        ContractError, match=r"toaster\.py does not .* kind of device. It lacks the "
    ):
        load_device("toaster")
    assert "toaster" in DEVICES.names()
    assert "toaster" not in DEVICES.available()


def test_to_list_the_names_of_a_kind_imports_none_of_them(add_module: Add) -> None:
    add_module("exporters.targets.loud", "raise SystemExit\ndef export(): ...\n")
    assert "loud" in TARGETS.names()
    code = (
        "import sys, exporters.targets.contract\n"
        "found = exporters.targets.contract.TARGETS.names()\n"
        "assert 'onnx' in found and not {f'exporters.{name}' for name in found} & {*sys.modules}\n"
    )
    home = str(Path(exporters.__path__[0]).parent)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=home, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_kind_without_members() -> None:
    class Spoon:
        def stir(self, cup: str) -> None: ...

    assert Kind[Spoon]("spoon", "exporters.measuring.devices", Spoon).fault("tea") == (
        "There is no spoon 'tea'; there is none."
    )
