"""The students that ship, as rows beside what a run makes: a report then always shows a choice.

They learned from one teacher, and say nothing of another one's rig.
"""

from compress.assets import PREFIX, builtins, resolve
from compress.errors import UsageError
from compress.recipe.recipe import Recipe
from compress.recipe.students import StudentSettings
from compress.teachers.loading import TeacherFile

TEACHER = "builtin:voice2face-demo"
# Before their names in a run, where a student of the recipe may have the same.
NAME = "reference-"


def reference_students(recipe: Recipe, teacher: TeacherFile) -> tuple[StudentSettings, ...]:
    """Those that learned from a run's teacher; none where the recipe wants no rows of them.

    Int8 students come after the float ones that they were made of. Raises `UsageError` for a name
    that the recipe wants and that does not ship.
    """
    if teacher.name != TEACHER or not reference_targets(recipe):
        return ()
    found = [
        name for name in builtins() if (resolve(name, recipe.folder) / "student.json").exists()
    ]
    if (wanted := recipe.report.references) is not None:
        there = [name.removeprefix(PREFIX) for name in found]
        if unknown := [name for name in wanted if name not in there]:
            raise UsageError(
                f"report.references: no student {', '.join(unknown)} ships with lipstill; there are "
                f"{', '.join(there)}."
            )
        found = [PREFIX + name for name in dict.fromkeys(wanted)]
    found.sort(key=lambda name: name.endswith("-int8"))
    return tuple(
        StudentSettings(name=NAME + name.removeprefix(PREFIX), start=name) for name in found
    )


def reference_targets(recipe: Recipe) -> tuple[str, ...]:
    """The targets for which they are exported: of the recipe's own, those that it wants rows of."""
    return tuple(
        target for target in recipe.export.targets if target in recipe.report.reference_targets
    )


def float_twin(name: str) -> str:
    """The reference student that an int8 one is timed against: what it was before it shrank."""
    return name.removesuffix("-int8").removesuffix("-pruned")
