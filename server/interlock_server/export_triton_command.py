"""`interlock bundle export-triton`: the models of a bundle for a Triton server, and the bundle that asks them there."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock_server.bundle.load import load_bundle
from interlock_server.bundles import DEFAULT_BUNDLE, DEFAULT_BUNDLE_DIGEST
from interlock_server.errors import ConfigError

if TYPE_CHECKING:
    from interlock_server.bundle.load import Bundle


class TritonBackendName(StrEnum):
    """Which of Triton's own backends runs the models."""

    onnxruntime = "onnxruntime"
    python = "python"


def export_triton(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder: Triton's --model-repository.")],
    backend: Annotated[TritonBackendName, typer.Option(help="Which of Triton's backends runs the models.")],
    bundle: Annotated[Path | None, typer.Option(help="The bundle's folder; the one that ships by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="A new folder for the new bundle; DIR-bundle by default.")] = None,
    instances: Annotated[int, typer.Option(help="Of each model: on each GPU, or on the CPU.")] = 2,
    gpu: Annotated[bool, typer.Option("--gpu", help="Run them on the GPUs.")] = False,
    max_batch: Annotated[int | None, typer.Option(help="Windows in one run.")] = None,
    queue_delay_us: Annotated[int, typer.Option(help="How long a request may wait for others to share a run.")] = 0,
    queue_size_max: Annotated[int, typer.Option(help="Requests that may wait for one model; 0: no limits.")] = 256,
) -> None:
    """Write a Triton model repository for the ONNX members of a bundle, and the bundle that asks them there."""
    try:
        from interlock_server.triton_export.export import export
    except ImportError as error:
        raise ConfigError(f"export-triton: needs interlock[triton,cpu]; {error.name} is not installed") from error
    from interlock_server.strict import validate
    from interlock_server.triton_export.options import ExportOptions

    options = {
        "backend": backend.value, "instances": instances, "gpu": gpu, "max_batch": max_batch,
        "queue_delay_us": queue_delay_us, "queue_size_max": queue_size_max,
    }  # fmt: skip
    loaded = load_bundle(bundle or DEFAULT_BUNDLE, None if bundle else DEFAULT_BUNDLE_DIGEST)
    folder = folder.resolve()
    out = out or folder.with_name(f"{folder.name}-bundle")
    _say(folder, export(loaded, folder, out.resolve(), validate(ExportOptions, options, "export-triton")))


def _say(folder: Path, new: "Bundle") -> None:
    """What to tell Triton, and what to write into the configuration."""
    typer.echo(f"tritonserver --model-repository={folder}")
    typer.echo(f"bundle.path: {new.path}")
    typer.echo(f"bundle.digest: {new.digest}")
    if new.certificate is not None:
        typer.echo("its certificate is of models in this process, and void here: certify the new bundle", err=True)
