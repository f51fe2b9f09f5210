"""The model that answers requests, and the next one, loaded behind its back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from threading import Event, Thread

import numpy as np

from waterflow_cli.common.credentials import redact
from waterflow_cli.common.errors import WaterflowError
from waterflow_cli.common.messages import tr
from waterflow_cli.models.files import StoredModel
from waterflow_cli.registry.location import load_model, locate_model
from waterflow_cli.scoring.scorer import Scorer
from waterflow_cli.serving.samples import SampleLayout
from waterflow_cli.tables.reading_options import AS_FOUND, ReadingOptions
from waterflow_cli.tables.table import Table

# More than pays for the packing of any ensemble of trees.
_MANY_ROWS = 1_000_000_000
_MOST_LAYOUTS = 64


class ServedModel:
    """A loaded model, and what is known of the samples that it is sent.

    A PluginError says that it cannot score a sample.
    """

    def __init__(self, model: StoredModel, reading: ReadingOptions = AS_FOUND) -> None:
        self.model = model
        self.loaded = datetime.now(UTC)
        # What cells mean. Decimal mark and units are a matter of files; JSON has its own.
        self._reading = ReadingOptions(
            nondetect=reading.nondetect, loq=reading.loq, na=reading.na, flags=reading.flags
        )
        self.layout_of = lru_cache(_MOST_LAYOUTS)(self._layout_of)
        self._warm_up()

    @property
    def label(self) -> str:
        """Name and version, as in each row of an answer."""
        return self.model.label

    def _layout_of(self, names: frozenset[str]) -> tuple[SampleLayout, Scorer | None]:
        """Give the layout of samples with such fields, and the scorer for it.

        It is kept for the next samples like them. There is none where the schema compares rows
        with earlier ones: those of other requests are no earlier rows.
        """
        layout = SampleLayout(self.model.schema, names)
        scorer = None if self.model.schema.has_unique else self.new_scorer(layout.table([]))
        return layout, scorer

    def new_scorer(self, table: Table) -> Scorer:
        """Make a scorer for samples in JSON."""
        return Scorer.of_table(self.model, table, self._reading)

    def _warm_up(self) -> None:
        """Score a sample: it is then seen to work, and the first request is no slower."""
        decision = self.model.decision
        decision.scores.expect(_MANY_ROWS)
        typical = decision.typical or [0.0] * len(decision.measurements)
        self.model.probability(np.array([typical], dtype=np.float64))


class ModelWatch:
    """Keeps the model that an alias names.

    Attributes
    ----------
    current : ServedModel
        Replaced in one step; a request keeps the one that it began with.

    Parameters
    ----------
    report : callable
        Is told, in a line, of each new model and of what failed.

    Raises
    ------
    WaterflowError
        If there is no such model, or it cannot be used.
    """

    def __init__(
        self,
        reference: str,
        *,
        name: str,
        tracking_uri: str,
        reading: ReadingOptions = AS_FOUND,
        report: Callable[[str], None],
    ) -> None:
        self._where = {"name": name, "tracking_uri": tracking_uri}
        self._reference, self._reading, self._report = reference, reading, report
        self._stopped = Event()
        self._failure: str | None = None
        self.current = self._load()

    @property
    def is_failing(self) -> bool:
        """Whether a newer model could not be loaded, or the store not be asked."""
        return self._failure is not None

    def start(self, every_s: float) -> None:
        """Look at the store from time to time, in a thread; 0 for never."""
        if every_s > 0:
            Thread(target=self._watch, args=(every_s,), daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def look(self) -> None:
        """Load the model that the reference names now, if it is another one."""
        try:
            located = locate_model(self._reference, **self._where)
            shown = self.current.model
            known = shown.label, shown.digest
            if located is not None and (located.label, located.digest) != known:
                self.current = self._load()
                model, former = self.current.label, shown.label
                self._report(
                    tr("Now serving {model} instead of {former}.", model=model, former=former)
                )
            self._failure = None
        except Exception as exc:  # noqa: BLE001 (the wall: what answers requests goes on)
            self._note_failure(exc)

    def _load(self) -> ServedModel:
        return ServedModel(load_model(self._reference, **self._where), self._reading)

    def _watch(self, every_s: float) -> None:
        while not self._stopped.wait(every_s):
            self.look()

    def _note_failure(self, exc: Exception) -> None:
        """Say what failed, once."""
        known = isinstance(exc, WaterflowError)
        cause = str(exc) if known else f"{type(exc).__name__}: {' '.join(str(exc).split())[:300]}"
        if cause != self._failure:
            shown = redact(cause, self._where["tracking_uri"])
            self._report(
                tr("Still serving {model}: {cause}", model=self.current.label, cause=shown)
            )
        self._failure = cause
