"""Alerts and dashboard ask for what the predictor shows."""

import json
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY

from serving import metrics
from serving.drift import LABELS as DRIFT_LABELS
from serving.drift import DriftCounts
from serving.errors import FAULTS
from tests.manifests.kustomize import MANIFESTS, labels_of, objects

FOUND = objects("overlays/s3", components=("monitoring",))
DASHBOARD: dict[str, Any] = json.loads(FOUND.one("ConfigMap")["data"]["brain-tumor.json"])
RULES: list[dict[str, Any]] = [
    rule for group in FOUND.one("PrometheusRule")["spec"]["groups"] for rule in group["rules"]
]
ADDED = {"namespace", "service", "pod"}  # by Prometheus
RECORDED = {rule["record"] for rule in RULES if "record" in rule}  # by rules before
NO_REFERENCE: Any = SimpleNamespace(
    version=1, digest="", classes=("Brain Tumor",), positive=0, drift=None
)
SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "info": ("_info",),
}
SELECTOR = re.compile(r"\b([a-z_][a-z0-9_:]*)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!=|!~|=)"([^"]*)"')
WORDS = {
    *("sum", "rate", "count", "max", "by", "le", "abs", "absent", "increase", "ignoring"),
    *("group_left", "histogram_quantile", "label_values", "and", "ln"),
}


def _queries() -> Iterator[str]:
    yield from (rule["expr"] for rule in RULES)
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]


QUERIES = sorted(set(_queries()))


@pytest.fixture(scope="module")
def shown() -> set[str]:
    """Names of the samples on the predictor's /metrics."""
    families = [*REGISTRY.collect(), *DriftCounts(NO_REFERENCE).collect()]
    found = {
        family.name + suffix for family in families for suffix in SUFFIXES.get(family.type, ())
    }
    return found | RECORDED


def _labels(metric: str) -> set[str]:
    """Returns the labels of one of the predictor's own metrics, or of what rules make of them."""
    if metric in RECORDED or "_drift_" in metric:
        return set(DRIFT_LABELS)
    for found in vars(metrics).values():
        name = getattr(found, "_name", None)
        if name and re.fullmatch(name + "(_total|_bucket|_sum|_count|_info)?", metric):
            return set(found._labelnames) | {"le"}
    return set()


def _selectors(query: str) -> Iterator[tuple[str, str]]:
    """Yields the metrics of a query with their matchers."""
    bare = re.sub(r"\b(by|ignoring|label_values)\s*\(([^()]*)\)", _keep_metric, query)
    for name, matchers in SELECTOR.findall(re.sub(r"\[[^\]]*\]", "", bare)):
        if name not in WORDS:
            yield name, matchers


def _keep_metric(match: re.Match[str]) -> str:
    return match[2].rpartition(",")[0] if match[1] == "label_values" else ""


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_asks_for_what_is_shown(query: str, shown: set[str]) -> None:
    found = list(_selectors(query))
    assert found
    for name, matchers in found:
        assert name in shown
        for label, _, _ in MATCHER.findall(matchers):
            assert label in _labels(name) | ADDED


@pytest.mark.parametrize("query", QUERIES)
def test_every_value_asked_for_can_be(query: str) -> None:
    reasons = {"reason": set(FAULTS), "stage": set(metrics.STAGE)}
    for _, matchers in _selectors(query):
        for label, _, value in MATCHER.findall(matchers):
            assert value in reasons.get(label, {value})


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_is_closed(query: str) -> None:
    plain = re.sub(r'"[^"]*"', "", query)
    opened = []
    for character in plain:
        if character in "([{":
            opened.append(character)
        elif character in ")]}":
            assert opened.pop() + character in ("()", "[]", "{}")
    assert not opened
    for function in ("rate", "increase"):
        for inner in re.findall(rf"\b{function}\s*\(([^()]*)\)", plain):
            assert inner.rstrip().endswith("]"), f"{function} of no range"


def test_the_check_knows_a_metric_that_is_not_there(shown: set[str]) -> None:
    names = [name for name, _ in _selectors('sum by (x) (rate(brain_tumour_total{a="b"}[5m]))')]
    assert names == ["brain_tumour_total"]
    assert not shown & set(names)


def test_the_predictors_own_metrics_are_on_the_dashboard() -> None:
    text = " ".join(QUERIES)
    for found in vars(metrics).values():
        name = getattr(found, "_name", None)
        assert name is None or name in text


def test_metrics_are_read_from_the_predictors_service() -> None:
    spec = FOUND.one("ServiceMonitor")["spec"]
    assert spec["selector"]["matchLabels"] == labels_of(FOUND)
    assert spec["endpoints"][0]["port"] == FOUND.container["ports"][0]["name"]


def test_panels_do_not_overlap_and_grafana_finds_them() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert FOUND.one("ConfigMap")["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_the_documentation_says_what_to_do_about_every_alert() -> None:
    text = (MANIFESTS.parent / "docs" / "deploy.md").read_text()
    for rule in RULES:
        assert rule.get("alert", "") in text


def test_a_rule_reads_what_rules_before_it_record() -> None:
    known: set[str] = set()
    for rule in RULES:
        used = {name for name, _ in _selectors(rule["expr"]) if ":" in name}
        assert used <= known
        known |= {rule.get("record", "")}
