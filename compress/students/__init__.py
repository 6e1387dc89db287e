"""Students: one file an architecture.

An architecture is a module of this package that defines what `Architecture` says. A new one is a new
module; nothing is registered.
"""

from typing import TYPE_CHECKING, Any, Protocol

from exporters.contracts import Kind

if TYPE_CHECKING:
    from compress.recipe.students import StudentSettings
    from compress.students.contract import Student


class Architecture(Protocol):
    """What a module of this package defines to be an architecture of students."""

    def build(
        self,
        settings: "StudentSettings",
        outputs: int,
        limits: tuple[float, float] | None,
    ) -> "Student":
        """An untrained student of so many outputs, kept within the limits where there are some.

        Raises `ValueError` for a plan that cannot work, with the arithmetic.
        """

    def from_config(self, fields: dict[str, Any]) -> "Student":
        """A student of the shape that its ``student.json`` records, weights not yet loaded."""


ARCHITECTURES: Kind[Architecture] = Kind("architecture of students", __name__, Architecture)
