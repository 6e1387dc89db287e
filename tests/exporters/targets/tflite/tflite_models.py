"""TFLite files as objects."""

from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema


def unpacked(path: Path) -> Any:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
