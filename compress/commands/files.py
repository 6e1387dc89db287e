"""The commands of ``lipstill`` about files that are there: to run, look at and check."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compress.commands.options import AsJson, write_beside
from compress.errors import UsageError

if TYPE_CHECKING:
    from exporters.mesh import Mesh
    from exporters.signature import Signature

files_app = typer.Typer()


@files_app.command()
def animate(
    model: Annotated[
        Path, typer.Argument(help="A model file that lipstill exported.", metavar="MODEL")
    ],
    audio: Annotated[
        Path, typer.Argument(help="Speech: wav, flac, ogg, opus or mp3.", metavar="AUDIO")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="Where to write; .csv (Live Link Face for ARKit rigs), .json, or .npy (the vertices "
            "of a mesh).",
        ),
    ],
    fps: Annotated[float, typer.Option(help="Frames a second.", min=1, max=1000)] = 60.0,
) -> None:
    """Run a model file on speech and write its rig curves."""
    from compress.judge import animation
    from compress.speech.audio import SAMPLE_RATE, read
    from compress.store import atomic_write
    from exporters.targets.contract import load_target, target_of

    writers = {".csv": animation.to_csv, ".json": animation.to_json}
    ending = out.suffix.lower()
    if ending not in (*writers, ".npy"):
        raise UsageError(
            f"--out {out} ends in {out.suffix!r}; expected {', '.join(writers)} or .npy."
        )
    runtime = load_target(target_of(model)).open_runtime(model)
    mesh = _mesh_beside(model, runtime.signature) if ending == ".npy" else None
    samples = read(audio, silence=True)  # a game has silent lines: the rest pose
    driven = animation.driven_curves(
        runtime, samples, animation.frame_times(len(samples), fps, SAMPLE_RATE)
    )
    curves = animation.whole_rig(runtime.signature, driven)
    if mesh is None:
        atomic_write(out, writers[ending](curves, runtime.signature.controls, fps))
        what = f"{len(runtime.signature.controls)} controls"
    else:
        atomic_write(out, animation.to_npy(curves, mesh))
        what = f"{mesh.facts.vertices} vertices"
    typer.echo(f"{len(curves)} frames, {what}, {fps:g} fps: {out}")


def _mesh_beside(model: Path, signature: "Signature") -> "Mesh":
    """What turns a model file's rig into vertices; it lies in the same folder."""
    from exporters.errors import ModelFileError
    from exporters.mesh import MESH, check_mesh, read_mesh

    path = model.parent / MESH
    if not path.exists():
        raise UsageError(
            f"--out with .npy asks for the vertices of a mesh, but there is no {MESH} beside "
            f"{model}: either its teacher moved a rig (then ask for .csv or .json), or the file was "
            f"taken out of its folder."
        )
    if (outcome := check_mesh(path, signature)).status == "failed":
        raise ModelFileError(f"{path} is not the mesh of {model}: {outcome.detail}.")
    return read_mesh(path)


@files_app.command()
def inspect(
    file: Annotated[
        str,
        typer.Argument(
            help="A teacher checkpoint (builtin:NAME too), a student folder, a model file or a run."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Say what a checkpoint, a model file, a student or a run is."""
    from compress.assets import PREFIX, resolve
    from compress.commands.inspection import RECIPE
    from compress.commands.inspection import inspect as describe

    facts = describe(resolve(file, Path.cwd()), file if file.startswith(PREFIX) else None)
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
        return
    stub = facts.pop(RECIPE, None)
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        typer.echo(f"{name:<{width}}  {value}")
    if stub is not None:
        typer.echo(f"\n{stub}", nl=False)


@files_app.command()
def verify(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A run folder, or a folder of models from one.", metavar="RUN_OR_MODEL_DIR"
        ),
    ],
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target", help="Only files of this target; may be repeated.", metavar="NAME"
        ),
    ] = None,
    as_json: AsJson = False,
    junit: Annotated[
        Path | None,
        typer.Option("--junit", help="Write the checks as JUnit XML too.", metavar="FILE"),
    ] = None,
) -> None:
    """Check model files again from the files alone: checksums, graph, golden windows, latency."""
    from compress.prove import verification

    found = verification.verify(folder, target or (), hidden=as_json)
    typer.echo(found.to_json() if as_json else "\n".join(found.lines))
    code = 0 if junit is None else write_beside(junit, found.to_junit(), "--junit")
    found.conclude()
    raise typer.Exit(code)


@files_app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what works on this machine: exporters, runtimes, devices; each is tried on a tiny network."""
    from compress.commands.doctor import examine

    found = examine(hidden=as_json)
    typer.echo(found.to_json() if as_json else "\n".join(found.lines))
    found.conclude()
