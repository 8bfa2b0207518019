"""Trains every recipe on every fold from every seed, many at once; what is done stays on disk."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.recipes.augment import augment
from benchmarks.recipes.network import Weights, features, initial, logits
from benchmarks.recipes.packed import FILE, Packed
from benchmarks.recipes.plan import Plan, record_of
from benchmarks.recipes.recipes import KNOBS, RECIPES, Recipe
from components.shared.training.penalized import penalized_fit

BATCH = 32
_ASKED = 64  # images at once when the scores are computed


def train_all(folder: Path, names: Sequence[str], plan: Plan, at_once: int, minutes: float) -> None:
    """Trains the recipes that are not on disk yet, their teachers first.

    Args:
        folder: Holds `recipes.npz`; scores are written into its `state/`.
        names: Of the recipes.
        plan: Of all of them.
        at_once: Most models in one program.
        minutes: No recipe is begun that would likely end later; 0 for no limit.
    """
    started, longest = time.perf_counter(), 0.0
    packed = Packed.open(folder / FILE)
    print(f"{len(packed.images):,} images, {jax.devices()[0].device_kind}", flush=True)
    for together in _batches(folder, names, plan, at_once):
        if minutes and time.perf_counter() - started + longest > 60 * minutes:
            print(f"no time for {'; '.join(together)}", flush=True)
            return
        began = time.perf_counter()
        _train_batch(folder, packed, together, plan)
        longest = max(longest, time.perf_counter() - began)


def _batches(folder: Path, names: Sequence[str], plan: Plan, at_once: int) -> Iterator[list[str]]:
    """Yields names of recipes that are one program: of one shape, and taught by the same."""
    wanted: list[str] = []
    for name in names:
        wanted += [each for each in (RECIPES[name].teachers, name) if each]
    left = [n for n in dict.fromkeys(wanted) if not record_of(folder, plan, n).exists()]
    while left:
        first = RECIPES[left[0]]
        alike = [
            name
            for name in left
            if (RECIPES[name].blocks, RECIPES[name].teachers) == (first.blocks, first.teachers)
        ][: max(1, at_once // len(plan.trainings))]
        yield alike
        left = [name for name in left if name not in alike]


def _train_batch(folder: Path, packed: Packed, names: Sequence[str], plan: Plan) -> None:
    rows = [(name, fold, seed) for name in names for fold, seed in plan.trainings]
    print(f"\n{len(rows)} models: {'; '.join(names)}", flush=True)
    recipe = RECIPES[names[0]]
    teachers = _teachers(folder, plan, recipe, len(names))
    started = time.perf_counter()
    weights = _fitted(packed, rows, plan, recipe.blocks, teachers)
    found = _features(packed, weights, packed.images)
    _refit_heads(packed, rows, weights, found)
    seconds = (time.perf_counter() - started) / len(rows)
    scores = _scores(weights, found)
    external = _scores(weights, _features(packed, weights, packed.external))
    leaves = [np.asarray(leaf, np.float16) for leaf in jax.tree.leaves(weights)]
    taught = {each.teachers for each in RECIPES.values()}
    for number, name in enumerate(names):
        own = slice(number * len(plan.trainings), (number + 1) * len(plan.trainings))
        arrays = {"scores": scores[own], "external": external[own], "seconds": np.array(seconds)}
        if name in taught:
            arrays |= {f"weights_{n}": leaf[own] for n, leaf in enumerate(leaves)}
        file = record_of(folder, plan, name)
        file.parent.mkdir(exist_ok=True)
        beside = file.with_name(f".{file.name}")
        with open(beside, "wb") as opened:
            np.savez(opened, allow_pickle=False, **arrays)
        beside.replace(file)


def _teachers(folder: Path, plan: Plan, recipe: Recipe, recipes: int) -> list[Weights]:
    """Returns one teacher of each training for each seed; none where the recipe has none."""
    if not recipe.teachers:
        return []
    with np.load(record_of(folder, plan, recipe.teachers), allow_pickle=False) as saved:
        count = sum(name.startswith("weights_") for name in saved)
        leaves = [saved[f"weights_{n}"].astype(np.float32) for n in range(count)]
    shape = jax.tree.structure(_named(RECIPES[recipe.teachers].blocks))
    folds = [place for place, _ in enumerate(plan.folds) for _ in range(plan.seeds)] * recipes
    return [
        jax.tree.unflatten(
            shape, [jnp.asarray(leaf[np.array(folds) * plan.seeds + seed]) for leaf in leaves]
        )
        for seed in range(plan.seeds)
    ]


def _named(blocks: Sequence[int]) -> Weights:
    """Returns the names of a network's weights, in place of which are zeros."""
    names = ("expand", "expand_bias", "within", "within_bias", "project", "project_bias")
    found: Weights = {"stem": {"kernel": 0, "bias": 0}, "answer": {"kernel": 0, "bias": 0}}
    for number in blocks:
        found[f"block_{number}"] = dict.fromkeys(names if number else names[2:], 0)
    return found


def _fitted(
    packed: Packed,
    rows: Sequence[tuple[str, int, int]],
    plan: Plan,
    blocks: Sequence[int],
    teachers: Sequence[Weights],
) -> Weights:
    """Trains models and returns the mean of the last epochs' weights."""
    parts = [packed.folds[fold]["train"] for _, fold, _ in rows]
    # Of one length, since they are one program: the largest folds leave some out in every epoch.
    steps = min(map(len, parts)) // BATCH
    steps = min(steps, plan.steps) if plan.steps else steps
    knobs = {
        name: jnp.array([RECIPES[row[0]].knobs.get(name, usual) for row in rows], jnp.float32)
        for name, usual in KNOBS.items()
    }
    counts = np.stack([_counts(packed, part) for part in parts])
    one = initial(packed.weights, blocks)
    weights = jax.tree.map(lambda a: jnp.array(np.broadcast_to(a, (len(rows), *a.shape))), one)
    weights["answer"]["kernel"] = jnp.array(
        [
            np.random.default_rng([seed, fold]).normal(0, 0.001, one["answer"]["kernel"].shape)
            for _, fold, seed in rows
        ],
        jnp.float32,
    )
    zeros = jax.tree.map(jnp.zeros_like, weights)
    state = (weights, zeros, zeros, jnp.float32(0), jax.random.key(7, impl="rbg"))
    fixed = {
        "images": jnp.asarray(packed.images),
        "labels": jnp.asarray(packed.labels, jnp.float32),
        "counts": jnp.asarray(counts),
        "knobs": knobs,
        "teachers": list(teachers),
    }
    strides = tuple(packed.strides.tolist())
    mean, averaged = weights, 0
    for epoch in range(plan.epochs):
        started = time.perf_counter()
        order = [
            np.random.default_rng([seed, epoch]).permutation(part)[: steps * BATCH]
            for (_, _, seed), part in zip(rows, parts, strict=True)
        ]
        drawn = np.array(order).reshape(len(rows), steps, BATCH).transpose(1, 0, 2)
        state, loss = _epoch(state, jnp.asarray(drawn, jnp.int32), fixed, strides, plan.bfloat16)
        if epoch >= plan.epochs // 2:
            averaged += 1
            mean = _moved(mean, state[0], 1 / averaged)
        seconds = time.perf_counter() - started
        print(
            f"epoch {epoch + 1:>2}/{plan.epochs}  loss {float(loss):.4f}  {seconds:.1f} s",
            flush=True,
        )
    share = knobs["imagenet"]
    return {
        name: block
        if name == "answer"
        else jax.tree.map(lambda w, first: w + _along(share, w) * (first - w), block, one[name])
        for name, block in mean.items()
    }


@partial(jax.jit, static_argnames=("strides", "bfloat16"))
def _epoch(
    state: tuple, order: jax.Array, fixed: Mapping[str, Any], strides: tuple, bfloat16: bool
) -> tuple[tuple, jax.Array]:
    """Makes a step for each batch of `order`, int32 [steps, models, batch]."""
    knobs = fixed["knobs"]
    dtype = jnp.bfloat16 if bfloat16 else jnp.float32
    look = partial(features, strides=dict(enumerate(strides)), dtype=dtype)

    def step(state: tuple, rows: jax.Array) -> tuple[tuple, jax.Array]:
        weights, mean, square, count, key = state
        key, varying, dropping, mixing = jax.random.split(key, 4)
        images = augment(varying, fixed["images"], rows, knobs)
        smooth = knobs["label_smoothing"][:, None]
        wanted = fixed["labels"][rows] * (1 - smooth) + smooth / 2
        if fixed["teachers"]:
            answers = [logits(each, look(each, images)) for each in fixed["teachers"]]
            taught = knobs["taught"][:, None]
            wanted = (1 - taught) * wanted + taught * jax.nn.sigmoid(sum(answers) / len(answers))
        counts = jnp.take_along_axis(fixed["counts"], rows, axis=1)

        def loss(weights: Weights) -> jax.Array:
            found = look(weights, images, mixing=(mixing, knobs["mixed_statistics"]))
            keep = 1 - knobs["dropout"][:, None, None]
            kept = jax.random.bernoulli(dropping, keep, found.shape)
            answer = logits(weights, jnp.where(kept, found / keep, 0))
            each = jnp.maximum(answer, 0) - answer * wanted + jnp.log1p(jnp.exp(-abs(answer)))
            return (each * counts).mean(axis=1).sum()  # models do not touch each other

        total, gradients = jax.value_and_grad(loss)(weights)
        lengths = jnp.sqrt(
            sum((g.reshape(len(g), -1) ** 2).sum(axis=1) for g in jax.tree.leaves(gradients))
        )
        shorter = jnp.minimum(1, 1 / (lengths + 1e-9))
        gradients = jax.tree.map(lambda g: g * _along(shorter, g), gradients)
        count = count + 1
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradients)
        square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, square, gradients)

        def update(path: tuple, w: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
            decay = 0.0 if path[-1].key.endswith("bias") else _along(knobs["weight_decay"], w)
            change = (m / (1 - 0.9**count)) / (jnp.sqrt(v / (1 - 0.999**count)) + 1e-7)
            return w - _along(knobs["learning_rate"], w) * (change + decay * w)

        weights = jax.tree_util.tree_map_with_path(update, weights, mean, square)
        return (weights, mean, square, count, key), total / len(rows)

    state, losses = jax.lax.scan(step, state, order)
    return state, losses.mean()


def _moved(mean: Weights, new: Weights, share: float) -> Weights:
    return jax.tree.map(lambda a, b: a + (b - a) * share, mean, new)


def _along(values: jax.Array, like: jax.Array) -> jax.Array:
    """Spreads a number of each model over its weights."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def _counts(packed: Packed, part: np.ndarray) -> np.ndarray:
    """Returns what each image counts for in training, float32 [n]; 0 outside of the part."""
    sizes = np.bincount(packed.groups[part], minlength=packed.groups.max() + 1)
    counts = np.zeros(len(packed.labels), np.float32)
    counts[part] = 1 / np.sqrt(sizes[packed.groups[part]])
    counts[part] /= counts[part].mean()
    return counts


def _features(packed: Packed, weights: Weights, images: np.ndarray) -> np.ndarray:
    """Returns what the last layer sees of all images, float32 [models, n, features]."""
    models = len(weights["answer"]["bias"])
    strides = dict(enumerate(packed.strides.tolist()))

    @jax.jit
    def compute(weights: Weights, batch: jax.Array) -> jax.Array:
        spread = jnp.broadcast_to(batch, (models, *batch.shape)).astype(jnp.float32)
        return features(weights, spread, strides)

    found = np.zeros((models, len(images), weights["answer"]["kernel"].shape[1]), np.float32)
    for start in range(0, len(images), _ASKED):
        batch = images[start : start + _ASKED]
        padded = np.zeros((_ASKED, *images.shape[1:]), np.uint8)
        padded[: len(batch)] = batch
        found[:, start : start + len(batch)] = compute(weights, padded)[:, : len(batch)]
    return found


def _refit_heads(
    packed: Packed, rows: Sequence[tuple[str, int, int]], weights: Weights, found: np.ndarray
) -> None:
    """Fits the last layers again, in place, of the recipes that want it."""
    answer = {name: np.array(values) for name, values in weights["answer"].items()}
    for model, (name, fold, _) in enumerate(rows):
        if RECIPES[name].refit_head:
            part = packed.folds[fold]["train"]
            of_part = found[model, part].astype(np.float64)
            kernel, bias = penalized_fit(
                of_part,
                packed.labels[part],
                _counts(packed, part)[part],
                answer["kernel"][model, :, 0],
            )
            answer["kernel"][model, :, 0], answer["bias"][model] = kernel, bias
    weights["answer"] = {name: jnp.asarray(values) for name, values in answer.items()}


def _scores(weights: Weights, found: np.ndarray) -> np.ndarray:
    """Returns P(Brain Tumor), float32 [models, n]."""
    return np.asarray(jax.nn.sigmoid(-logits(weights, jnp.asarray(found))))
