"""A training on a cluster, as events: what each step moves, asks for and waits for.

Whatever a step reads of its inputs, KFP's launcher copies them whole to the pod before, one file
after another, and what the step wrote to the store after. A pod that is lost is repeated: it
fetches its inputs again and goes on after its last epoch.
"""

import math
import random
from dataclasses import dataclass, field, replace

from benchmarks.scale.events import Clock, Places, Process, Shared
from benchmarks.scale.units import Units

PART = 5 * 2**20  # bytes of one upload request of KFP's launcher
CHUNK = 2048  # images whose pixels are a file
PAGE = 1000  # keys of a listing request
# How many thumbnails and heads an image has, the CPU seconds to compare a million of each, and by
# which power they grow, as `benchmarks.duplicates` measured them (docs/experiments.md).
COMPARED = ((1, 749, 1.6), (3, 1289, 1.7))
ASSEMBLED = 35.6e-6  # CPU seconds an image to write the manifest, by `benchmarks.ingest`


@dataclass(frozen=True)
class Cluster:
    """What is assumed of a cluster.

    Attributes:
        gpus: Nodes of one GPU.
        gpu_images: Images a second that a GPU trains.
        nodes: Of CPUs.
        cores: Of such a node.
        store: Bytes a second of the object store, to all pods together.
        stream: Bytes a second of one request.
        pods: A second that KFP and Argo start.
        start: Seconds from there to the step's first line.
        answer: Seconds until the store begins to answer.
        lost: Share of the GPU nodes that is taken back in an hour.
        seed: Of the losses.
    """

    gpus: int = 1000
    gpu_images: float = 2500
    nodes: int = 100
    cores: int = 8
    store: float = 100e9
    stream: float = 100e6
    pods: float = 5
    start: float = 20
    answer: float = 0.05
    lost: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Work:
    """What a run is told.

    Attributes:
        images: Of the source.
        ingest_workers: Pods that decode.
        trials: Of the search.
        tune_workers: Trials at a time.
        algorithm: Of the search.
        tune_epochs: Of a trial.
        ensemble: Networks to train.
        train_workers: Pods that train them.
        epochs: Of each.
        learned: Share of the images that is trained on.
    """

    images: int
    ingest_workers: int = 100
    trials: int = 1000
    tune_workers: int = 1000
    algorithm: str = "random"
    tune_epochs: int = 8
    ensemble: int = 5
    train_workers: int = 5
    epochs: int = 16
    learned: float = 0.64


@dataclass
class Cost:
    """What a step cost.

    Attributes:
        step: Its name.
        pods: That did its work, lost ones too.
        lost: How many of them were taken back.
        down: Bytes from the object store.
        up: Bytes to it.
        requests: To it.
        shared: Bytes to and from the volume that pods share.
        gpu_seconds: That GPUs were held.
        busy_seconds: That they trained what counted.
        began: Seconds since the run began.
        ended: Likewise.
    """

    step: str
    pods: int = 0
    lost: int = 0
    down: float = 0
    up: float = 0
    requests: float = 0
    shared: float = 0
    gpu_seconds: float = 0
    busy_seconds: float = 0
    began: float = 0
    ended: float = 0


@dataclass(frozen=True)
class Pod:
    """What one pod does.

    Attributes:
        reads: Files and bytes that the launcher fetches.
        streams: Requests at a time that fetch.
        compute: Seconds, in pieces; what is lost with a pod is the piece at hand.
        writes: Files and bytes that the launcher stores.
        gpu: Whether it holds a GPU node, and its pieces are a GPU's.
        side_by_side: Whether it computes while it fetches.
    """

    reads: tuple[float, float] = (0, 0)
    streams: int = 1
    compute: tuple[float, ...] = ()
    writes: tuple[float, float] = (0, 0)
    gpu: bool = False
    side_by_side: bool = False


@dataclass(frozen=True)
class Listing:
    """What it takes to list a source.

    Attributes:
        requests: One page after another.
        size: Bytes of the answers.
        seconds: Until the last page came, and all is sorted.
    """

    requests: int
    size: float
    seconds: float


def near_duplicates_seconds(images: float) -> float:
    """Returns the CPU seconds in which images are compared."""
    return sum(
        seconds * (pictures * images / 1e6) ** power for pictures, seconds, power in COMPARED
    )


def interpolated(pairs: list[tuple[int, float]], at: float) -> float:
    """Returns what measured pairs say of a number, by powers between and beyond them."""
    points = [(x, y) for x, y in pairs if y > 0]
    if at <= 0:
        return 0.0
    below = max((i for i, (x, _) in enumerate(points) if x <= at), default=0)
    (x, y), (u, v) = points[min(below, len(points) - 2) :][:2]
    return float(y * (at / x) ** (math.log(v / y) / math.log(u / x)))


def upload_requests(files: float, size: float) -> float:
    """Returns how many requests store files of equal size: one, or as many as they have parts."""
    parts = math.ceil(size / files / PART) if files else 0
    return files * (1 if parts <= 1 else parts + 2)


@dataclass
class Training:
    """A run of the training pipeline.

    Attributes:
        units: What was measured.
        cluster: What is assumed.
        work: What the run is told.
        costs: Of each step, once it ran.
    """

    units: Units
    cluster: Cluster
    work: Work
    costs: list[Cost] = field(default_factory=list)

    def run(self) -> list[Cost]:
        """Runs all steps and returns what each cost."""
        self._clock = Clock()
        self._random = random.Random(self.cluster.seed)
        self._gpus = Places(self._clock, self.cluster.gpus)
        self._nodes = Places(self._clock, self.cluster.nodes)
        self._starter = Places(self._clock, 1)
        self._store = Shared(self._clock, self.cluster.store, math.inf)
        self._clock.start(self._steps())
        self._clock.run()
        return self.costs

    def _steps(self) -> Process:
        units, work, images = self.units, self.work, self.work.images
        chunks = images / CHUNK
        dataset = (units.dataset_files * chunks + 2, units.dataset_bytes * images)
        share = images / work.ingest_workers
        ingest = Pod(
            # Each worker lists the whole source.
            reads=(
                share * units.read_requests,
                share * (units.image_bytes + units.read_requests * units.answer_bytes),
            ),
            streams=8,  # each image is a request
            compute=(units.start_seconds, share * units.ingest_seconds / self.cluster.cores),
            writes=(units.decoded_files * share / CHUNK + 1, units.decoded_bytes * share),
            side_by_side=True,
        )
        pages = math.ceil(images / PAGE)
        listing = Listing(
            requests=pages,
            size=images * units.listing_bytes,
            seconds=pages * self.cluster.answer + images * units.listing_seconds,
        )
        yield from self._step("ingest", [ingest] * work.ingest_workers, listing=listing)

        decoded = (
            units.decoded_files * chunks + work.ingest_workers,
            units.decoded_bytes * images,
        )
        computed = ASSEMBLED * images
        computed += near_duplicates_seconds(images) / self.cluster.cores
        yield from self._step("assemble", [Pod(decoded, compute=(computed,), writes=dataset)])
        reader = Pod(dataset)
        yield from self._step("split", [reader])

        told, rounds = 0, math.ceil(work.trials / work.tune_workers)
        trial = self._trainer(dataset, work.tune_epochs)
        for number in range(1, rounds + 1):
            name = f"round {number} of {rounds}"
            asked = interpolated(units.replay_seconds[work.algorithm], told)
            propose = replace(reader, compute=(asked,))
            shared = told * units.trial_bytes
            yield from self._step(f"{name}: propose", [propose], shared=shared)
            trials = min(work.tune_workers, work.trials - told)
            kept = trials * work.tune_epochs * units.checkpoint_bytes
            yield from self._step(f"{name}: trials", [trial] * trials, shared=kept)
            told += trials
        asked = interpolated(units.replay_seconds[work.algorithm], told)
        shared = told * units.trial_bytes
        yield from self._step("tune", [self._trainer(dataset, 0, asked)], shared=shared)

        numbers = range(work.ensemble)
        shares = [len(numbers[w :: work.train_workers]) for w in range(work.train_workers)]
        workers = [self._trainer(dataset, work.epochs * count) for count in shares if count]
        kept = work.ensemble * work.epochs * units.checkpoint_bytes
        yield from self._step("train: networks", workers, shared=kept)
        model = (1.0, float(units.model_bytes * work.ensemble))
        collect = replace(self._trainer(dataset, 0), writes=model)
        kept = work.ensemble * units.checkpoint_bytes
        yield from self._step("train: collect", [collect], shared=kept)
        for name in ("evaluate", "register"):
            yield from self._step(name, [reader])

    def _trainer(self, dataset: tuple[float, float], epochs: int, start: float = 0) -> Pod:
        """Returns a pod that trains so many epochs, each of which is kept."""
        seconds = self.work.images * self.work.learned / self.cluster.gpu_images
        return Pod(dataset, compute=((start,) if start else ()) + (seconds,) * epochs, gpu=True)

    def _step(
        self,
        name: str,
        pods: list[Pod],
        listing: Listing | None = None,
        shared: float = 0,
    ) -> Process:
        """Runs the pods of a step side by side.

        Args:
            name: Of the step.
            pods: What each does.
            listing: Of a source, which each pod does.
            shared: Bytes to and from the shared volume, of all.
        """
        cost = Cost(name, began=self._clock.now, shared=shared)
        yield self._clock.all([self._pod(pod, listing, cost) for pod in pods])
        cost.ended = self._clock.now
        self.costs.append(cost)

    def _pod(self, pod: Pod, listing: Listing | None, cost: Cost) -> Process:
        """Runs a pod, again and again until no node is taken from it."""
        nodes = self._gpus if pod.gpu else self._nodes
        left = list(pod.compute)
        while True:
            yield self._starter.take()
            yield self._clock.sleep(1 / self.cluster.pods)
            self._starter.give()
            yield nodes.take()
            cost.pods += 1
            began = self._clock.now
            ends = began + self._lifetime(pod)
            yield self._clock.sleep(self.cluster.start)
            if listing:
                cost.requests += listing.requests
                cost.down += listing.size
                yield self._clock.all([self._shares(listing.size), self._computes(listing.seconds)])
            yield self._clock.all(self._fetches(pod, left, cost))
            if pod.side_by_side:
                left.clear()
            while left and self._clock.now < ends:
                piece = left[0]
                yield self._clock.sleep(min(piece, ends - self._clock.now))
                if self._clock.now < ends:
                    cost.busy_seconds += piece * pod.gpu
                    left.pop(0)
            lost = bool(left) or self._clock.now >= ends
            if not lost:
                yield from self._stored(pod, cost)
            nodes.give()
            cost.gpu_seconds += (self._clock.now - began) * pod.gpu
            if not lost:
                return
            cost.lost += 1

    def _fetches(self, pod: Pod, left: list[float], cost: Cost) -> list[Process]:
        """Returns what a pod does before it computes, or while it does."""
        files, size = pod.reads
        cost.down += size
        cost.requests += files
        wait = files * self.cluster.answer / pod.streams
        if pod.side_by_side:
            return [self._transfer(size, pod.streams, wait), self._computes(sum(left))]
        cost.requests += math.ceil(files / PAGE)  # what the launcher lists before
        return [self._transfer(size, pod.streams, wait)]

    def _stored(self, pod: Pod, cost: Cost) -> Process:
        files, size = pod.writes
        cost.requests += upload_requests(files, size)
        cost.up += size
        yield from self._transfer(size, 5)  # the launcher stores five parts of a file at a time

    def _computes(self, seconds: float) -> Process:
        yield self._clock.sleep(seconds)

    def _transfer(self, size: float, streams: int, wait: float = 0) -> Process:
        """Moves bytes; takes what one pod's streams need, or more where many share the store."""
        alone = wait + size / (self.cluster.stream * streams)
        yield self._clock.all([self._shares(size), self._computes(alone)])

    def _shares(self, size: float) -> Process:
        yield self._store.use(size)

    def _lifetime(self, pod: Pod) -> float:
        """Returns after how many seconds a node is taken back."""
        if not (pod.gpu and self.cluster.lost):
            return math.inf
        return self._random.expovariate(-math.log1p(-self.cluster.lost) / 3600)
