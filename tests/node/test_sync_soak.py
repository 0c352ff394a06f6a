"""Three machines that watch one folder: edited at random, killed, cut off, their clocks apart. All are the same in the
end, and nothing that anybody wrote is gone unless somebody took it away who saw it."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from tests.cli.harness import COMMAND, ROOT, environment, forge
from tests.node.harness import contents, settings
from tests.node.members_up import MEMBER, free_port
from tests.node.test_sync_killed import versions

SKEWS = (0, 110, -110)
"""Seconds by which the machines' clocks are wrong; the first is the home, which takes five minutes for the most."""

CLOCK = """
import os, time
skew, exact = float(os.environ["CLOCK_SKEW"]), time.time
time.time = lambda: exact() + skew
"""
"""Python runs it first. Times of files stay the kernel's; those who edit set them by their own clocks."""

IDLE = 5
"""Seconds after which a machine that says nothing is given up by the others."""

CALM = 90.0
"""Seconds in which a sync has to go well once all is well."""


@dataclass
class Machine:
    """A node that is up, its folder, and the command that watches it."""

    home: Path
    folder: Path
    clock: Path
    skew: int
    processes: "list[subprocess.Popen[str]]" = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return environment(self.home, PYTHONPATH=f"{self.clock}:{ROOT}", CLOCK_SKEW=str(self.skew))

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return forge(self.home, *arguments, PYTHONPATH=f"{self.clock}:{ROOT}", CLOCK_SKEW=str(self.skew))

    def start(self) -> None:
        """The node, then the watch."""
        up = self._begin("up", stdout=subprocess.PIPE)
        assert up.stdout is not None
        assert up.stdout.readline()
        self._begin("sync", "folder", str(self.folder), "--watch")

    def _begin(self, *arguments: str, stdout: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [*COMMAND, *arguments], env=self.environment, stdout=stdout, stderr=subprocess.DEVNULL, text=True
        )
        self.processes.append(process)
        return process

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self.processes.clear()

    def send(self, number: int) -> None:
        for process in self.processes:
            process.send_signal(number)

    def end_watch(self) -> None:
        """The node stays up."""
        watch = self.processes.pop()
        watch.kill()
        watch.wait()

    def settle(self) -> None:
        """Syncs once, as soon as the home can be reached and the watch of before is over."""
        end = time.monotonic() + CALM
        while (done := self.run("sync", "folder", str(self.folder), "--json")).returncode != 0:
            assert time.monotonic() < end, done.stderr
            time.sleep(0.2)
        assert not json.loads(done.stdout)["problems"]


class Editor:
    """A person who never takes away what he has not seen: a file is moved out, looked at, and another put in its place
    if there is none by then."""

    def __init__(self, seed: int, aside: Path) -> None:
        self.chance = random.Random(seed)
        self.alive: set[bytes] = set()
        self._aside = aside
        self._numbers = count()

    def edit(self, machine: Machine) -> None:
        path = machine.folder / self.chance.choice(["a", "b.txt", "d/a", "d/b", "d/e/a"])
        taken, made = (self._aside / f"{kind}{next(self._numbers)}" for kind in ("taken", "made"))
        try:
            path.rename(taken)
            self.alive.discard(taken.read_bytes())
        except FileNotFoundError:
            pass
        if self.chance.random() < 0.3:
            return
        content = b"%s wrote %s" % (machine.home.name.encode(), made.name.encode())
        made.write_bytes(content)
        now = time.time_ns() + machine.skew * 10**9
        os.utime(made, ns=(now, now))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(made, path)
        except (FileExistsError, FileNotFoundError):
            return  # somebody else's came in between
        made.unlink()
        self.alive.add(content)


@contextmanager
def machines(place: Path) -> Iterator[list[Machine]]:
    clock = place / "clock"
    clock.mkdir()
    (clock / "sitecustomize.py").write_text(CLOCK)
    made = [Machine(place / f"m{number}", place / f"f{number}", clock, skew) for number, skew in enumerate(SKEWS)]
    with ExitStack() as stack:
        for machine in made:
            settings(machine.home, MEMBER.format("127.0.0.1", free_port(), IDLE))
            machine.folder.mkdir()
            stack.callback(machine.kill)
            stack.callback(machine.send, signal.SIGCONT)
        assert made[0].run("network", "create", "team").returncode == 0
        made[0].start()
        for machine in made[1:]:
            token = made[0].run("network", "invite", "--role", "writer").stdout.split()[-1]
            joined = machine.run("network", "join", token)
            assert joined.returncode == 0, joined.stderr
            machine.start()
        yield made


@pytest.mark.parametrize(
    ("seed", "steps"), [(1, 20), *(pytest.param(seed, 120, marks=pytest.mark.soak) for seed in range(2, 32))]
)
def test_random_editors_on_three_machines(tmp_path: Path, seed: int, steps: int) -> None:
    aside = tmp_path / "aside"
    aside.mkdir()
    editor = Editor(seed, aside)
    chance = editor.chance
    with machines(tmp_path) as all_of_them:
        for _ in range(steps):
            machine = chance.choice(all_of_them)
            deed = chance.random()
            if deed < 0.8:
                for _ in range(chance.choice((1, 1, 3))):
                    editor.edit(machine)
            elif deed < 0.9:
                machine.kill()
                machine.start()
            else:
                machine.send(signal.SIGSTOP)
                editor.edit(machine)
                time.sleep(chance.random())
                machine.send(signal.SIGCONT)
            time.sleep(chance.random() / 2)
        for machine in all_of_them:
            machine.end_watch()
        for machine in (*all_of_them, *all_of_them, *all_of_them):
            machine.settle()
        first, second, third = (contents(machine.folder) for machine in all_of_them)
        assert first == second == third
        assert editor.alive <= versions(all_of_them[0].folder)
        assert editor.alive
