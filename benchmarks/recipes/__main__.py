"""Which recipe makes a model that holds on images it has not seen, by many trainings on a GPU.

    python -m benchmarks.recipes pack --source ZIP --external ZIP --folder runs/recipes
    python -m benchmarks.recipes train --folder runs/recipes --seeds 2 --minutes 8
    python -m benchmarks.recipes judge --folder runs/recipes --seeds 2

`pack` writes one file; `train` needs that file, JAX, NumPy, Pillow and scikit-learn, and goes on
where a killed run was; `judge` prints the table. docs/experiments.md says how to run `train`
elsewhere.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.recipes.recipes import RECIPES
from pipelines.ending import ended


def _folds(text: str) -> tuple[int, ...]:
    """Reads which folds are meant: 1,4."""
    numbers = tuple(int(number) for number in text.split(","))
    if not set(numbers) <= set(range(1, 6)):
        raise argparse.ArgumentTypeError(f"{text}: there are folds 1 to 5")
    return numbers


def _recipes(text: str) -> list[str]:
    """Reads which recipes are meant: the default; blur."""
    names = [name.strip() for name in text.split(";")]
    if unknown := set(names) - set(RECIPES):
        raise argparse.ArgumentTypeError(f"{min(unknown)}: there are {'; '.join(RECIPES)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    pack = commands.add_parser("pack", help="write images, folds and ImageNet's weights to a file")
    pack.add_argument("--source", default="sample://?images=400", help="as for brain-tumor run")
    pack.add_argument("--external", default="", help="source with a labels.csv, which judges")
    pack.add_argument("--validation-share", type=float, default=0.15, help="of the rest (0.15)")
    pack.add_argument("--seed", type=int, default=0, help="of the folds")
    train = commands.add_parser("train", help="train what is not trained yet")
    judge = commands.add_parser("judge", help="print a row for each recipe that is trained")
    for command in (pack, train, judge):
        command.add_argument("--folder", type=Path, default=Path("runs/recipes"))
    for command in (train, judge):
        command.add_argument("--recipes", type=_recipes, default=list(RECIPES), help="A; B")
        command.add_argument("--folds", type=_folds, default=(1, 2, 3, 4, 5), help="1,4")
        command.add_argument("--seeds", type=int, default=2, help="trainings of each fold (2)")
        command.add_argument("--epochs", type=int, default=16, help="of each training (16)")
        command.add_argument("--steps", type=int, default=0, help="most batches an epoch; 0: all")
        command.add_argument("--bfloat16", action="store_true", help="of the activations")
    train.add_argument("--at-once", type=int, default=60, help="most models in one program (60)")
    train.add_argument("--minutes", type=float, default=0, help="begin nothing that ends later")
    return parser


def main() -> None:
    """Runs one of the three commands."""
    options = _parser().parse_args()
    if options.command == "pack":
        from benchmarks.recipes.pack import pack

        file = pack(
            options.source,
            options.external,
            options.validation_share,
            options.seed,
            options.folder,
        )
        print(f"{file}: {file.stat().st_size / 2**20:.1f} MiB")
        return
    from benchmarks.recipes.plan import Plan

    plan = Plan(
        tuple(fold - 1 for fold in options.folds),
        options.seeds,
        options.epochs,
        options.steps,
        options.bfloat16,
    )
    if options.command == "train":
        from benchmarks.recipes.train import train_all

        train_all(options.folder, options.recipes, plan, options.at_once, options.minutes)
        return
    from benchmarks.recipes.table import judge

    judge(options.folder, options.recipes, plan)


if __name__ == "__main__":
    sys.exit(ended(main))
