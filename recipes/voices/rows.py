"""Where the rows of docs/voices.md stand."""

from pathlib import Path

ROWS = Path(__file__).with_name("rows.yaml")
