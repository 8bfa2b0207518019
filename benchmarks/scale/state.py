"""How large Argo's state of a run gets: one object, which has to stay below 1 MB."""

import base64
import gzip
import json
import random
import re
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LIMIT = 2**20  # bytes; MAX_WORKFLOW_SIZE of Argo's controller
# Of the pipeline compiled by KFP 2.17: the second round of the search, and a trial of it.
ROUND = r"for-loop-2\(0\)\.iteration-iterations\(1:1\)"
TRIAL = ROUND + r".*for-loop-3\(0\)\.iteration-iterations\(1:1\)"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Nodes = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class State:
    """The state of a run with a search by several workers.

    Attributes:
        nodes: Argo's nodes, by their ids.
        rest: Bytes of all else, most of which is the pipeline.
    """

    nodes: Nodes
    rest: int

    @classmethod
    def of(cls, workflow: dict[str, Any]) -> "State":
        """Takes a workflow as `kubectl get workflow NAME --output json` prints it."""
        status = workflow["status"]
        packed = status.get("compressedNodes", "")
        nodes = json.loads(gzip.decompress(base64.b64decode(packed))) if packed else status["nodes"]
        held = len(packed) if packed else len(_text(nodes))
        return cls(nodes, len(_text(workflow)) - held)

    @property
    def plain(self) -> int:
        """Bytes of the nodes."""
        return len(_text(self.nodes))

    @property
    def packed(self) -> int:
        """Bytes of the nodes as Argo keeps them: zipped, as base64."""
        return len(base64.b64encode(gzip.compress(_text(self.nodes).encode(), mtime=0)))

    def part(self, pattern: str) -> "State":
        """Returns what a part of the run added.

        Args:
            pattern: Of the names of its nodes.
        """
        return State({i: n for i, n in self.nodes.items() if re.search(pattern, n["name"])}, 0)

    def limit(self, pattern: str) -> int:
        """Returns how often a part may come again before the state is too large."""
        rng, state, times = random.Random(0), self, 0
        again = _copies(self, self.part(pattern), rng)
        while state.packed + state.rest <= LIMIT:
            for _ in range(4):  # packing takes the time
                state = State(state.nodes | next(again), state.rest)
            times += 4
        return times - 4


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _copies(whole: State, part: State, rng: random.Random) -> Iterator[Nodes]:
    """Copies a part, with ids of its own in place of those that nothing else has."""
    text, ids = _text(part.nodes), set(part.nodes)
    count = Counter(_UUID.findall(text))
    own = {found for found in count if _text(whole.nodes).count(found) == count[found]}
    while True:
        copy = text
        for one in sorted(ids):
            prefix = one.rpartition("-")[0]
            copy = copy.replace(one, f"{prefix}-{rng.randrange(10**9, 2**32)}")
        for one in sorted(own):
            copy = copy.replace(one, str(uuid.UUID(int=rng.getrandbits(128))))
        yield json.loads(copy)
