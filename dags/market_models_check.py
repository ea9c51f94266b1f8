"""No DAG: an import error while an entry of the list of markets is wrong.

`market_models` makes DAGs of the good entries and passes over the bad ones, so that a mistake
in one line stops no other market. This file makes the mistake visible where Airflow shows what
it cannot import (in the UI, `airflow dags list-import-errors`, `make doctor`): one message with
every bad entry, its line, what is wrong and what to do.
"""

from flightdelays import markets
from flightdelays.settings import get_settings

markets.require(get_settings().markets)
