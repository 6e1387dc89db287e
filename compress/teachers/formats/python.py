"""Teachers in Python: ``MODULE:FUNCTION``, a function that makes one or a program that can be called.

The module is looked for below the recipe's folder, then among what is installed. Finding it runs
nothing of it; opening it runs all of it, and asks for trust.
"""

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from compress.errors import TeacherError
from compress.teachers import Description, Found, Opening, Port, Teacher
from compress.teachers.placed import Place, placed, torch_devices

if TYPE_CHECKING:
    from compress.recipe.teacher import InterfaceSettings

_NAME = re.compile(r"(?!builtin:)[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")

# Modules that were imported for a teacher from its recipe's folder, by name.
_ours: dict[str, ModuleType] = {}


def find(name: str, base: Path) -> Found | None:
    """A module's file, or all of the package that it lies in. `Found.path` ends in the name.

    Raises `TeacherError` where there is no such module.
    """
    if not _NAME.fullmatch(name) or (base / name).exists():
        return None
    module = name.partition(":")[0]
    for root in (base.absolute(), *_installed(module)):
        if file := _source(root, module):
            inside = file.name == "__init__.py" or "." in module
            more = file.parent.rglob("*.py") if inside else []
            return Found(root / name, tuple(sorted({file, *more})), weights=False)
    raise TeacherError(
        f"Teacher {name}: there is no Python module {module} below {base.absolute()}, nor is one "
        f"installed. Expected {module.replace('.', '/')}.py beside the recipe, or pip install what "
        f"has it."
    )


def open_checkpoint(path: Path, opening: Opening) -> Teacher:
    """What the function makes: a teacher, or a program with the recipe's interface.

    Raises `TeacherError` where it is not trusted, lacks something of the teacher contract, or does
    not fit the interface.
    """
    from compress.teachers.programs.torch_program import check_trust

    check_trust(opening.trust, path.name, "Python: to open it runs all the code of its module")
    import torch

    module, _, function = path.name.partition(":")
    with _importable(path.parent):
        make = getattr(_imported(path.parent, module), function, None)
        if not callable(make):
            raise TeacherError(
                f"Teacher {path.name}: {_source(path.parent, module)} has no function {function}, "
                f"expected one without arguments that makes the teacher."
            )
        made = make()
    if isinstance(made, torch.nn.Module):
        made.eval()
    place = Place(opening.device, opening.precision)
    made = place.moved(made, path.name)
    if hasattr(made, "animate"):
        from compress.teachers.programs.python_contract import Checked

        if opening.interface is not None:
            raise TeacherError(
                f"Teacher {path.name} says itself what it takes and gives, and the recipe has a "
                f"teacher.interface too. Leave that out."
            )
        return placed(Checked(path.name, made), place)
    if not callable(made):
        raise TeacherError(
            f"Teacher {path.name} made a {type(made).__name__}; expected an object with animate, as "
            f"docs/teachers.md shows, or something that can be called with audio."
        )
    return _program(path.name, made, opening, place)


def devices() -> tuple[str, ...]:
    """Those of PyTorch, for what can be moved there."""
    return torch_devices()


def describe(path: Path) -> Description:
    """Where its source is: more is not known of Python that has not run."""
    source = _source(path.parent, path.name.partition(":")[0])
    return Description(
        "Python", parameters=None, trust=True, interface=None, facts={"source": str(source)}
    )


def _installed(module: str) -> Iterator[Path]:
    """Folders of what is installed that may hold a module; looking imports nothing."""
    top = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # such as __main__, which is no file
        return
    if spec is None:
        return
    for place in spec.submodule_search_locations or ():
        yield Path(place).absolute().parent
    if spec.submodule_search_locations is None and spec.has_location and spec.origin is not None:
        yield Path(spec.origin).absolute().parent


def _source(root: Path, module: str) -> Path | None:
    stem = root.joinpath(*module.split("."))
    return next((f for f in (stem / "__init__.py", stem.with_suffix(".py")) if f.is_file()), None)


@contextmanager
def _importable(root: Path) -> Iterator[None]:
    """Let imports find what lies in the recipe's folder, before all else.

    What another recipe's teacher imported from its own folder is forgotten, so that this one finds
    its own module of the same name; the other teacher keeps those that it has.
    """
    for name, module in _ours.items():
        if sys.modules.get(name) is module:
            del sys.modules[name]
    _ours.clear()
    importlib.invalidate_caches()
    known, quiet, place = set(sys.modules), sys.dont_write_bytecode, str(root)
    foreign = place not in sys.path
    if foreign:
        sys.path.insert(0, place)
    sys.dont_write_bytecode = True  # the recipe's folder is not ours to write in
    try:
        yield
    finally:
        sys.dont_write_bytecode = quiet
        if foreign:
            sys.path.remove(place)
            new = {name: sys.modules[name] for name in sys.modules.keys() - known}
            _ours.update({n: m for n, m in new.items() if _source(root, n.partition(".")[0])})


def _imported(root: Path, name: str) -> ModuleType:
    module = importlib.import_module(name)
    expected = _source(root, name)
    found = getattr(module, "__file__", None)
    if expected is None or found is None or not Path(found).samefile(expected):
        raise TeacherError(
            f"Teacher {name}: the name stands for {found or 'a module of Python itself'} already, "
            f"expected {expected}. Rename the module."
        )
    return module


def _program(name: str, made: Callable[..., Any], opening: Opening, place: Place) -> Teacher:
    from compress.teachers.programs.program import Program, ProgramTeacher, needs_interface
    from compress.teachers.programs.torch_program import parameters_of, running

    said = "as its parameters are called"
    interface = needs_interface(opening, name, said, "known when it runs")
    inputs = _inputs(name, made, interface)
    first = inputs[0].name

    def call(tensors: Mapping[str, Any]) -> Any:
        rest = dict(tensors)
        return made(rest.pop(first), **rest)

    parameters, run = parameters_of(made), running(call, inputs, name, place)
    said = f"{name}, in Python{place.words}"
    return ProgramTeacher(Program(name, said, parameters, inputs, (), run), opening)


def _inputs(
    name: str, made: Callable[..., Any], interface: "InterfaceSettings"
) -> tuple[Port, ...]:
    """The first parameter, those without a default, and what the recipe has a constant for."""
    from compress.teachers.programs.torch_program import TENSOR

    # A module is called by way of __call__, which takes anything.
    asked = getattr(made, "forward", made)
    try:
        parameters = list(inspect.signature(asked).parameters.values())
    except (TypeError, ValueError):  # of what is written in C
        parameters = []
    anything = {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    asks = [p for p in parameters if p.kind not in anything]
    chosen = {interface.audio, *interface.inputs}
    names = [
        p.name
        for i, p in enumerate(asks)
        if i == 0 or p.default is inspect.Parameter.empty or p.name in chosen
    ]
    if not names:
        names = [interface.audio or "audio"]
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        names += [key for key in interface.inputs if key not in names]
    return tuple(Port(parameter, TENSOR, None) for parameter in names)
