"""Where `git-remote-forge` starts: git runs it for `forge://NAME`, `forge://NETWORK/NAME` and `forge::TICKET`.

To start Python with all that the work needs takes as long as a small fetch, so a process that has done that stands by
and gives each run a child of its own. Nothing is imported here before it is clear that there is none, nor before it is
clear that Forge has anybody to ask.
"""

import os
import sys

from forge_p2p.cli.standby.asking import run_elsewhere


def main() -> None:
    """Runs the helper to its end, and ends the process at once: git waits for that, and Python would tidy up for 7 ms.
    What was said is flushed by then, line by line and command by command."""
    code = run_elsewhere(sys.argv[1:])
    if code is None:
        from forge_p2p.cli.git_alone import run_alone

        code = run_alone(sys.argv[1:])
    if code is None:
        from forge_p2p.cli.git_helper import run

        code = run(sys.argv[1:], os.getpid())
    os._exit(code)


if __name__ == "__main__":
    main()
