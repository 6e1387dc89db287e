"""A bundle: the model files of one tier, and all that is needed to check them from the files alone.

model.onnx  model.tflite ...   those that were asked for, `model` with a target's suffix
signature.json                 what a client must know; every model file carries the same
golden.npz                     windows, and the rig expected of them
mesh.npz                       what turns the rig into vertices, where it has coefficients of a mesh
README.md                      the card
SHA256SUMS                     over all of these
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from exporters.bundle.sums import SUMS, check_sums, visible_files, write_sums
from exporters.errors import MissingToolError, ModelFileError
from exporters.mesh import MESH, check_mesh
from exporters.proof.checks import Check, Outcome, Status
from exporters.proof.golden import Golden, compare
from exporters.proof.golden import read as read_golden
from exporters.signature import Signature
from exporters.targets.contract import Target, available_targets, load_target
from exporters.targets.runtime import Runtime
from exporters.targets.structure import Structure, judge_structure

SIGNATURE, GOLDEN, CARD = "signature.json", "golden.npz", "README.md"
MODEL = "model"
# What a run keeps in the folder for itself; whoever copies the bundle may leave it behind.
STAMP = "stage.json"

CHECKSUMS, STRUCTURE, GOLDEN_WINDOWS = "checksums", "structure", "golden windows"


def seal_bundle(folder: Path) -> None:
    """Write ``SHA256SUMS`` over every file of a bundle; hidden files and the run's stamp are none."""
    write_sums(folder, _members(folder))


def check_bundle(
    folder: Path, targets: Collection[str] | None = None, threads: int = 1
) -> tuple[Check, ...]:
    """Ask a bundle all that can be asked of its files alone; torch only where a target needs it.

    Of a mesh: whether it fits the rig. Of every model file, or of those of the targets if some are named: its structure, and its golden
    windows in every runtime that there is. A runtime that cannot run here is "not run", and the detail says
    why. Raises ModelFileError for a bundle that is damaged: a file that is missing, unreadable,
    different from its checksum, unknown, or contradicts the signature; ContractError for a target that
    does not exist.
    """
    listed = check_sums(folder, _members(folder))
    signature = Signature.read(folder / SIGNATURE)
    golden = read_golden(folder / GOLDEN)
    checks = [
        Check(
            file=SUMS, what=CHECKSUMS, status="passed", detail=f"{listed} files as they are listed"
        )
    ]
    if (folder / MESH).exists():
        outcome = check_mesh(folder / MESH, signature)
        checks.append(Check(file=MESH, what="mesh", status=outcome.status, detail=outcome.detail))
    for path, target in model_files(folder, targets).items():
        checks += _checks(path, load_target(target), signature, golden, threads)
    return tuple(checks)


def model_files(folder: Path, targets: Collection[str] | None = None) -> dict[Path, str]:
    """Every model file of a bundle and its target, or those of the targets if some are named.

    Raises ModelFileError if there is none, a named target has none, or a file is called like a
    model and no target knows it, and ContractError for a target that does not exist.
    """
    suffixes = {load_target(name).SUFFIX: name for name in available_targets()}
    for name in targets or ():
        load_target(name)
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    found = {
        path: suffixes[path.suffix.lower()] for path in paths if path.suffix.lower() in suffixes
    }
    known = ", ".join(sorted(suffixes))
    if unknown := [path.name for path in paths if path.stem == MODEL and path not in found]:
        raise ModelFileError(
            f"{folder} holds {', '.join(unknown)}, which no target here knows; expected files that "
            f"end in {known}. A newer lipstill may have written it."
        )
    if not found:
        raise ModelFileError(f"{folder} holds no model file; expected one that ends in {known}.")
    if missing := sorted(set(targets or ()) - set(found.values())):
        raise ModelFileError(
            f"{folder} holds no file for {', '.join(missing)}, only for "
            f"{', '.join(sorted(set(found.values())))}."
        )
    return {path: name for path, name in found.items() if not targets or name in targets}


def lacking(checks: Iterable[Check]) -> tuple[Check, ...]:
    """Those that a package which can be installed would let run; further runtimes are not meant."""
    own = (STRUCTURE, GOLDEN_WINDOWS)
    return tuple(check for check in checks if check.status == "not run" and check.what in own)


def _members(folder: Path) -> list[str]:
    return [name for name in visible_files(folder) if name != STAMP]


def _checks(
    path: Path, target: Target, signature: Signature, golden: Golden, threads: int
) -> Iterator[Check]:
    def check(what: str, status: Status, detail: str) -> Check:
        return Check(file=path.name, what=what, status=status, detail=detail)

    try:
        outcome = _structure(path, target.structure(path), signature)
        yield check(STRUCTURE, outcome.status, outcome.detail)
    except MissingToolError as error:
        yield check(STRUCTURE, "not run", str(error))
    try:
        runtime = target.open_runtime(path, threads=threads)
        outcome = _golden(path, runtime, signature, golden)
        name = f"{GOLDEN_WINDOWS}, {runtime.describe()['runtime']}"
        yield check(name, outcome.status, outcome.detail)
    except MissingToolError as error:
        yield check(GOLDEN_WINDOWS, "not run", str(error))
    for name, further in _further(target, path, threads).items():
        outcome = (
            Outcome("not run", further)
            if isinstance(further, str)
            else _golden(path, further, signature, golden)
        )
        yield check(f"{GOLDEN_WINDOWS}, {name}", outcome.status, outcome.detail)


def _further(target: Target, path: Path, threads: int) -> Mapping[str, Runtime | str]:
    try:
        return target.further_runtimes(path, threads=threads)
    except MissingToolError as error:
        return {"further runtimes": str(error)}


def _structure(path: Path, structure: Structure, signature: Signature) -> Outcome:
    try:
        return judge_structure(structure, signature)
    except ValueError as error:  # an int8 signature that names no layers
        raise ModelFileError(f"{path.parent / SIGNATURE} contradicts itself: {error}.") from error


def _golden(path: Path, runtime: Runtime, signature: Signature, golden: Golden) -> Outcome:
    if differing := _differences(runtime.signature, signature):
        raise ModelFileError(
            f"{path} carries another signature than {path.parent / SIGNATURE}: "
            f"{'; '.join(differing)}. They belong to different exports; export again."
        )
    return compare(runtime, golden)


def _differences(inside: Signature, beside: Signature) -> list[str]:
    found, expected = asdict(inside), asdict(beside)
    return [
        f"{name} is {_brief(found[name])} in the file and {_brief(expected[name])} beside it"
        for name in found
        if found[name] != expected[name]
    ]


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
