"""What a user would otherwise run, and the floor below which no tool can come.

python rivals.py pandas-pyfunc STORE MODEL IN.csv OUT.csv
python rivals.py predict-proba STORE MODEL IN.csv
python rivals.py read-text IN.csv
python rivals.py read-typed IN.csv
python rivals.py write-text IN.csv OUT.csv
python rivals.py imports
python rivals.py pandera-validate SCHEMA.yaml IN.csv
"""

from __future__ import annotations

import sys
import time
from pathlib import Path


def pandas_pyfunc(store: str, model: str, source: str, target: str) -> None:
    """The script that most people write."""
    import mlflow.pyfunc
    import pandas as pd

    mlflow.set_tracking_uri(store)
    loaded = mlflow.pyfunc.load_model(model)
    frame = pd.read_csv(source)
    columns = loaded.metadata.signature.inputs.input_names()
    result = loaded.predict(frame[columns].astype(float))
    frame.join(result).to_csv(target, index=False)


def predict_proba(store: str, model: str, source: str) -> None:
    """The model's own arithmetic on a frame in memory; prints its CPU seconds alone."""
    import pandas as pd
    from threadpoolctl import threadpool_limits

    from waterflow_cli.registry.location import load_model

    loaded = load_model(model, name="waterflow", tracking_uri=store)
    frame = pd.read_csv(source, usecols=list(loaded.decision.measurements))
    X = frame[list(loaded.decision.measurements)].astype(float)
    with threadpool_limits(limits=1):
        start = time.process_time()
        for first in range(0, len(X), 50_000):
            loaded.decision.estimator.predict_proba(X.iloc[first : first + 50_000])
        print(time.process_time() - start)


def _read_text(source: str, block_bytes: int = 4 << 20):
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    with Path(source).open("rb") as file:
        names = file.readline().decode().rstrip("\n").split(",")
    return pa_csv.open_csv(
        source,
        read_options=pa_csv.ReadOptions(block_size=block_bytes, use_threads=False),
        convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )


def read_text(source: str) -> None:
    """Arrow reads every column as text, in a stream."""
    for _ in _read_text(source):
        pass


def read_typed(source: str) -> None:
    """Arrow reads the file as it does by default."""
    import pyarrow.csv as pa_csv

    pa_csv.read_csv(source)


def write_text(source: str, target: str) -> None:
    """Arrow reads and writes the columns of a finished output, in a stream."""
    import pyarrow.csv as pa_csv

    reader = _read_text(source)
    options = pa_csv.WriteOptions(quoting_style="none")
    with pa_csv.CSVWriter(target, reader.schema, write_options=options) as writer:
        for batch in reader:
            writer.write_batch(batch)


def imports() -> None:
    """What any script that scores a file with such a model must import."""
    import mlflow.pyfunc  # noqa: F401
    import pyarrow.csv  # noqa: F401
    import sklearn.ensemble  # noqa: F401


def pandera_validate(schema: str, source: str) -> None:
    """Check with pandera itself, all findings collected."""
    import pandas as pd
    from pandera.errors import SchemaErrors
    from pandera.pandas import DataFrameSchema

    frame = pd.read_csv(source)
    try:
        DataFrameSchema.from_yaml(schema).validate(frame, lazy=True)
        print(0)
    except SchemaErrors as exc:
        print(len(exc.failure_cases))


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    {
        "pandas-pyfunc": pandas_pyfunc,
        "predict-proba": predict_proba,
        "read-text": read_text,
        "read-typed": read_typed,
        "write-text": write_text,
        "imports": imports,
        "pandera-validate": pandera_validate,
    }[name](*arguments)
