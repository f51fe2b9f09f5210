"""A verified model on its way to the executors."""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from waterflow_cli.models.files import StoredModel, verify_folder
from waterflow_cli.registry.location import FetchedModel

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class ShippedModel:
    """A model that Spark fetches to each executor, once.

    Attributes
    ----------
    file : str
        As Spark knows it.
    label : str
        What a scored row says judged it.
    digest : str
        The sha256 of its manifest.
    """

    file: str
    label: str
    digest: str

    def load(self) -> StoredModel:
        """Verify each file again, and load it; a process does so once.

        Raises
        ------
        ModelError
            If a file is not what the tracking store says, or cannot be loaded.
        """
        key = self.label, self.digest
        if key not in _LOADED:
            _LOADED[key] = _load(self)
        return _LOADED[key]


# By label and digest, in this process.
_LOADED: dict[tuple[str, str], StoredModel] = {}


def ship_model(spark: SparkSession, fetched: FetchedModel, model: StoredModel) -> ShippedModel:
    """Put a model's files where the executors fetch them.

    Parameters
    ----------
    fetched : FetchedModel
        Verified.
    model : StoredModel
        The same, as this process loaded it.
    """
    from pyspark import SparkFiles

    # An executor that starts later fetches the files of earlier jobs too: this folder stays as
    # long as the session. And a session takes a name only once.
    scratch = Path(tempfile.mkdtemp(prefix="waterflow-", dir=SparkFiles.getRootDirectory()))
    archive = scratch / f"{scratch.name}.zip"
    # Not strict: files of a reproducible build are older than a zip file can say.
    with zipfile.ZipFile(
        archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1, strict_timestamps=False
    ) as packed:
        for path in sorted(fetched.folder.rglob("*")):
            packed.write(path, path.relative_to(fetched.folder))
    spark.sparkContext.addFile(str(archive))
    shipped = ShippedModel(archive.name, fetched.label, fetched.digest)
    _LOADED[shipped.label, shipped.digest] = model
    return shipped


def _load(shipped: ShippedModel) -> StoredModel:
    from pyspark import SparkFiles

    with tempfile.TemporaryDirectory(prefix="waterflow-") as scratch:
        with zipfile.ZipFile(SparkFiles.get(shipped.file)) as packed:
            packed.extractall(scratch)
        folder = Path(scratch)
        verify_folder(folder, label=shipped.label, digest=shipped.digest)
        return FetchedModel(folder, shipped.label, shipped.digest).load()
