"""The commands ``lipstill labels``."""

from pathlib import Path
from typing import Annotated

import typer

from compress.commands.options import AsJson

labels_app = typer.Typer(
    help="Check the labels of a run, and carry them elsewhere.", no_args_is_help=True
)

LabelFolder = Annotated[
    Path, typer.Argument(help="A run folder, or a folder of labels.", metavar="DIR")
]


@labels_app.command("verify")
def labels_verify(
    folder: LabelFolder,
    remove_damaged: Annotated[
        bool,
        typer.Option(
            "--remove-damaged",
            help="Remove what is damaged, so that lipstill label makes that again.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check every shard of labels: its checksum, its clips and their curves."""
    from compress.labels import verification as label_verification

    found = label_verification.verify_labels(folder, hidden=as_json)
    if remove_damaged:
        found = label_verification.remove_damaged(found)
    typer.echo(found.to_json() if as_json else "\n".join(found.lines))
    found.conclude()


@labels_app.command("export")
def labels_export(
    folder: LabelFolder,
    to: Annotated[
        Path, typer.Option("--to", help="The file to write, ending in .parquet.", metavar="FILE")
    ],
) -> None:
    """Write labels as one Parquet file: a row a frame, a column a control.

    In pandas: pandas.read_parquet("labels.parquet").groupby("clip").jawOpen.max()
    """
    from compress.labels.parquet.exporting import export_labels

    typer.echo(str(export_labels(folder, to)))


@labels_app.command("import")
def labels_import(
    file: Annotated[
        Path, typer.Argument(help="What lipstill labels export wrote.", metavar="FILE")
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Run folder without labels so far.", metavar="DIR")
    ],
) -> None:
    """Take labels from a Parquet file, so that a run goes on from them without its teacher."""
    from compress.labels.parquet.importing import import_labels

    typer.echo(str(import_labels(file, out)))
