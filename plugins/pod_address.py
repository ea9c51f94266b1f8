"""Under which address a part of Airflow is known to the others: `[core] hostname_callable`."""

import os
import socket


def address() -> str:
    """The pod's own address, which Kubernetes gives as POD_IP; elsewhere the machine's name.

    A pod of a Deployment has no name in DNS, and looking its address up backwards may give one that
    was another pod's.
    """
    return os.environ.get("POD_IP") or socket.gethostname()
