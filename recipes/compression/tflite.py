"""How large a .tflite each int8 student makes, and whether it gives what PyTorch gives.

    python -m recipes.compression.tflite FOLDER --rows tiny tiny-60

For an environment with ``litert-torch`` 0.10 beside lipstill (``pip install litert-torch``). Writes ``tflite.json`` beside each step's
``result.json``, which the table shows. Names of tensors, which litert-torch takes from Python's classes, are shortened: an eighth of
a small file is names otherwise. Metadata is not in it yet.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch

from compress.quantization import IntegerWindow, captured_window, integer_graph
from compress.students.storing import load_student

WINDOWS = 20


def convert(student_folder: Path, file: Path) -> float:
    """Write the .tflite of an int8 student; its largest difference from PyTorch on noise, in rig units."""
    import litert_torch
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter
    from litert_torch.quantize import pt2e_quantizer
    from litert_torch.quantize.quant_config import QuantConfig

    student, card = load_student(student_folder)
    assert card.quantization is not None
    window = torch.zeros(1, 1, student.config.window)
    graph = captured_window(student, batch=1)
    integers = integer_graph(graph, student.config, card.quantization, fold=False)
    # It wants to be told that the graph is quantized, and by a quantizer of its own.
    told = pt2e_quantizer.PT2EQuantizer().set_global(
        pt2e_quantizer.get_symmetric_quantization_config()
    )
    litert_torch.convert(integers, (window,), quant_config=QuantConfig(pt2e_quantizer=told)).export(
        str(file)
    )
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(file.read_bytes(), 0))
    for tensors in (graph.tensors for graph in model.subgraphs):
        for i, tensor in enumerate(tensors):
            tensor.name = f"t{i}"
    import flatbuffers

    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    file.write_bytes(bytes(builder.Output()))

    runtime = Interpreter(str(file))
    runtime.allocate_tensors()
    entry, end = runtime.get_input_details()[0]["index"], runtime.get_output_details()[0]["index"]
    source, draw = IntegerWindow(student, card.quantization), np.random.default_rng(0)
    worst = 0.0
    for _ in range(WINDOWS):
        level = 10 ** draw.uniform(-3, -0.5)
        noise = (level * draw.standard_normal(tuple(window.shape))).astype(np.float32)
        runtime.set_tensor(entry, noise)
        runtime.invoke()
        with torch.no_grad():
            expected = source(torch.from_numpy(noise)).numpy()
        worst = max(worst, float(np.abs(runtime.get_tensor(end) - expected).max()))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", nargs="+", required=True)
    arguments = parser.parse_args()
    for row in arguments.rows:
        for step in ("ptq", "qat"):
            place = arguments.folder / row / step
            if not (place / "student.json").exists():
                continue
            worst = convert(place, place / "model.tflite")
            found = {"bytes": os.path.getsize(place / "model.tflite"), "max_abs": worst}
            (place / "tflite.json").write_text(json.dumps(found) + "\n", "utf-8")
            print(row, step, found, flush=True)


if __name__ == "__main__":
    main()
