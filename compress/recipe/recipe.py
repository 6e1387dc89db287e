"""A recipe: the facts of one result in a small YAML file, read once into a frozen, typed object.

    Recipe ── teacher, speech, labels      what is distilled, on which audio
           ├─ students[] ── layers[], training, pruning, quantization
           └─ export, parity, report, gates

A new fact is one field in its section below; `--set`, error messages, hash and schema follow by
themselves. A Recipe comes back from its own JSON with `Recipe.model_validate_json`.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import (
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from compress.errors import RecipeError
from compress.recipe.gates import GateSettings
from compress.recipe.mistakes import (
    blanks,
    distinct,
    emptied,
    explain,
    nearest,
    one_of,
    show,
    words,
)
from compress.recipe.section import (
    Count,
    Name,
    Positive,
    Section,
    Text,
)
from compress.recipe.speech import LabelSettings, SpeechSettings
from compress.recipe.students import LayerSettings, StudentSettings, TrainingSettings
from compress.recipe.teacher import TeacherSettings
from compress.recipe.tiers import gate_mistakes
from compress.recipe.yaml_files import dump, frozen, override, parse
from compress.store import canonical_json
from compress.texts import read_text
from exporters.files import user_path
from exporters.signature import Precision
from exporters.targets.onnx.opsets import NEWEST_OPSET, OLDEST_OPSET

__all__ = [
    "GateSettings",
    "LabelSettings",
    "LayerSettings",
    "Recipe",
    "SpeechSettings",
    "StudentSettings",
    "TeacherSettings",
    "TrainingSettings",
    "dump_yaml",
    "load_recipe",
    "recipe_hash",
    "recipe_schema",
    "shipped_recipes",
]

_PACKAGE = Path(__file__).parents[1]

# ------------------------------------------------------------------------------------------------
# sections


def known_targets(value: tuple[str, ...]) -> tuple[str, ...]:
    """Names of targets, each once. Raises `ValueError` for one that does not exist, and for one
    that lacks part of its contract.
    """
    from exporters.targets.contract import TARGETS

    for target in value:
        if not TARGETS.knows(target):
            one_of(target, TARGETS.available())
        if fault := TARGETS.fault(target):
            raise ValueError(fault.rstrip("."))
    distinct(value)
    return value


class OnnxSettings(Section):
    opset: int = Field(
        OLDEST_OPSET,
        ge=OLDEST_OPSET,
        le=NEWEST_OPSET,
        description=f"ONNX operator set, {OLDEST_OPSET} to {NEWEST_OPSET}: what torch's exporter can write",
    )


class ExportSettings(Section):
    targets: tuple[str, ...] = Field(
        ("onnx", "tflite", "coreml"),
        min_length=1,
        description="modules of exporters/: one file format each",
    )
    precisions: tuple[Precision, ...] = Field(
        ("fp32", "fp16", "int8"),
        min_length=1,
        description="of fp32, fp16 and int8, one folder of files each; int8 for students with a "
        "`quantization`",
    )
    license: Text = Field(
        "not stated",
        description="of the files, for their cards and the report: of the weights, and of the "
        "held-out speech in golden.npz and in the report",
    )
    onnx: OnnxSettings = Field(default_factory=OnnxSettings, description="of the target onnx")

    def options(self, target: str) -> dict[str, Any]:
        """What the section named like a target says to its `export`; nothing without a section."""
        section = getattr(self, target, None)
        return {} if section is None else section.model_dump()

    @field_validator("targets")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return known_targets(value)

    @field_validator("precisions")
    @classmethod
    def _once(cls, value: tuple[Precision, ...]) -> tuple[Precision, ...]:
        distinct(value)
        return value


class ParitySettings(Section):
    max_abs: Positive = Field(
        1.0e-5,
        description="largest difference of a file from its PyTorch source, in rig units for controls "
        "that go to about 1; times the rig's scale for others",
    )
    fp16_max_abs: Positive = Field(5.0e-3, description="the same for an fp16 file")
    fp16_max_mse_ratio: Positive = Field(
        1.01,
        description="largest MSE to the teacher of an fp16 file, by that of its PyTorch source",
    )
    int8_max_abs: Positive = Field(
        2.0e-3,
        description="the same for an int8 file; where its rig is int8 too, what `int8_max_lsb` "
        "codes of that stand for, if that is more",
    )
    int8_max_lsb: int = Field(
        1,
        ge=0,
        le=255,
        description="largest difference of an int8 file's last codes from its source's; one code in "
        "a thousand may differ by twice as much",
    )

    max_lag_ms: Positive = Field(
        8.0, description="largest lag of a file behind the teacher, or lead before it"
    )

    def limit(self, precision: Precision) -> float:
        """The largest difference for files of a precision, for a rig of scale 1."""
        limits = {"fp32": self.max_abs, "fp16": self.fp16_max_abs, "int8": self.int8_max_abs}
        return limits[precision]


class ReportSettings(Section):
    clips: int = Field(3, ge=0, le=100, description="held-out clips shown in the report")
    reference_targets: tuple[str, ...] = Field(
        ("onnx", "tflite"),
        description="of the export's targets, those for which the students that ship get rows too, "
        "where they learned from the same teacher; [] shows none",
    )
    references: tuple[Name, ...] | None = Field(
        None, description="which of them: names as tiny or tiny-int8; null shows all that ship"
    )

    @field_validator("reference_targets")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return known_targets(value)


class Recipe(Section):
    """One shipped result: a teacher, the speech, the students and what is asked of them."""

    name: Name = Field(description="name of the recipe and of its run folder")
    description: str = Field("", description="one line, shown by `lipstill recipe list`")
    seed: int = Field(7, ge=0, lt=2**32, description="seed of every random number")
    threads: Count = Field(
        2, le=256, description="CPU threads; a part of every key, since it changes sums"
    )
    teacher: TeacherSettings = Field(description="what is distilled")
    speech: SpeechSettings = Field(description="audio; every label comes from the teacher")
    labels: LabelSettings = Field(
        default_factory=LabelSettings, description="how the teacher's curves are kept"
    )
    students: tuple[StudentSettings, ...] = Field(min_length=1, description="what is trained")
    export: ExportSettings = Field(
        default_factory=ExportSettings, description="which files are made"
    )
    parity: ParitySettings = Field(
        default_factory=ParitySettings, description="how far a file may be from its PyTorch source"
    )
    report: ReportSettings = Field(
        default_factory=ReportSettings, description="what the report shows"
    )
    gates: GateSettings = Field(
        default_factory=GateSettings, description="limits that fail the run; null is no gate"
    )

    # Where relative paths start. Not a field: the same recipe elsewhere has the same hash.
    _folder: Path = PrivateAttr(default_factory=Path)

    @property
    def folder(self) -> Path:
        """The folder that relative paths in the recipe start from: where its file lies."""
        return self._folder

    @field_validator("students")
    @classmethod
    def _named_apart(cls, value: tuple[StudentSettings, ...]) -> tuple[StudentSettings, ...]:
        distinct([student.name for student in value])
        return value

    @model_validator(mode="after")
    def _guides_first(self) -> Self:
        """A guide is trained before the student that it guides, so it stands before it."""
        trained: list[str] = []
        for student in self.students:
            if student.guided_within and student.guide not in trained:
                raise ValueError(
                    f"student {student.name} has the guide {show(student.guide)}, expected a "
                    f"student that stands before it ({words(trained)}), "
                    f"builtin:NAME, or the folder of a distilled student with a / in its path"
                )
            trained.append(student.name)
        return self


# ------------------------------------------------------------------------------------------------
# loading


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read the recipe `source`, a path or the name of a shipped recipe, with `overrides` of the
    form `a.b.0.c=VALUE`.

    VALUE is YAML. Raises RecipeError with every mistake found: of the overrides, and of each field;
    what a section asks of several fields together is checked when each of them is right by itself.
    """
    path = _locate(source)
    tree = _read(path, source)
    mistakes = [mistake for text in overrides if (mistake := override(tree, text))]
    if blank := list(blanks(tree)):  # in the place of a number it would be said twice
        raise RecipeError(source, mistakes + blank)
    try:
        recipe = Recipe.model_validate(frozen(tree))
    except ValidationError as error:
        details = error.errors(include_url=False)
        mistakes += [explain(detail, Recipe) for detail in details if not emptied(detail)]
    if mistakes:
        raise RecipeError(source, mistakes)
    recipe._folder = path.parent.resolve()
    if mistakes := gate_mistakes(recipe):  # after the folder, where the start of a student may lie
        raise RecipeError(source, mistakes)
    return recipe


def recipe_hash(recipe: Recipe) -> str:
    """SHA-256 of the resolved recipe, 64 hexadecimal digits.

    The same wherever its file lies and however it is laid out, and whether a teacher is trusted by
    an option or in the recipe: what was allowed, and how long it may take, is no part of a result.
    """
    fields = recipe.model_dump(
        mode="json",
        exclude={"teacher": {"trust", "download", "time_limit_s"}, "speech": {"timeout_s"}},
    )
    return hashlib.sha256(canonical_json(fields)).hexdigest()


def recipe_schema() -> dict[str, Any]:
    """JSON Schema of a recipe, every field described."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}


def dump_yaml(recipe: Recipe) -> str:
    """The resolved recipe, defaults included, as YAML that `load_recipe` reads back."""
    return dump(recipe.model_dump(mode="json"))


def shipped_recipes() -> dict[str, Path]:
    """Recipes that come with lipstill, name → file, sorted: inside the wheel, or recipes/ of a
    checkout.
    """
    installed = _PACKAGE / "_recipes"
    folder = installed if installed.is_dir() else _PACKAGE.parent / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def _locate(source: str | Path) -> Path:
    shipped = shipped_recipes()
    if str(source) in shipped:
        return shipped[str(source)]
    path = user_path(source)
    if path.is_file():
        return path
    found = "a folder, expected a YAML file or" if path.is_dir() else "neither a file nor"
    near = nearest(str(source), list(shipped))
    raise RecipeError(
        source, [f"this is {found} a shipped recipe{near}; shipped: {words(shipped)}"]
    )


def _read(path: Path, source: str | Path) -> dict[str, Any]:
    try:
        tree = parse(read_text(path))
    except ValueError as error:
        raise RecipeError(source, [f"{path} is not readable as YAML: {error}"]) from error
    except OSError as error:
        raise RecipeError(source, [f"{path} cannot be read: {error.strerror}"]) from error
    if not isinstance(tree, dict):
        raise RecipeError(
            source, [f"{path}: found {show(tree)}, expected the keys of a recipe, such as `name:`"]
        )
    return tree
