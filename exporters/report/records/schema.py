"""The published JSON Schema of ``report.json``.

``report.schema.json`` beside this file is ``json_schema()`` written down. After a change of the
document write it anew: ``python -m exporters.report.records.schema > exporters/report/report.schema.json``.
"""

import dataclasses
import inspect
import json
import sys
from typing import Any

from exporters.report.records.document import ReportDocument


def json_schema() -> dict[str, Any]:
    """Derive the schema (draft 2020-12) from the dataclasses, their field texts included."""
    from pydantic import TypeAdapter
    from pydantic.json_schema import GenerateJsonSchema

    class Described(GenerateJsonSchema):
        """With each record's docstring, which some versions of pydantic leave out.

        And with the texts of inherited fields, which it takes from a class's own source alone.
        """

        def dataclass_schema(self, schema: Any) -> dict[str, Any]:
            text = inspect.getdoc(schema["cls"])
            made: dict[str, Any] = {"description": text} | super().dataclass_schema(schema)
            for parent in schema["cls"].__mro__[1:]:
                if dataclasses.is_dataclass(parent):
                    described = TypeAdapter(parent).json_schema()["properties"]
                    for name, field in described.items():
                        if "description" in field:
                            made["properties"][name].setdefault("description", field["description"])
            return made

    schema = TypeAdapter(ReportDocument).json_schema(schema_generator=Described)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


if __name__ == "__main__":
    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    sys.stdout.buffer.write(text.encode())  # UTF-8, whatever a redirected stdout is
