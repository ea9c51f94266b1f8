"""How Airflow would do beyond the machine that it was measured on: a simulation, and its error.

A model in SimPy of what a task passes: scheduler, slot, worker, API server, database. What each
of them costs comes from the measurements of ``tests/bench/results.json``; a few of its points
fit the model, all others tell how wrong it is.

What the model takes from Airflow 3.3.2 (``scheduler_job_runner.py``):

- A scheduler is one process that does one thing at a time: it settles what the executor has
  finished, then queues at most 16 tasks (``max_tis_per_query``), no more than slots are free.
- Queuing is a critical section: it locks the rows of the pools with NOWAIT, so that only one
  scheduler at a time is in it, and the others go on with the rest of their loop.
- A slot is free again only when a scheduler has seen that its task has ended.
- A task is processes: they need CPU to start, call the API server as they begin and as they end,
  and send a heartbeat every few seconds in between. Only scheduler and API server ask the database.
- On the measured machine all of that shares the same cores. Beyond it each has cores of its own.

What it assumes, as no measurement here says it:

- The share of the critical section in the scheduler's work (`costs.CRITICAL_SHARE`), unless
  ``results.json`` has the figure ``scheduler_critical_share``. Half of the database's work is the
  scheduler's, half the API server's.
- Workers share tasks out evenly: they are one pool of cores and slots. Their CPUs are like the
  measured one. The slots of all schedulers are one number.
- What a task costs does not grow with the number of DAGs, tasks or connections.
- The waits that need no CPU (polls, the idle sleep of the loop) are one constant for each task.
- Dag-processor and triggerer have a machine of their own.

What it does not know: the network, locks and connections in PostgreSQL at hundreds of clients,
disks, autovacuum, the broker, memory, failures and retries, pods that must be started, the order
of tasks in a DAG (a task arrives when it could run), and priorities.
"""
