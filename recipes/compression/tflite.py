"""How large a .tflite each int8 student makes, and whether it gives what PyTorch gives.

    python -m recipes.compression.tflite FOLDER --rows tiny tiny-60

Writes ``tflite.json`` beside each step's ``result.json``, which the table shows.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from compress.export.stage import window_form
from compress.recipe.recipe import load_recipe
from compress.store import atomic_write
from exporters.proof.parity import check_parity, probe_windows
from exporters.targets.contract import load_target
from recipes.compression.rows import read_rows
from recipes.compression.running import export

WINDOWS = 20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", nargs="+", required=True)
    arguments = parser.parse_args()
    students = {student.name: student for student in load_recipe("reference").students}
    for row in (row for row in read_rows() if row.id in arguments.rows):
        for step in ("ptq", "qat"):
            place = arguments.folder / row.id / step
            if not (place / "student.json").exists():
                continue
            file = export(place, students[row.student], "tflite")
            runtime = load_target("tflite").open_runtime(file)
            window, draw = runtime.signature.window, np.random.default_rng(0)
            level = 10 ** draw.uniform(-3, -0.5, (WINDOWS, 1, 1))
            noise = (level * draw.standard_normal((WINDOWS, 1, window))).astype(np.float32)
            sets = {"noise": noise, **probe_windows(window, seed=0)}
            parity = check_parity(runtime, window_form(place)[0], sets, max_abs=2e-3)
            assert parity.status == "passed", parity
            worst = max(item.max_abs or 0.0 for item in parity.sets)
            found = {"bytes": file.stat().st_size, "max_abs": worst}
            atomic_write(place / "tflite.json", json.dumps(found) + "\n")
            print(row.id, step, found, flush=True)


if __name__ == "__main__":
    main()
