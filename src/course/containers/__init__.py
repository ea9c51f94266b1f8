"""The stack in containers: what ``make up`` and its relatives do."""

MOST_WORKERS = 32
