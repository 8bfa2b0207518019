"""KFP interface of the deploy step."""

from typing import NamedTuple

from kfp.dsl import Markdown, Output

from components.shared.run.kfp_component import component


@component
def deploy(
    registry: str,
    version: int,
    served_from: str,
    inference_service: str,
    namespace: str,
    canary_percent: int,
    soak_seconds: int,
    max_error_rate: float,
    max_latency_seconds: float,
    force_conflicts: bool,
    dry_run: bool,
    run_id: str,
    rollout: Output[Markdown],
) -> NamedTuple("Outputs", [("url", str), ("version", int)]):  # type: ignore[valid-type]
    """Rolls a registered version out to a KServe InferenceService and makes it champion.

    It is made where there is none. A version that does not get ready, does not answer everywhere,
    answers otherwise than when it was registered, or does badly as a canary is taken back: the
    version before serves again, and the step fails and says why.

    Args:
        registry: The registry that holds the version.
        version: Its number.
        served_from: The registry's address as KServe sees it, such as pvc://claim/registry, where
            `registry` is a mounted folder; not looked at elsewhere.
        inference_service: Name of the InferenceService.
        namespace: Of the InferenceService; empty for that of the run.
        canary_percent: Share of the traffic that the version gets first, 0..99; 0 for no canary.
        soak_seconds: How long it has to do well with that share.
        max_error_rate: Greatest share of the canary's probes that may fail, 0..1.
        max_latency_seconds: What 95 of 100 of the canary's answers have to stay below.
        force_conflicts: Take storageUri over from another field manager, such as kubectl.
        dry_run: Only say what would change.
        run_id: Id of the pipeline run, for the registry's history.
        rollout: What was or would be changed.

    Returns:
        url: Where the version is served; empty after a dry run.
        version: Its number.
    """
    from components.shared.run.step import step

    with step("deploy", rollout):
        from components.deploy.logic import deploy as deploy_version
        from components.shared.storage.files import write_atomically

        done = deploy_version(
            registry,
            str(version),
            served_from,
            dry_run,
            run_id,
            inference_service=inference_service,
            namespace=namespace,
            canary_percent=canary_percent,
            soak_seconds=soak_seconds,
            max_error_rate=max_error_rate,
            max_latency_seconds=max_latency_seconds,
            force_conflicts=force_conflicts,
        )
        write_atomically(rollout.path, done.summary)
        if dry_run:
            print(done.changes or "nothing would change")
        else:
            print(f"version {done.version} serves at {done.url}")
    return str(done.url), int(done.version)
