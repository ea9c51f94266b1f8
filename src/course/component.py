"""Starts one component of the stack in place of itself: ``python -m course.component NAME CMD…``.

The supervisor restarts a component that was killed, but not what the dead one left behind: the
workers of a scheduler that got SIGKILL go on running tasks beside those of its successor. So
each component ends the leftovers of its predecessor before it starts.
"""

import os
import sys

from course.processes import COMPONENT, STACK, end, find


def main(arguments: list[str]) -> None:
    """End leftovers of the component, then become the command."""
    component, *command = arguments
    os.environ[COMPONENT] = component
    leftovers = find(os.environ[STACK], component)
    if leftovers:
        print(f"{component}: ending {len(leftovers)} leftover processes", flush=True)
        alive = end(leftovers)
        if alive:
            sys.exit(f"{component}: processes {[p.pid for p in alive]} cannot be ended")
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
