"""Ask for packages before anything heavy is loaded, so that a missing one is named at once."""

from importlib.util import find_spec

from exporters.errors import MissingToolError


def require(*packages: str, purpose: str) -> None:
    """Check that every import name in ``packages`` is installed, without importing any.

    ``purpose`` completes the sentence "... is needed to". Raises MissingToolError, which names all
    that are missing and gives the line that installs them.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        # Import names and distribution names of what this package asks for differ in the dash only.
        install = " ".join(package.replace("_", "-") for package in missing)
        verb = "is" if len(missing) == 1 else "are"
        raise MissingToolError(
            f"{' and '.join(missing)} {verb} needed to {purpose}, and not installed here. "
            f"Install with: pip install {install}"
        )
