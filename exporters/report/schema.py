"""The published JSON Schema of ``report.json``.

``report.schema.json`` beside this file is ``json_schema()`` written down. After a change of the
document write it anew: ``python -m exporters.report.schema > exporters/report/report.schema.json``.
"""

import json
import sys
from typing import Any

from exporters.report.document import ReportDocument


def json_schema() -> dict[str, Any]:
    """Derive the schema (draft 2020-12) from the dataclasses, their field texts included."""
    from pydantic import TypeAdapter

    schema = TypeAdapter(ReportDocument).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
