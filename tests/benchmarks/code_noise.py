"""How far the last int8 codes of equal networks are apart by the rounding of float sums alone.

    python tests/benchmarks/code_noise.py [--student builtin:small-pruned-int8] [--windows 1500]

On windows of the demo recipe's training speech: a student in PyTorch on inputs that are a few parts
in ten million apart, and its files in their runtimes against PyTorch. `exporters/proof/codes.py` takes its
limits from these figures, and what files with a fault do from `tests/exporters/proof/test_codes.py`.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from compress.export.stage import signature_of, window_form
from compress.recipe.recipe import load_recipe
from compress.speech.gathering import gather
from compress.students.finding import find_student
from exporters.targets.contract import load_target

APART = 4e-7  # of inputs, relative: as float32 sums are apart that are added in another order
BATCH = 50


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--student", default="builtin:small-pruned-int8")
    parser.add_argument("--windows", type=int, default=1500)
    parser.add_argument("--targets", nargs="*", default=["onnx", "tflite"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = find_student("The student", arguments.student, Path())
    module, student, card = window_form(found.folder)
    windows = speech(student.config.window, arguments.windows)
    factors = 1 + np.random.default_rng(0).uniform(-APART, APART, windows.shape)
    source = codes(module, windows)
    moved = codes(module, (windows * factors).astype(np.float32))
    print(f"inputs {APART:g} apart: {in_words(source, moved)}")
    signature = signature_of(student, card, "int8", (1.0,))
    with TemporaryDirectory() as folder:
        for name in arguments.targets:
            target = load_target(name)
            file = Path(folder, f"model{target.SUFFIX}")
            target.export(module, signature, file)
            made = target.open_runtime(file).codes(windows)
            assert made is not None
            print(f"{name} from PyTorch: {in_words(source, made)}")


def speech(window: int, count: int) -> NDArray[np.float32]:
    """Windows spread evenly over training speech, float32 `[count, 1, window]`."""
    recipe = load_recipe("demo")
    spoken = gather(recipe.speech, recipe.folder).spoken
    samples = np.concatenate([each.clip.read() for each in spoken[:200] if each.side == "train"])
    starts = np.linspace(0, len(samples) - window, count).astype(int)
    return np.stack([samples[start : start + window] for start in starts])[:, None]


@torch.inference_mode()
def codes(module: torch.nn.Module, windows: NDArray[np.float32]) -> NDArray[np.int8]:
    parts = torch.from_numpy(windows).split(BATCH)
    return np.concatenate([module.codes(part).numpy() for part in parts])  # type: ignore[operator]


def in_words(one: NDArray[np.int8], other: NDArray[np.int8]) -> str:
    apart = np.abs(one.astype(int) - other)
    by_window = (apart > 0).reshape(len(apart), -1).mean(axis=1)
    counts = ", ".join(f"{n:,} by {i}" for i, n in enumerate(np.bincount(apart.ravel())) if i)
    return (
        f"of {apart.size:,} codes {counts or 'none'}; one in {1 / max((apart > 0).mean(), 1e-12):,.0f}, "
        f"in the worst window one in {1 / max(by_window.max(), 1e-12):,.0f}"
    )


if __name__ == "__main__":
    main()
