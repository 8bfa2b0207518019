"""Groups of near-duplicates, and pictures that two classes claim.

Two images are twins when their grey 32x32 thumbnails correlate above 0.98, or what is brighter
than what in two of their heads above 0.96. Thumbnails tell what was re-encoded, resized, sharpened,
flipped or turned, heads also what was cropped, widened or given another tone. Groups are the
connected components of twins.
"""

from itertools import combinations, product

import numpy as np

from components.shared.data.groups import join_links
from components.shared.near_duplicates.matcher import Matcher

THUMBNAIL_CORRELATION, HEAD_CORRELATION = 0.98, 0.96
_MAX_PAIRS = 3_000_000  # of images of two labels; half a minute
_PAIRS_AT_ONCE = 1 << 18


class NearDuplicates:
    """The near-duplicates among some images.

    The same pictures give the same answers, whatever the number of threads. Beside the pictures,
    which may be mapped from disk, this takes 4 KB of memory an image.
    """

    def __init__(self, thumbnails: np.ndarray, heads: np.ndarray) -> None:
        """Reads all pictures once.

        Args:
            thumbnails: uint8 [n, 32, 32], grey.
            heads: uint8 [n, h, 40, 40]: h heads of each image, all 0 where it has none.
        """
        self._of_image = heads.shape[1]
        self._thumbnails = Matcher(thumbnails, THUMBNAIL_CORRELATION)
        self._heads = Matcher(heads.reshape(-1, *heads.shape[2:]), HEAD_CORRELATION)

    def groups(self) -> np.ndarray:
        """Groups near-duplicates.

        Returns:
            int64 [n]: the group of each image, numbered by first appearance. All images without
            any contrast form one group.
        """
        flat = np.flatnonzero(self._thumbnails.flat)
        links = (
            np.stack([flat[:-1], flat[1:]], axis=1),
            self._thumbnails.links("different thumbnails"),
            self._heads.links("different heads") // self._of_image,
        )
        return join_links(len(self._thumbnails.flat), np.concatenate(links))

    def contradicted(self, groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Tells which pictures are filed under more than one class.

        An image is contradicted where a twin of it has another label. Where that holds for half of
        a label's images in a group, or more, it holds for the others too: they show the same
        picture. So a single wrong link takes away two images and not a whole group.

        Args:
            groups: Those of `groups`, int64 [n].
            labels: int [n].

        Returns:
            bool [n].
        """
        found = np.zeros(len(groups), dtype=bool)
        allowed = _MAX_PAIRS
        by_group = np.argsort(groups, kind="stable")
        starts = np.flatnonzero(np.diff(groups[by_group], prepend=-1))
        for members in np.split(by_group, starts[1:]):
            if len(np.unique(labels[members])) > 1:
                found[members], pairs = self._contradicted_in(members, labels[members], allowed)
                allowed -= pairs
        return found

    def _contradicted_in(
        self, members: np.ndarray, labels: np.ndarray, allowed: int
    ) -> tuple[np.ndarray, int]:
        """Returns which images of a group are contradicted, bool [m], and the pairs compared."""
        heads = self._heads.first.reshape(-1, self._of_image)[members]
        same = np.stack([self._thumbnails.first[members], *heads.T, labels])
        _, first, copy_of = np.unique(same, axis=1, return_index=True, return_inverse=True)
        images, label = members[first], labels[first]  # that differ, or their labels do
        by_label = [np.flatnonzero(label == which) for which in np.unique(label)]
        pairs = sum(len(here) * len(there) for here, there in combinations(by_label, 2))
        if pairs > allowed:
            print(
                f"{len(members):,} near-duplicates of several labels are too many to compare: all "
                "of them count as contradicted",
                flush=True,
            )
            return np.ones(len(members), dtype=bool), 0
        found = np.zeros(len(images), dtype=bool)
        for here, there in combinations(by_label, 2):
            for part in np.array_split(here, 1 + len(here) * len(there) // _PAIRS_AT_ONCE):
                left, right = np.repeat(part, len(there)), np.tile(there, len(part))
                twins = self._are_twins(images[left], images[right])
                found[left[twins]] = found[right[twins]] = True
        contradicted = found[copy_of.ravel()]
        for which in np.unique(labels):
            its = labels == which
            contradicted[its] |= contradicted[its].mean() >= 0.5
        return contradicted, pairs

    def _are_twins(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Tells which pairs of images are twins, bool [p]."""
        twins = self._thumbnails.flat[left] & self._thumbnails.flat[right]
        self._add_twins(twins, self._thumbnails, left, right)
        for one, other in product(range(self._of_image), repeat=2):
            heads = (self._of_image * left + one, self._of_image * right + other)
            self._add_twins(twins, self._heads, *heads)
        return twins

    @staticmethod
    def _add_twins(
        twins: np.ndarray, matcher: Matcher, left: np.ndarray, right: np.ndarray
    ) -> None:
        """Marks the pairs of pictures that are twins, of those that are not marked yet."""
        rest = np.flatnonzero(~(twins | matcher.flat[left] | matcher.flat[right]))
        twins[rest] = matcher.are_twins(left[rest], right[rest])
