"""Modules that are found by their names: each keeps a contract, or is refused in words.

A kind of module, such as a target, is a package and a Protocol. A module of the package is meant to
be of that kind where its source binds the first function of the Protocol at top level. It is
imported and compared with the whole Protocol before anything of it is used.
"""

import ast
import functools
import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Generic, TypeVar, cast, get_origin

from exporters.errors import ContractError

Contract = TypeVar("Contract")


@dataclass(frozen=True)
class Kind(Generic[Contract]):
    """The modules of one package that keep one contract; ``word`` is what one of them is called.

    A folder in that package is one too where its module ``inside`` keeps it; none is without that name.
    """

    word: str
    package: str
    contract: type
    inside: str = ""

    def names(self) -> tuple[str, ...]:
        """Modules that are meant to be of this kind, sorted. None is imported."""
        package = importlib.import_module(self.package)
        first = self._functions[0]
        return tuple(
            sorted(
                entry.name
                for entry in pkgutil.iter_modules(package.__path__)
                if (self.inside or not entry.ispkg) and _binds(self._spec(entry.name), first)
            )
        )

    def available(self) -> tuple[str, ...]:
        """Those that keep the contract, sorted. Each is imported."""
        return tuple(name for name in self.names() if not self.fault(name))

    def load(self, name: str) -> Contract:
        """The module called ``name``. Raises ContractError with all that it lacks."""
        if fault := self.fault(name):
            raise ContractError(fault)
        spec = self._spec(name)
        assert spec is not None
        return cast(Contract, importlib.import_module(spec.name))

    def knows(self, name: str) -> bool:
        """Whether a module of that name is of this kind, or half of one."""
        spec = self._spec(name)
        if spec is None:
            return False
        if _binds(spec, self._functions[0]):
            return True
        try:
            module = importlib.import_module(spec.name)
        except Exception:  # noqa: BLE001 - nothing says that it was meant to be one
            return False
        return any(hasattr(module, each) for each in (*_constants(self.contract), *self._functions))

    def fault(self, name: str) -> str:
        """Why the module called ``name`` is not of this kind, one paragraph; empty if it is."""
        spec = self._spec(name)
        if spec is None or not self.knows(name):
            known = ", ".join(self.available()) or "none"
            return f"There is no {self.word} {name!r}; there is {known}."
        try:
            module = importlib.import_module(spec.name)
        except Exception as error:  # noqa: BLE001 - whatever the code of a module raises
            return (
                f"{spec.origin} cannot be imported as the {self.word} {name!r}: "
                f"{type(error).__name__}: {error}. A module of this kind imports what its work "
                f"needs inside its functions."
            )
        missing = list(_missing(module, self.contract))
        if not missing and not _binds(spec, self._functions[0]):
            missing = [f"a definition of {self._functions[0]} in its own source"]
        if not missing:
            return ""
        return (
            f"{spec.origin} does not keep the contract of a {self.word}. It lacks "
            f"{'; '.join(missing)}. {self.contract.__module__}.{self.contract.__name__} says what "
            f"each of them is."
        )

    def _spec(self, name: str) -> ModuleSpec | None:
        if not name.isidentifier():  # a dot or a slash would lead elsewhere
            return None
        spec = importlib.util.find_spec(f"{self.package}.{name}")
        if spec is not None and spec.submodule_search_locations is not None and self.inside:
            return importlib.util.find_spec(f"{spec.name}.{self.inside}")
        return spec

    @property
    def _functions(self) -> tuple[str, ...]:
        return _functions(self.contract)


@functools.cache
def _functions(contract: type) -> tuple[str, ...]:
    """Names of what a contract asks to be called, in its order."""
    return tuple(
        name
        for name, value in vars(contract).items()
        if inspect.isfunction(value) and not name.startswith("_")
    )


def _binds(spec: ModuleSpec | None, name: str) -> bool:
    """Whether a module's source defines, assigns or imports ``name`` at top level."""
    return spec is not None and _source_binds(spec.name, spec.origin, name)


@functools.cache  # a command asks often, and sources do not change meanwhile
def _source_binds(module: str, origin: str | None, name: str) -> bool:
    spec = importlib.util.find_spec(module)
    try:
        source = spec.loader.get_source(module)  # type: ignore[union-attr]
    except (AttributeError, ImportError, OSError):  # no source, or no text
        return False
    if not re.search(rf"\b{name}\b", source):  # most modules end here
        return False
    try:
        return any(name in _bound(statement) for statement in ast.parse(source).body)
    except (SyntaxError, ValueError):  # the import will name it, if the module is meant to be one
        return re.search(rf"^(async )?def {name}\b", source, re.MULTILINE) is not None


def _bound(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in statement.names)
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        names = (each for target in targets for each in ast.walk(target))
        yield from (each.id for each in names if isinstance(each, ast.Name))


@functools.cache  # a plan asks hundreds of times, and a module that was imported stays as it is
def _missing(module: ModuleType, contract: type) -> tuple[str, ...]:
    """What of a contract a module lacks, in words: constants of their types, and functions that
    take the arguments which they will be given.
    """
    return tuple(_lacking(module, contract))


def _lacking(module: ModuleType, contract: type) -> Iterator[str]:
    for name, annotation in _constants(contract).items():
        wanted = get_origin(annotation) or annotation
        value = getattr(module, name, None)
        if not isinstance(value, wanted):
            found = "" if value is None else f", and has a {type(value).__name__}"
            yield f"{name}, a {wanted.__name__}{found}"
    for name in _functions(contract):
        asked = _parameters(getattr(contract, name))
        function = getattr(module, name, None)
        shown = f"the function {name}({_in_words(asked)})"
        if function is None:
            yield shown
        elif not callable(function):
            yield f"{shown}, and has a {type(function).__name__} of that name"
        elif (own := _refused(function, asked)) is not None:
            yield f"{shown}, and has {name}({_in_words(own)})"


def _constants(contract: type) -> dict[str, Any]:
    """Names and types of what a contract asks beside functions; every module has a ``__name__``."""
    annotations: dict[str, Any] = vars(contract).get("__annotations__", {})
    return {name: kind for name, kind in annotations.items() if not name.startswith("_")}


def _parameters(function: Any) -> list[inspect.Parameter]:
    """The parameters of a method of a Protocol, ``self`` left out."""
    return list(inspect.signature(function).parameters.values())[1:]


def _refused(function: Any, asked: list[inspect.Parameter]) -> list[inspect.Parameter] | None:
    """The parameters of a function that cannot be called as its contract says; None if it can."""
    try:
        own = inspect.signature(function)
    except (TypeError, ValueError):  # of what is written in C
        return None
    fixed = [each for each in asked if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
    for given in (fixed, [each for each in fixed if each.default is each.empty]):
        by_place = [None for each in given if each.kind is not each.KEYWORD_ONLY]
        by_name = {each.name: None for each in given if each.kind is each.KEYWORD_ONLY}
        try:
            own.bind(*by_place, **by_name)
        except TypeError:
            return list(own.parameters.values())
    return None


def _in_words(parameters: list[inspect.Parameter]) -> str:
    """``path, *, threads=1``: names and defaults, without types."""
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in parameters]
    return str(inspect.Signature(bare))[1:-1]
