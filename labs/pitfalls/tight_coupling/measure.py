"""What the consumer says after the source has changed, and who starts it."""

from laboratory import Figures, Laboratory


def measure(lab: Laboratory, variant: str) -> Figures:
    """January; then February, with the file moved; then March, with a key renamed."""
    consumer = f"pitfall_tight_coupling_{variant}"
    source = f"{consumer}_source"
    lab.unpause(consumer)
    lab.succeed(source, month="2013-01", change="none")
    # The clock of SQLite counts whole seconds: what is due in this one starts in the next.
    lab.scheduler(loops=3, pause=1)
    started = lab.count_runs(consumer, run_type="asset_triggered")
    lab.succeed(source, month="2013-02", change="moved")
    moved = lab.xcom(lab.succeed(consumer), "report")
    broken = lab.run(source, month="2013-03", change="renamed")
    after = lab.run(consumer)
    return {
        "runs of the consumer started by the data": started,
        "month reported when February's file has moved": moved["month"],
        "source after a key is renamed": broken.state,
        "consumer after a key is renamed": after.state,
    }
