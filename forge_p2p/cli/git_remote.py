"""Where `git-remote-forge` starts: git runs it for `forge://NAME`, `forge://NETWORK/NAME` and `forge::TICKET`.

To start Python with all that the work needs takes as long as a small fetch, so a process that has done that stands by
and gives each run a child of its own. Nothing is imported here before it is clear that there is none.
"""

import sys

from forge_p2p.cli.standby.asking import run_elsewhere


def main(arguments: list[str] | None = None) -> int:
    """Runs the helper to its end; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    code = run_elsewhere(words)
    if code is not None:
        return code
    from forge_p2p.cli.git_helper import run

    return run(words)


if __name__ == "__main__":
    sys.exit(main())
