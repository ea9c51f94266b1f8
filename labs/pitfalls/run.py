"""Run the DAGs of pitfalls, first the damage and then the mended one, and write the figures.

Called by `course.pitfalls` in an environment of its own: `run.py RESULT ALERTS NAME…`.
"""

import importlib.util
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from laboratory import Laboratory

FOLDER = Path(__file__).parent


def main(result: str, alerts: str, names: list[str]) -> None:
    """Append a line of JSON to the file ``result`` for each pitfall and variant, once measured."""
    with closing(Laboratory(Path(alerts))) as lab, Path(result).open("a", buffering=1) as file:
        for name in names:
            for variant in ("damage", "mended"):
                figures = _measure_of(name)(lab, variant)
                line = {"name": name, "variant": variant, "figures": figures}
                file.write(json.dumps(line) + "\n")


def _measure_of(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"measure_{name}", FOLDER / name / "measure.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.measure


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
