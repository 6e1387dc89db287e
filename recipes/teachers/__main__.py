"""Stand-ins for the teachers that docs/teachers.md walks through, each with its recipe.

    python -m recipes.teachers hubert FOLDER        a Hugging Face HuBERT folder and a head; small, random weights
    python -m recipes.teachers audio2face FOLDER    an ONNX network of Audio2Face-3D's shape, around builtin:small
    python -m recipes.teachers mesh FOLDER          research code in Python that gives vertices, around builtin:small

What is written has the shapes of the real ones, and lies where the recipe beside it looks. Nothing of a real one is in it.
"""

import argparse
import importlib
import shutil
from pathlib import Path

NAMES = ("hubert", "audio2face", "mesh")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    write(arguments.name, arguments.folder)
    print(f"lipstill teacher check {arguments.folder / 'recipe.yaml'}")


def write(name: str, folder: Path) -> None:
    """The recipe, and what it names as its teacher."""
    folder.mkdir(parents=True, exist_ok=True)
    here = Path(__file__).parent / name
    for file in sorted(path for path in here.iterdir() if path.is_file()):
        shutil.copyfile(file, folder / file.name)
    importlib.import_module(f"recipes.teachers.{name}_stand_in").write(folder)


if __name__ == "__main__":
    main()
