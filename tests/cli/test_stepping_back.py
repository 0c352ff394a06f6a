"""What is done in the background leaves the processor to everybody else: real processes, asked what they are."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.harness import TIMEOUT, environment

SCRIPT = '''
import os
from pathlib import Path
from forge_p2p.cli.git_behind import step_back

def of_session():
    """Nothing where the kernel has no groups, and in the session of the first process, which has none."""
    told = Path("/proc/self/autogroup")
    return told.read_text().split()[-1:] if told.exists() else []

before = of_session()
step_back()
print(os.sched_getscheduler(0) == os.SCHED_IDLE, os.getpriority(os.PRIO_PROCESS, 0), of_session() == before)
print(of_session() in ([], ["19"]))
'''


@pytest.mark.parametrize("alone", [True, False])
def test_who_steps_back_takes_its_session_along_if_that_is_its_own(tmp_path: Path, alone: bool) -> None:
    """With a priority that counted within a session alone, checking a pack took as much of a processor as checking out
    what had been cloned."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment(tmp_path),
        start_new_session=alone,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    process, session = done.stdout.splitlines()
    has_groups = Path("/proc/self/autogroup").exists()
    assert process == f"True 19 {not (alone and has_groups)}"
    assert session == "True" or not alone
