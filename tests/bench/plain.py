"""The functions of ``train_delay_model`` one after the other: what Airflow is measured by."""

import json
import sys
import time
from dataclasses import asdict


def main() -> None:
    """Run the whole pipeline in this process and print its stages with their seconds."""
    begin = time.perf_counter()
    seconds: dict[str, float] = {}

    def lap(stage: str) -> None:
        seconds[stage] = round(time.perf_counter() - begin - sum(seconds.values()), 2)

    run = sys.argv[1]
    from flightdelays import availability

    window = availability.check()
    lap("check_availability")
    from flightdelays import dataset, training_set

    source = dataset.save(training_set.build(window), run)
    lap("build_training_set")
    from flightdelays import quality

    page = quality.require(dataset.load(source)).page
    lap("quality_gate")
    from flightdelays.train import train

    candidate = train(source, window, "hist_gradient", run)
    lap("train")
    from flightdelays import assessment

    evaluated = assessment.evaluate(source, window, candidate, run)
    lap("evaluate")
    from flightdelays import registry, runs
    from flightdelays.gate import gate
    from flightdelays.report import write

    deployed = None
    if gate(evaluated["metrics"], evaluated["champion"]).deploy:
        version, aliases = registry.deploy(
            candidate["run_id"], candidate["address"], dataset.load(source).tail(5)
        )
        deployed = {"version": version, "aliases": aliases}
    lap("deploy")
    write(window, candidate, evaluated, deployed, page, run)
    runs.clean_up(run)
    lap("report")
    total = round(time.perf_counter() - begin, 2)
    print(json.dumps({"window": asdict(window), "stages": seconds, "total": total}))


if __name__ == "__main__":
    main()
