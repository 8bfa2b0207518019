"""Groups of images: joining them, and what an image counts for beside the others of its group."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def join_groups(*groupings: np.ndarray) -> np.ndarray:
    """Joins groups that share an image, whatever they are groups of.

    Args:
        *groupings: Each gives every image a group, int64 [n]; negative where it is in none.

    Returns:
        int64 [n]: the connected component of each image, numbered by first appearance. With
        images 0 and 1 near-duplicates, and 1 and 2 of one patient, all three share a group.
    """
    images, groups, total = [], [], 0
    for grouping in groupings:
        members = np.flatnonzero(grouping >= 0)
        _, group_of = np.unique(grouping[members], return_inverse=True)
        images.append(members)
        groups.append(group_of + total)
        total += int(group_of.max(initial=-1)) + 1
    return components(np.concatenate(images), np.concatenate(groups), len(groupings[0]))


def components(images: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """Returns the connected components of images that groups hold together.

    Args:
        images: An image, 0..count-1, and in `groups` one of the groups that it is in, int64 [m].
        groups: Numbers from 0, int64 [m].
        count: How many images there are.

    Returns:
        int64 [count], numbered by first appearance; an image in no group is one by itself.
    """
    nodes = count + int(groups.max(initial=-1)) + 1  # an image is a node, and so is each group
    return join_links(nodes, np.stack([images, groups + count], axis=1))[:count]


def join_links(count: int, links: np.ndarray) -> np.ndarray:
    """Returns the connected components of items that links join.

    Args:
        count: How many items there are.
        links: Pairs of items, int64 [p, 2].

    Returns:
        int64 [count], numbered by first appearance; an item in no link is one by itself.
    """
    ends = (links[:, 0], links[:, 1])
    graph = coo_array((np.ones(len(links), dtype=bool), ends), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def group_weights(groups: np.ndarray, power: float = 0.5) -> np.ndarray:
    """Returns what images count for, so that many near-duplicates do not outweigh the rest.

    Args:
        groups: Duplicate group of each image, int [n].
        power: An image counts 1 / (size of its group) to this power; 0 all alike, 1 all groups
            alike. Between them a group counts more than one image and less than so many.

    Returns:
        float64 [n], at most 1.
    """
    _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return 1 / sizes[group_of] ** power
