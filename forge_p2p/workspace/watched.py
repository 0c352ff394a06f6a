"""The directories that this process has looked at lately, watched, so that looking again costs what changed in them.

`scan` gives what `scan.scan` gives. A directory is scanned when it is first asked for, when its watch cannot be
believed, and now and then although it can (`renew`): what that finds and nobody told of ends the watch for good. Few
are kept, those asked for last; one that cannot be watched is scanned each time, and why is told once.
"""

import math
import os
import select
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from forge_p2p.content.pathtext import path_text
from forge_p2p.errors import ForgeError
from forge_p2p.workspace.scan import Scan, resolve, scan, scanned
from forge_p2p.workspace.statcache import Seen, StatCache
from forge_p2p.workspace.watch import Lost, Unwatchable, Watch

FOLDERS_MAX = 8
"""Directories watched at once."""

NAMES_MAX = 200_000
"""Names in all of them together: some 400 bytes of memory each."""

RESCAN = 300.0
"""Seconds after which a watched directory is scanned all the same."""

TRUSTED = 2 * RESCAN
"""Seconds after a scan for which a watch is believed; after which one that failed is tried again."""

Tell = Callable[[str], object]


class WatchedFolders:
    """Safe from several threads. `tell` is given a line for a person about each directory that cannot be watched."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._folders: OrderedDict[tuple[bytes, bool], _Folder] = OrderedDict()
        self._expected: set[bytes] = set()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._told = select.epoll()
        self._told.register(self._wake, select.EPOLLIN)

    def fileno(self) -> int:
        """Readable when there is something for `attend`."""
        return self._told.fileno()

    def scan(self, root: bytes, cache: StatCache, *, patient: bool = False) -> Scan:
        """As `scan.scan`."""
        root, status = resolve(root)
        if not stat.S_ISDIR(status.st_mode):
            return scan(root, cache, patient=patient)
        with self._lock:
            folder = self._folders.setdefault((root, patient), _Folder(root, patient, self._tell, self._told))
            self._folders.move_to_end((root, patient))
        with folder.lock:
            found = folder.look(status, cache)
        self._bound()
        return found

    def is_watched(self, root: bytes) -> bool:
        """Whether the next look at `root`, which has no symlinks, need not be a scan."""
        with self._lock:
            return any(folder.is_watched for (path, _), folder in self._folders.items() if path == root)

    def expect(self, root: bytes) -> None:
        """Says that `root` has just been written and will be asked for: the next `attend` begins to watch it."""
        with self._lock:
            self._expected.add(root)
        os.eventfd_write(self._wake, 1)

    def attend(self, cache: StatCache) -> None:
        """Empties the kernel's queues, before they run over, and looks at what is expected to be asked for."""
        with self._lock:
            expected, self._expected = self._expected, set()
            with suppress(BlockingIOError):
                os.eventfd_read(self._wake)
        for root in expected:
            with suppress(ForgeError, OSError):
                self.scan(root, cache)
        for folder in self._all():
            with folder.lock:
                folder.drain()

    def renew(self, cache: StatCache) -> None:
        """Scans what was not scanned for long."""
        for folder in self._all():
            with folder.lock, suppress(ForgeError, OSError):
                folder.renew(cache)

    def close(self) -> None:
        """Ends all watches."""
        for folder in self._all():
            with folder.lock:
                folder.close()
        self._told.close()
        os.close(self._wake)

    def _all(self) -> "list[_Folder]":
        with self._lock:
            return list(self._folders.values())

    def _bound(self) -> None:
        """Lets those go that were not asked for longest."""
        with self._lock:
            names = sum(each.names for each in self._folders.values())
            gone = []
            while self._folders and (len(self._folders) > FOLDERS_MAX or names > NAMES_MAX):
                _, folder = self._folders.popitem(last=False)
                names -= folder.names
                gone.append(folder)
        for folder in gone:
            with folder.lock:
                folder.close()


class _Folder:
    """One directory; `lock` is held by whoever uses it."""

    def __init__(self, root: bytes, patient: bool, tell: Tell, told: select.epoll) -> None:
        self.lock = threading.Lock()
        self._root = root
        self._patient = patient
        self._tell = tell
        self._told = told
        self._watch: Watch | None = None
        self._seen = Seen()
        self._version: object = None
        self._scan: Scan | None = None
        self._scanned_at = 0.0
        self._retry_at = 0.0
        self._has_told = False

    def look(self, status: os.stat_result, cache: StatCache) -> Scan:
        """What is in it now."""
        started_ns = time.time_ns()
        if self._watch is not None and time.monotonic() - self._scanned_at < TRUSTED:
            with suppress(Lost):
                self._watch.require(status)
                return self._update(self._watch, cache, started_ns)
        self.close()
        return self._begin(cache)

    @property
    def is_watched(self) -> bool:
        return self._watch is not None

    @property
    def names(self) -> int:
        """How many are kept in memory."""
        watch = self._watch  # another thread may end it meanwhile
        return 0 if watch is None else len(watch.items)

    def drain(self) -> None:
        if self._watch is not None:
            self._watch.drain()

    def renew(self, cache: StatCache) -> None:
        """Scans it if that was long ago, and compares."""
        before = self._watch
        if before is None or time.monotonic() - self._scanned_at < RESCAN:
            return
        self._watch = None
        try:
            now = self._begin(cache)
            before.require(os.stat(self._root))
            untold = before.untold(now.items)
        except Lost:
            return
        finally:
            before.close()
        if untold:
            self.close()
            self._give_up(f"{path_text(untold[0])} changed and nobody told")
            self._retry_at = math.inf

    def close(self) -> None:
        """Ends the watch."""
        if self._watch is not None:
            self._watch.close()
        self._watch, self._scan, self._seen = None, None, Seen()

    def _begin(self, cache: StatCache) -> Scan:
        """Scans it, and watches it from then on if that can be."""
        now = time.monotonic()
        if now < self._retry_at:
            return scan(self._root, cache, patient=self._patient)
        started_ns = time.time_ns()
        self._version, seen = cache.version(self._root), cache.load(self._root)
        watch = None
        try:
            watch = Watch(self._root, patient=self._patient)
            changed = watch.begin(seen)
            if len(watch.items) > NAMES_MAX:
                raise Unwatchable(f"it holds more than {NAMES_MAX:,} names")
        except BaseException as error:
            if watch is not None:
                watch.close()
            if not isinstance(error, Unwatchable):
                raise
            self._give_up(str(error))
            return scan(self._root, cache, patient=self._patient)
        self._told.register(watch, select.EPOLLIN)
        self._watch, self._seen, self._scanned_at = watch, seen, now
        return self._keep(watch, seen, started_ns, changed)

    def _update(self, watch: Watch, cache: StatCache, started_ns: int) -> Scan:
        version = cache.version(self._root)
        if version != self._version or version is None:
            self._version, self._seen = version, cache.load(self._root)
        elif not watch.touched and not watch.linked and self._scan is not None:
            return replace(self._scan, started_ns=started_ns)
        return self._keep(watch, self._seen, started_ns, watch.update(self._seen))

    def _keep(self, watch: Watch, seen: Seen, started_ns: int, changed: bool) -> Scan:
        self._scan = scanned(
            self._root, watch.items, watch.skipped, seen, started_ns, changed=changed, patient=self._patient
        )
        return self._scan

    def _give_up(self, reason: str) -> None:
        if not self._has_told:
            self._tell(f"{path_text(self._root)} is looked at as a whole each time: {reason}")
        self._has_told = True
        self._retry_at = time.monotonic() + TRUSTED
