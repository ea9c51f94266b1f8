"""The candidate of the tournament whose library is not in the lock.

``fit`` runs in a virtual environment that has ``REQUIREMENTS`` and nothing of the course:
Airflow copies its source there, so it imports all it needs and sees nothing but its arguments.
"""

from typing import Any

# perpetual imports scikit-learn without asking for it.
REQUIREMENTS = ["perpetual==2.3.0", "scikit-learn==1.9.1", "numpy==2.4.6", "pyarrow==25.0.1"]


def fit(source: str, window: dict[str, str], assignment: dict[str, Any]) -> dict[str, Any]:
    """Fit a PerpetualBooster on the training rows and leave its probabilities for all rows.

    ``source`` is the path of the training set; ``assignment`` is what ``tournament.assignment``
    returned. Writes one column ``probability`` to its ``predictions``, whole or not at all, and
    returns ``model``, ``predictions`` and the ``seconds`` of the fit.
    """
    import time

    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    from perpetual.sklearn import PerpetualClassifier
    from pyarrow import fs

    def opened(address: str) -> tuple[Any, str]:
        here = "://" not in address
        return (fs.LocalFileSystem(), address) if here else fs.FileSystem.from_uri(address)

    store, path = opened(source)
    rows = pq.read_table(path, filesystem=store)
    training = pc.less_equal(rows["month"], window["train_to"])
    columns = []
    for name in rows.column_names:
        if name not in assignment["not_features"]:
            column = rows[name]
            if not pa.types.is_floating(column.type):
                # A number for each category; one that training never saw becomes a gap.
                known = pc.unique(column.filter(training))
                column = pc.index_in(column, known.take(pc.array_sort_indices(known)))
            columns.append(column.cast(pa.float64()).to_numpy())
    features, seen = np.column_stack(columns), training.to_numpy()
    labels = rows[assignment["label"]].to_numpy().astype(float)
    model = PerpetualClassifier(
        # A larger budget takes smaller steps; without a limit it learns the rows by heart.
        budget=1.0,
        iteration_limit=40,
        num_threads=assignment["threads"],
        seed=assignment["seed"],
    )
    begin = time.perf_counter()
    model.fit(features[seen], labels[seen])
    seconds = round(time.perf_counter() - begin, 2)
    answers = pa.table({"probability": model.predict_proba(features)[:, 1]})
    store, path = opened(assignment["predictions"])
    store.create_dir(path.rpartition("/")[0], recursive=True)
    pq.write_table(answers, path + ".part", filesystem=store)
    store.move(path + ".part", path)
    return {
        "model": assignment["model"],
        "predictions": assignment["predictions"],
        "seconds": seconds,
    }
