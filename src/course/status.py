"""What ``make status`` shows."""

from datetime import timedelta

from rich.table import Table

from course import postgres
from course.config import Config
from course.console import console, show_addresses
from course.health import Health
from course.processes import component_of, find, memory
from course.stack import is_running
from course.state import load_state


def overview(config: Config) -> bool:
    """Print the state of every component; return whether all are healthy."""
    state = load_state(config)
    if state is None or not is_running(config):
        console.print("The stack is not running. Start it with: make start")
        return False
    health = Health(state)
    wrong = health.check()
    processes = find(state.id, database=postgres.data_folder(config))
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for title in ("component", "health", "up for", "memory"):
        table.add_column(title, justify="right" if title == "memory" else "left")
    for status in health.statuses():
        own = [process for process in processes if component_of(process) == status.name]
        problem = wrong[status.name]
        table.add_row(
            status.name,
            f"[red]✗ {problem}[/]" if problem else "[green]✓ healthy[/]",
            str(timedelta(seconds=max(0, status.now - status.start))) if status.running else "-",
            f"{memory(own) / 2**20:.0f} MB",
        )
    table.add_row("all", "", "", f"{memory(processes) / 2**20:.0f} MB")
    console.print(table)
    show_addresses(state)
    return not any(wrong.values())
