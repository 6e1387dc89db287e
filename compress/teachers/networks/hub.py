"""Folders of the Hugging Face hub: in the cache of this machine, and fetched where that is allowed."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from compress.errors import MissingError, TeacherError

_REFERENCE = re.compile(r"hub:(?P<repository>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})")
_TIMEOUT_S = 10.0


def parse_reference(reference: str, where: Path) -> tuple[str, str]:
    """Repository and revision of ``hub:OWNER/NAME@REVISION``.

    Raises `TeacherError`, saying `where` it stands, for anything else.
    """
    if (named := _REFERENCE.fullmatch(reference)) is None:
        raise TeacherError(
            f"{where}: encoder_weights is {reference!r}, expected hub:OWNER/NAME@REVISION with a "
            f"commit's full hash of 40 digits. A branch or a tag can move, and labels would then be "
            f"taken for those of other weights. The hash stands under History on the page of the "
            f"repository."
        )
    return named["repository"], named["revision"]


def cached_folder(repository: str, revision: str) -> Path | None:
    """Where files of it lie in the cache, if it has a config.json there. Never asks the network."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def fetch_folder(
    repository: str, revision: str, choose: Callable[[Sequence[str]], Sequence[str]]
) -> Path:
    """Where the files of it lie that `choose` picks by name, after a download.

    Raises `MissingError` where the hub does not answer, and `TeacherError` where it does not have
    that, or not for everybody.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    # Of the package for HTTP that it uses, which differs between its versions.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # isort: skip

    source = f"{repository} at {revision}"
    try:
        # Asked first, since a download that gets no answer waits long before it says so.
        info = HfApi().model_info(repository, revision=revision, timeout=_TIMEOUT_S)
        names = choose([file.rfilename for file in info.siblings or ()])
        folder = snapshot_download(repository, revision=revision, allow_patterns=list(names))
    except HfHubHTTPError as error:
        raise TeacherError(
            f"The Hugging Face hub does not give {source}: {_one_line(error)}. Look at "
            f"encoder_weights; for a repository that asks for consent, give it and log in with "
            f"`hf auth login`."
        ) from error
    except (HTTPError, OfflineModeIsEnabled, OSError) as error:
        raise MissingError(
            f"The encoder weights {source} are not on this machine, and the Hugging Face hub could "
            f"not be reached ({type(error).__name__}: {_one_line(error)}). Try again with a "
            f"network, or copy the repository's folder here and name it as encoder_weights."
        ) from error
    return Path(folder)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
