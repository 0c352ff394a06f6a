"""Starts one program, waits for it and writes down what it took: `python -I -S launcher.py REPORT COMMAND…`.

Linux counts a parent's resident memory into the peak of the program that it starts. So programs are started by this
process, which is as small as a Python process can be (9 MB), and not by the runner, which is larger than some of them.
SIGINT is passed on.
"""

import os
import signal
import sys
import time


def main() -> int:
    """Ends as the program has ended."""
    report, *command = sys.argv[1:]
    start = time.perf_counter()
    # A shell's background jobs ignore SIGINT, and so would all that they start.
    child = os.posix_spawnp(command[0], command, os.environ, setsigdef=[signal.SIGINT])
    signal.signal(signal.SIGINT, lambda number, frame: os.kill(child, number))
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - start
    with open(report, "w") as file:
        file.write(f"{seconds} {usage.ru_utime + usage.ru_stime} {usage.ru_maxrss * 1024}")
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
