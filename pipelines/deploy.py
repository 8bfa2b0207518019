"""The command `brain-tumor deploy`."""

from typing import Annotated, Any

import typer
from rich.markup import escape

from components.shared.run.rollout_plan import Plan
from pipelines.models import DEFAULT, Address, Reference
from pipelines.output import console

_FIELDS = Plan.model_fields


def _option(name: str, *spellings: str) -> Any:
    """Returns an option that says what the plan's field of that name says."""
    return typer.Option(*spellings, help=_FIELDS[name].description)


def deploy(
    reference: Reference,
    inference_service: Annotated[str, _option("inference_service")] = "brain-tumor",
    namespace: Annotated[str, _option("namespace")] = "",
    registry: Address = DEFAULT,
    served_from: Annotated[
        str,
        typer.Option(
            help="Address of the registry for KServe, if it is a folder here, for "
            "example pvc://claim/registry."
        ),
    ] = "",
    canary_percent: Annotated[int, _option("canary_percent")] = _FIELDS["canary_percent"].default,
    soak_seconds: Annotated[float, _option("soak_seconds")] = _FIELDS["soak_seconds"].default,
    max_error_rate: Annotated[float, _option("max_error_rate")] = _FIELDS["max_error_rate"].default,
    max_latency_seconds: Annotated[float, _option("max_latency_seconds")] = _FIELDS[
        "max_latency_seconds"
    ].default,
    timeout_seconds: Annotated[float, _option("timeout_seconds")] = _FIELDS[
        "timeout_seconds"
    ].default,
    address: Annotated[str, _option("address")] = "",
    force_conflicts: Annotated[bool, _option("force_conflicts", "--force-conflicts")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Dry run: show changes, make none.")
    ] = False,
) -> None:
    """Roll a registered version out to a KServe InferenceService and make it champion.

    Where it does not do well there, the version before serves again.

    [dim]brain-tumor deploy candidate --registry s3://models/registry --canary-percent 10[/]
    """
    from components.deploy.logic import deploy as deploy_version
    from components.shared.registry.reference import split_reference

    registry, reference = split_reference(reference, registry)
    done = deploy_version(
        registry,
        reference,
        served_from,
        dry_run,
        inference_service=inference_service,
        namespace=namespace,
        canary_percent=canary_percent,
        soak_seconds=soak_seconds,
        max_error_rate=max_error_rate,
        max_latency_seconds=max_latency_seconds,
        timeout_seconds=timeout_seconds,
        address=address,
        force_conflicts=force_conflicts,
    )
    if dry_run:
        console.print(escape(done.changes) or "nothing would change", soft_wrap=True)
    else:
        console.print(f"version {done.version} serves at {escape(done.url)}", soft_wrap=True)
