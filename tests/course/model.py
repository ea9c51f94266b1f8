"""Costs that the tests of the simulation take for true: fixtures, not measurements."""

from course.scale.costs import Costs, Platform

FREE = Costs(0, 0, 0, 0)
TRUE = Costs(
    0.03, 0.07, 0.09, 0.02, other=0.01, latency=0.24, inside=0.6, heartbeat=0.01, background=0.05
)
MACHINE = Platform(shared_cores=1.9, heartbeat_seconds=1)
