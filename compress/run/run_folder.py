"""Which folder a run may have."""

from pathlib import Path

from compress.errors import UsageError
from compress.labels.rest_pose import FOLDER as REST
from compress.labels.store import FOLDER
from compress.store import STAGE_FILE, storage_errors

RUN_FILE = "run.json"


def check_run_folder(folder: Path) -> None:
    """Return if it is a run's, empty, not there yet, or has nothing but finished labels to go on from,
    with or without the rest pose that is made along with them.

    Raises `UsageError` for a folder of other things: stages replace what stands in their place.
    """
    with storage_errors(folder):
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    shown = {name for name in names if not name.startswith(".")}
    brought = shown - {REST} == {FOLDER} and (folder / FOLDER / STAGE_FILE).is_file()
    if RUN_FILE not in names and shown and not brought:
        raise UsageError(
            f"{folder} is not empty, and no run of lipstill: it has no {RUN_FILE}. Choose an empty "
            f"folder with --out, or one that does not exist yet."
        )
