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

MEASUREMENTS = ["ph", "Hardness", "Solids", "Chloramines", "Sulfate", "Conductivity"]
MEASUREMENTS += ["Organic_carbon", "Trihalomethanes", "Turbidity"]


def pandas_pyfunc(store: str, model: str, source: str, target: str) -> None:
    """The script that most people write."""
    import mlflow.pyfunc
    import pandas as pd

    mlflow.set_tracking_uri(store)
    loaded = mlflow.pyfunc.load_model(model)
    frame = pd.read_csv(source)
    result = loaded.predict(frame[MEASUREMENTS].astype(float))
    frame.join(result).to_csv(target, index=False)


def predict_proba(store: str, model: str, source: str) -> None:
    """The model's own arithmetic on a frame in memory; prints its CPU seconds alone."""
    import pandas as pd
    from threadpoolctl import threadpool_limits

    estimator = fetch_estimator(store, model)
    X = pd.read_csv(source, usecols=MEASUREMENTS)[MEASUREMENTS].astype(float)
    with threadpool_limits(limits=1):
        start = time.process_time()
        for first in range(0, len(X), 50_000):
            estimator.predict_proba(X.iloc[first : first + 50_000])
        print(time.process_time() - start)


def fetch_estimator(store: str, model: str):
    """The fitted pipeline of a version, as scikit-learn knows it."""
    from waterflow_cli.models.discovery import load_plugin
    from waterflow_cli.models.files import estimator_of, load_estimator
    from waterflow_cli.registry.location import fetch_model

    fetched = fetch_model(model, name="waterflow", tracking_uri=store)
    data = estimator_of(fetched.files, label=fetched.label)
    return load_estimator(data, load_plugin(fetched.load().plugin), MEASUREMENTS)


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
