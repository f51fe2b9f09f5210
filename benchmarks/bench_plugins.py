"""How well plugins rank the rows of a table: ROC AUC on the same folds, for several seeds.

    python benchmarks/bench_plugins.py --data FILE --plugin blend --plugin gp --seeds 1 2 3 4 5

Folds are those of ``waterflow train --cv 5x2 --seed N``; nothing is tuned or calibrated, for
neither changes an order of rows. The standard error is of the mean over seeds, on one table.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sklearn.metrics import roc_auc_score

from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.data import TrainingData, load_training_data
from waterflow_cli.training.designs import score_tested
from waterflow_cli.training.learners import make_learner, single_threaded_fits
from waterflow_cli.training.options import CrossValidation, TrainingOptions
from waterflow_cli.training.trainer import make_design


def fold_aucs(data: TrainingData, plugin: str, options: TrainingOptions) -> list[float]:
    """Give the ROC AUC of each tested fold of each repeat."""
    design = make_design(data, options)
    learner = make_learner(load_plugin(plugin), data, options)
    found = []
    for block in design.repeats:
        with single_threaded_fits():
            scores = score_tested(replace(design, repeats=[block]), learner, jobs=options.jobs)
        tested = [block == k for k in design.tested]
        found += [roc_auc_score(data.y[rows], scores[rows]) for rows in tested]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of the plugins asked for, and of their differences from the first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--plugin", action="append", required=True)
    parser.add_argument("--balance", default="smote")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args(arguments)
    data = load_training_data(args.data, load_schema())
    aucs = {name: np.empty((len(args.seeds), 10)) for name in args.plugin}
    for place, seed in enumerate(args.seeds):
        options = TrainingOptions(
            balance=args.balance, cv=CrossValidation(5, 2), seed=seed, jobs=args.jobs
        )
        for name in args.plugin:
            aucs[name][place] = fold_aucs(data, name, options)
            print(f"seed {seed}, {name}: {aucs[name][place].mean():.4f}", flush=True)
    print("| plugin | mean | standard error | least and most | folds better than the first |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, found in aucs.items():
        means = found.mean(axis=1)
        error = means.std(ddof=1) / np.sqrt(len(means)) if len(means) > 1 else float("nan")
        better = int((found > aucs[args.plugin[0]]).sum())
        print(
            f"| {name} | {means.mean():.4f} | {error:.4f} | {means.min():.4f} to {means.max():.4f} "
            f"| {better} of {found.size} |"
        )


if __name__ == "__main__":
    main()
