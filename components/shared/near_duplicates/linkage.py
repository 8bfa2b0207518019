"""Single linkage: which items hang together through pairs that are alike.

Every item has a unit vector, its descriptor, and no two items are more alike than the product of
their descriptors says. So only pairs with a great product, the candidates, are looked at
themselves, and no pair that is alike is missed. Three things keep the work small:

- Items are put in an order in which those that lie together follow each other. A block of them has
  a bounding box in the first coordinates, and what lies too far from the box is left out.
- The products of what is left are matrix products, at a nanosecond a pair.
- Components need no more links than they have items: pairs within one are passed over, and the
  likeliest candidates come first.

A great many items that are nearly alike, but not alike, could still have candidates without end.
Where there are more than `_MAX_CONFIRMED`, only the likeliest of each item are looked at, and a
line says how many were not.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from components.shared.data.groups import join_links
from components.shared.run.progress import Meter

Confirm = Callable[[np.ndarray, np.ndarray], np.ndarray]

_ROWS, _COLUMNS = 128, 16_384  # of a block of products
_BOX = 16  # coordinates of a bounding box
_TASKS_AT_ONCE = 64  # before what they joined is looked at; whatever the number of threads
_MAX_THREADS = 8  # each takes up to 100 MB
_MANY = 1 << 16  # candidates, of one block and of several
_MAX_CONFIRMED = 500_000_000  # all pairs of 31,000 items
_ROUNDING = 1e-5  # of float32 products


def single_linkage(
    descriptors: np.ndarray, threshold: float, confirm: Confirm, what: str
) -> np.ndarray:
    """Finds links that join all items that are alike, directly or through others.

    The groups that the links make are those of all pairs: they depend neither on the order of
    the items nor on the number of threads.

    Args:
        descriptors: Unit vectors, float32 [n, d]; the first coordinates tell the most.
        threshold: Pairs with a product up to this are not alike.
        confirm: Tells of pairs of items, int64 [p] and int64 [p], which are alike, bool [p]. The
            first are few different items in each call. Threads call it at the same time.
        what: The items, in the plural, for the log.

    Returns:
        Pairs of items, int64 [p, 2].
    """
    items = _order(descriptors)
    descriptors = descriptors[items]
    coarse = np.ascontiguousarray(descriptors[:, :_BOX].T)
    search = _Search(descriptors, coarse, items, threshold - _ROUNDING, confirm)
    count = len(items)
    component = np.arange(count, dtype=np.int32)
    links, left, passed_over = [np.empty((0, 2), dtype=np.int64)], _MAX_CONFIRMED, 0
    meter = Meter(count, f"{what} compared")
    workers = min(os.cpu_count() or 1, _MAX_THREADS)
    with ThreadPoolExecutor(workers) as pool, threadpool_limits(1, "blas"):
        for tasks in _rounds(count):
            share = 1 if count * (count - 1) // 2 <= _MAX_CONFIRMED else len(tasks)
            compare = partial(search.compare, component, left // share)
            found = list(pool.map(lambda task, compare=compare: compare(*task), tasks))
            new = np.concatenate([task.links for task in found])
            component = _merged(component, new)
            links.append(items[new])
            left -= sum(task.confirmed for task in found)
            passed_over += sum(task.passed_over for task in found)
            if done := sum(rows.stop - rows.start for rows, columns in tasks if rows != columns):
                meter.add(done)
    if passed_over:
        print(
            f"too many {what} are nearly alike: {passed_over:,} pairs were not compared, the "
            "least likely ones",
            flush=True,
        )
    return np.concatenate(links)


def _rounds(count: int) -> Iterator[list[tuple[slice, slice]]]:
    """Yields tasks: first each block with itself, then with all that follows."""
    blocks = [slice(i, min(i + _ROWS, count)) for i in range(0, count, _ROWS)]
    itself = [(rows, rows) for rows in blocks]
    others = [(rows, slice(rows.stop, count)) for rows in blocks]
    for tasks in (itself, others):
        for i in range(0, len(tasks), _TASKS_AT_ONCE):
            yield tasks[i : i + _TASKS_AT_ONCE]


def _order(points: np.ndarray) -> np.ndarray:
    """Returns an order, int64 [n], in which blocks lie together: halved where they are widest."""
    order = np.arange(len(points))
    todo = [(0, len(points))]
    while todo:
        start, stop = todo.pop()
        if stop - start <= _ROWS:
            continue
        part = order[start:stop]
        sample = points[part[:: max(1, len(part) // 4096)], :_BOX]
        half = _ROWS * max(1, len(part) // (2 * _ROWS))
        values = points[part, sample.var(axis=0).argmax()]
        order[start:stop] = part[np.argpartition(values, half)]
        todo += [(start, start + half), (start + half, stop)]
    return order


def _merged(component: np.ndarray, links: np.ndarray) -> np.ndarray:
    """Returns the component of each point after links were added."""
    if len(links) == 0:
        return component
    old, ends = np.unique(component[links], return_inverse=True)
    new = np.arange(len(component), dtype=component.dtype)
    new[old] = old[join_links(len(old), ends.reshape(-1, 2))]
    return new[component]


@dataclass(frozen=True)
class _Candidates:
    """Pairs of points that may be alike."""

    left: np.ndarray  # int64 [p]
    right: np.ndarray  # int64 [p]
    product: np.ndarray  # float32 [p]

    def __len__(self) -> int:
        return len(self.left)

    def __getitem__(self, which: np.ndarray) -> "_Candidates":
        return _Candidates(self.left[which], self.right[which], self.product[which])


@dataclass(frozen=True)
class _Found:
    """What a task brought."""

    links: np.ndarray  # pairs of points, int64 [p, 2]
    confirmed: int
    passed_over: int


@dataclass(frozen=True)
class _Search:
    """Looks for links between points."""

    points: np.ndarray  # float32 [n, d], in their order
    coarse: np.ndarray  # float32 [_BOX, n], the first coordinates again
    items: np.ndarray  # int64 [n], the item of each point
    threshold: float
    confirm: Confirm

    def compare(self, component: np.ndarray, allowed: int, rows: slice, columns: slice) -> _Found:
        """Compares a block of points with others.

        Args:
            component: What is joined by now, int32 [n].
            allowed: How many pairs may be confirmed, beside the likeliest of each row.
            rows: The block.
            columns: The others.

        Returns:
            Links enough to join all that hangs together through a row and a column.
        """
        links, confirmed, passed_over = [np.empty((0, 2), dtype=np.int64)], 0, 0
        waiting: list[_Candidates] = []

        def look(candidates: _Candidates, at_most: int) -> int:
            """Keeps the links among candidates; returns how many candidates were too many."""
            nonlocal confirmed
            new, looks, rest = self._confirmed(candidates, component, at_most)
            links.append(new)
            confirmed += looks
            return rest

        for start in range(columns.start, columns.stop, _COLUMNS):
            near = self._near(component, rows, start, min(start + _COLUMNS, columns.stop))
            products = self.points[rows] @ self.points[near].T
            if rows == columns:  # each pair once
                products[np.arange(rows.start, rows.stop)[:, np.newaxis] >= near] = 0
            above = products > self.threshold
            if np.count_nonzero(above) > _MANY and confirmed < allowed:
                # A dense place: what is joined by the likeliest need not be listed.
                look(_likeliest(products, above, 0, rows, near), allowed - confirmed)
                component = _merged(component, links[-1])
                above &= component[rows, np.newaxis] != component[near]
            if confirmed < allowed:
                waiting.append(_listed(products, above, rows, near))
                if sum(map(len, waiting)) > _MANY:
                    passed_over += look(_together(waiting), allowed - confirmed)
                    component = _merged(component, links[-1])
                    waiting.clear()
            else:
                likeliest = _likeliest(products, above, 1, rows, near)
                passed_over += int(np.count_nonzero(above)) - len(likeliest)
                look(likeliest, len(likeliest))
        if waiting:
            passed_over += look(_together(waiting), max(0, allowed - confirmed))
        return _Found(np.concatenate(links), confirmed, passed_over)

    def _near(self, component: np.ndarray, rows: slice, start: int, stop: int) -> np.ndarray:
        """Returns the points, int64 [p], from start on that may be alike one of the rows."""
        own = component[rows]
        others = np.arange(start, stop)
        if (own == own[0]).all():
            others = others[component[start:stop] != own[0]]
        block = self.coarse[:, rows]
        low, high = block.min(axis=1, keepdims=True), block.max(axis=1, keepdims=True)
        there = self.coarse[:, others]
        away = there - np.clip(there, low, high)
        # The product of unit vectors is 1 - half of the square of their distance.
        return others[np.einsum("ij,ij->j", away, away) / 2 < 1 - self.threshold]

    def _confirmed(
        self, candidates: _Candidates, component: np.ndarray, at_most: int
    ) -> tuple[np.ndarray, int, int]:
        """Looks at candidates, the likeliest of each component first, until no more can join.

        Returns:
            Links between points, int64 [p, 2], how many candidates were looked at, and how many
            more were left when these were `at_most`.
        """
        candidates = candidates[component[candidates.left] != component[candidates.right]]
        ends = np.concatenate([component[candidates.left], component[candidates.right]])
        known, ends = np.unique(ends, return_inverse=True)
        left, right = np.split(ends, 2)
        label = np.arange(len(known))
        links, looks, tries = [np.empty((0, 2), dtype=np.int64)], 0, 1
        rest = np.argsort(-candidates.product, kind="stable")
        while True:
            rest = rest[label[left[rest]] != label[right[rest]]]
            if len(rest) == 0 or looks >= at_most:
                break
            chosen = _first_of_each(label[left[rest]], tries)
            pairs = rest[chosen][: at_most - looks]
            looks += len(pairs)
            tries *= 8
            alike = pairs[
                self.confirm(
                    self.items[candidates.left[pairs]], self.items[candidates.right[pairs]]
                )
            ]
            links.append(np.stack([candidates.left[alike], candidates.right[alike]], axis=1))
            label = _merged(label, np.stack([left[alike], right[alike]], axis=1))
            rest = rest[~chosen]
        return np.concatenate(links), looks, len(rest)


def _together(candidates: list[_Candidates]) -> _Candidates:
    return _Candidates(
        np.concatenate([some.left for some in candidates]),
        np.concatenate([some.right for some in candidates]),
        np.concatenate([some.product for some in candidates]),
    )


def _listed(
    products: np.ndarray, above: np.ndarray, rows: slice, columns: np.ndarray
) -> _Candidates:
    """Returns all candidates."""
    i, j = np.divmod(np.flatnonzero(above), max(1, len(columns)))
    return _Candidates(rows.start + i, columns[j], products[i, j])


def _likeliest(
    products: np.ndarray, above: np.ndarray, axis: int, rows: slice, columns: np.ndarray
) -> _Candidates:
    """Returns the candidate with the greatest product of each column (axis 0) or row (1)."""
    best = products.argmax(axis=axis) if products.size else np.empty(0, dtype=np.int64)
    along = np.arange(len(best))
    i, j = (best, along) if axis == 0 else (along, best)
    which = above[i, j]
    i, j = i[which], j[which]
    return _Candidates(rows.start + i, columns[j], products[i, j])


def _first_of_each(values: np.ndarray, count: int) -> np.ndarray:
    """Marks the first `count` elements of each value, bool [n]."""
    order = np.argsort(values, kind="stable")
    sorted_values = values[order]
    starts = np.searchsorted(sorted_values, sorted_values)
    first = np.empty(len(values), dtype=bool)
    first[order] = np.arange(len(values)) - starts < count
    return first
