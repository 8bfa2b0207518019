"""KFP interface of the drift step, and of the step that ends a run where drift was found."""

from kfp.dsl import HTML, Artifact, Input, Metrics, Output

from components.shared.run.kfp_component import component


@component
def drift(
    registry: str,
    served_model: str,
    prometheus: str,
    window_days: int,
    psi_limit: float,
    false_alarms: float,
    drift_report: Output[HTML],
    drift_metrics: Output[Metrics],
    drift_result: Output[Artifact],
) -> bool:
    """Compares the images that a version gets now with those it was measured on.

    Args:
        registry: The registry: a path, file://, s3:// or gs://.
        served_model: The version that serves: a number, champion, candidate or latest.
        prometheus: Address of the Prometheus that scrapes its predictors.
        window_days: Days to look back.
        psi_limit: Minimum population stability index to call drift.
        false_alarms: Share of the comparisons that may find drift by chance, 0..1.
        drift_report: Self-contained HTML.
        drift_metrics: Number of images, and the index of each quantity.
        drift_result: Folder of drift.json.

    Returns:
        Whether a quantity drifted.
    """
    from components.shared.run.step import step

    with step("drift", drift_result, drift_metrics):
        from components.drift.logic import drift_of
        from components.drift.report import write_drift_report
        from components.shared.errors import UserError
        from components.shared.run.parameters import DriftRule

        rule = DriftRule(
            prometheus=prometheus,
            window_days=window_days,
            psi_limit=psi_limit,
            false_alarms=false_alarms,
        )
        if not registry:
            raise UserError("registry: give the one of the version that serves")
        found = drift_of(f"{registry}#{served_model}", rule)
        found.write(drift_result.path)
        write_drift_report(drift_report.path, found)
        for name, value in found.metrics().items():
            drift_metrics.log_metric(name, float(value))
        print(f"version {found.version}: {found.verdict}")
    return bool(found.drifted)


@component
def alert(drift_result: Input[Artifact], alerted: Output[Artifact]) -> None:
    """Fails, so that the run fails: whoever watches the runs sees the drift.

    Args:
        drift_result: What the drift step wrote.
        alerted: Never written.
    """
    from components.shared.run.step import step

    with step("alert", alerted):
        from components.drift.logic import alert

        alert(drift_result.path)
