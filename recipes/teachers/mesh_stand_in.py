"""The lips of the mesh, as a modelling program would export a selection of vertices."""

from pathlib import Path

from recipes.teachers.mesh.talking_mesh import lips


def write(folder: Path) -> None:
    """``lips.txt``: a vertex number a line. The teacher is code, and copied with the recipe."""
    (folder / "lips.txt").write_text("".join(f"{vertex}\n" for vertex in lips()))
