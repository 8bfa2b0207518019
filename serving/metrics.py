"""What `/metrics` shows beside KServe's own figures."""

from prometheus_client import Counter, Gauge, Histogram, Info

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

_stage = Histogram(
    "brain_tumor_stage_seconds",
    "Time in each stage: fetch and decode of one image, queue of one image, inference of one "
    "batch, explain of one request, request as a whole.",
    ["stage"],
    buckets=_SECONDS,
)
STAGE = {
    stage: _stage.labels(stage)
    for stage in ("fetch", "decode", "queue", "inference", "explain", "request")
}
BATCH_SIZE = Histogram(
    "brain_tumor_batch_size",
    "Images that went through the model together.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
QUEUE_LENGTH = Gauge("brain_tumor_queue_length", "Images accepted and not yet answered.")
CONNECTIONS = Gauge("brain_tumor_connections", "HTTP connections that are open.")
RESPONSES = Counter(
    "brain_tumor_responses_total", "Answered requests.", ["protocol", "operation", "code"]
)
REJECTED = Counter("brain_tumor_rejected_total", "Requests not answered, by reason.", ["reason"])
PREDICTIONS = Counter("brain_tumor_predictions_total", "Answered images, by class.", ["label"])
SCORE = Histogram(
    "brain_tumor_score",
    "Probability of the positive class.",
    buckets=tuple(step / 20 for step in range(1, 21)),
)
OUT_OF_DISTRIBUTION = Counter(
    "brain_tumor_out_of_distribution_total", "Answered images that look like no brain MRI."
)
UNSURE = Counter("brain_tumor_unsure_total", "Answered images whose outcome is unsure.")
MODEL = Info("brain_tumor_model", "The model that answers: name, version, digest.")


def count_refused_call(reason: str, code: str) -> None:
    """Counts a gRPC request that is refused before the predictor has it.

    Args:
        reason: See `serving.errors`.
        code: Of gRPC, its name.
    """
    REJECTED.labels(reason).inc()
    RESPONSES.labels("grpc", "infer", code).inc()
