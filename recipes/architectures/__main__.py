"""`conv_fc` against `separable` at equal bytes and at equal multiply-adds, on clips set aside from training.

lipstill distill recipes/architectures/base.yaml --out RUN
python -m recipes.architectures RUN                            writes the table of docs/students.md
"""

import argparse
import json
from pathlib import Path

from compress.students.facts import facts_of
from compress.students.storing import load_student
from exporters.report.wording import human_count, human_size
from recipes.ablation.table import DOCS, markdown
from recipes.readme import between

BEGIN, END = (
    "<!-- architectures: written by python -m recipes.architectures -->\n",
    "<!-- end of architectures -->\n",
)
PAGE = DOCS / "students.md"
STUDENTS = ("tiny", "same-work", "same-bytes")
HEAD = (
    *("student", "architecture", "bytes, fp32", "multiply-adds, a window", "of one more hop"),
    *("R², clips set aside", "training time, × tiny's"),
)


def table(run: Path) -> str:
    """One line a student; its R² is that of the weights that training kept."""
    first = _log(run, STUDENTS[0])
    lines = []
    for name in STUDENTS:
        student, card = load_student(run / "students" / name / "distilled")
        facts, log = facts_of(student.config), _log(run, name)
        best = min((row for row in log if "validation" in row), key=lambda row: row["validation"])
        lines.append(
            [
                f"`{name}`",
                f"`{card.architecture}`",
                human_size(facts.bytes_fp32),
                human_count(facts.multiply_adds_window),
                human_count(facts.multiply_adds_hop),
                f"{best['validation_r2']:.3f}",
                f"{log[-1]['seconds'] / first[-1]['seconds']:.1f}",
            ]
        )
    return markdown(HEAD, lines) + "\n"


def _log(run: Path, name: str) -> list[dict[str, float]]:
    lines = (run / "logs" / name / "distilled.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    PAGE.write_text(between(PAGE.read_text("utf-8"), BEGIN, END, table(run)), "utf-8")


if __name__ == "__main__":
    main()
