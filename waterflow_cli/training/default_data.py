"""What is trained on where no file is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from waterflow_cli.common.messages import Message
from waterflow_cli.samples.simulation import write_simulation

USUAL_FILE = "water_potability.csv"
SAMPLE_ROWS = 3000


@contextmanager
def find_training_data(
    path: str | None, report: Callable[[str], None], warn: Callable[[str], None]
) -> Iterator[str]:
    """Choose what to train on, and say which.

    Parameters
    ----------
    path : str or None
        What the user named; else the public table by its usual name in the working folder, else
        a simulated sample.
    report, warn : callable
        Told which; a simulated sample is worth a warning.
    """
    if path is not None:
        yield path
    elif Path(USUAL_FILE).is_file():
        report(Message("Training on {usual_file} in the working folder.", usual_file=USUAL_FILE))
        yield USUAL_FILE
    else:
        with simulated_sample() as sample:
            warn(
                Message(
                    "No DATA named and no {usual_file} here: training on {sample_rows} "
                    "simulated samples. The model is good for trying waterflow, and for "
                    "nothing else.",
                    usual_file=USUAL_FILE,
                    sample_rows=SAMPLE_ROWS,
                )
            )
            yield sample


@contextmanager
def simulated_sample() -> Iterator[str]:
    """Make the simulated sample, each time the same, for as long as it is needed."""
    with TemporaryDirectory(prefix="waterflow-") as folder:
        sample = str(Path(folder) / "simulated_sample.csv")
        write_simulation(sample, SAMPLE_ROWS)
        yield sample
