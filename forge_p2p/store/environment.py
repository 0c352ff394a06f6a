"""One LMDB environment, as the store needs it: shared in the process, growing, recovering, speaking our errors.

LMDB's rules, and where they are kept:
- A file may be open once in a process, for its locks belong to the process: `open_environment` hands out one shared
  object with a count of its users. For the same reason nothing else here ever opens a lock file that is in use.
- An environment does not survive a fork, nor can the child open the same file: LMDB would touch its parent's locks.
  Both are refused; a child has to be forked before, or be a program of its own.
- The map may only change its size, and the environment only be reopened, while no transaction of the process runs:
  they are counted.
- After a failed write of its meta page LMDB refuses everything until it is reopened, which the next transaction does:
  the failed one has been reported and is not tried again.
- Beyond the file's end its map raises SIGBUS, and damaged pages point there. So the file is kept longer than its last
  page, with a hole of zeros, which LMDB reports as corruption; and values are handed out as views, never copied unseen.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from struct import error as StructError  # noqa: N812
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import lmdb

from forge_p2p.config import GIB, MIB
from forge_p2p.errors import StoreError
from forge_p2p.store.faults import damaged_record, database_error, disk_errors

T = TypeVar("T")

if TYPE_CHECKING:
    Transaction = lmdb.Transaction[memoryview]
else:
    Transaction = lmdb.Transaction

_MAP_SIZES: Final = (1024 * GIB, 64 * GIB, 4 * GIB, 512 * MIB)
"""Address space, not memory or disk: the largest that the process's limits allow is taken, and grown when needed."""

_TRIES: Final = 12
"""Of one transaction: the map may have to grow several times, and the environment to be reopened."""

_MAX_READERS: Final = 510
_PAGES: Final = 16 << 10
"""Bytes that a small change writes, about: a few pages."""

_MARGIN_MIN: Final = 1 << 20
_MARGIN: Final = 16 << 20
"""Bytes of the hole at a database's end: more than a damaged page can point past itself, and what is written until the
next look. It takes no blocks."""

_READER_SLOT: Final = 64
"""Bytes of one slot in the lock file."""


class Environment:
    """One LMDB file and its named tables. Get it from `open_environment`, give it back with `release`."""

    def __init__(self, path: Path, tables: Sequence[str]) -> None:
        self.path = path
        self.users = 1
        self._names = tuple(tables)
        self._pid = os.getpid()
        self._idle = threading.Condition()
        self._running = 0
        self._halted = False
        self._map_size = _MAP_SIZES[0]
        self._extended = 0
        self._open()

    def _open(self) -> None:
        with disk_errors(self.path):
            _reserve_lock_file(self.path)
        self._env = self._open_largest()
        try:
            with disk_errors(self.path):
                short = self.path.stat().st_size < self._end() + _MARGIN_MIN
            if short:
                with self._env.begin(write=True):
                    self._extend()
            self.tables: dict[str, Any] = self._open_tables()
        except lmdb.Error as error:
            self._env.close()
            raise database_error(error, self.path) from error

    def _open_largest(self) -> lmdb.Environment:
        for map_size in (size for size in _MAP_SIZES if size <= self._map_size):
            try:
                env = lmdb.open(
                    str(self.path),
                    subdir=False,
                    mode=0o600,
                    map_size=map_size,
                    max_dbs=len(self._names),
                    max_readers=_MAX_READERS,
                )
            except (lmdb.MemoryError, OverflowError):
                continue
            except lmdb.Error as error:
                if "Cannot allocate memory" in str(error):
                    continue
                raise database_error(error, self.path, needed=MIB) from error
            self._map_size = env.info()["map_size"]
            return env
        raise StoreError(f"{self.path}: no address space for the database", hint="raise the limit (ulimit -v)")

    def _extend(self) -> None:
        """Keeps a hole after the last page. Only while no other process can write: it must never cut."""
        end = self._end()
        if end + _MARGIN_MIN > self._extended:
            with suppress(OSError):  # as well as can be: the size of files may be limited
                if self.path.stat().st_size < end + _MARGIN_MIN:
                    os.truncate(self.path, end + _MARGIN)
                self._extended = self.path.stat().st_size

    def _end(self) -> int:
        """Bytes up to the end of the last page in use."""
        return (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]

    def _open_tables(self) -> dict[str, Any]:
        try:
            return {name: self._env.open_db(name.encode(), create=False) for name in self._names}
        except lmdb.NotFoundError:
            with self._env.begin(write=True) as transaction:
                return {name: self._env.open_db(name.encode(), txn=transaction) for name in self._names}

    def read(self) -> "Reading":
        """A read transaction: `with environment.read() as transaction`. Sees one moment; keep it short."""
        return Reading(self)

    def write(self, work: Callable[[Transaction], T], needed: int = _PAGES) -> T:
        """Runs `work` in the one write transaction and makes it durable; from the start again if the map was too small.

        `needed`: bytes the caller is about to store, for the message of a full disk.
        """
        for _ in range(_TRIES):
            try:
                with self.running(), self._env.begin(write=True, buffers=True) as transaction:
                    self._extend()
                    return work(transaction)
            except lmdb.MapFullError:
                self._resize(self._map_size * 2)
            except lmdb.MapResizedError:
                self._resize(0)
            except lmdb.PanicError:
                self.reopen()
            except lmdb.Error as error:
                raise database_error(error, self.path, needed) from error
            except StructError as error:
                raise damaged_record(self.path) from error
        raise StoreError(
            f"{self.path} cannot be written to", hint="run `forge store verify`, then `forge store rebuild`"
        )

    def begin_read(self) -> Transaction:
        """For `Reading` alone."""
        try:
            return self._env.begin(buffers=True)
        except lmdb.ReadersFullError:
            self._env.reader_check()
            return self._env.begin(buffers=True)

    @contextmanager
    def running(self) -> Iterator[None]:
        """While inside, the environment is neither resized nor closed."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def enter(self) -> None:
        if self._pid != os.getpid():
            raise _forked(self.path)
        with self._idle:
            while self._halted:
                self._idle.wait()
            self._running += 1

    def leave(self) -> None:
        with self._idle:
            self._running -= 1
            if not self._running:
                self._idle.notify_all()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._idle:
            while self._halted:
                self._idle.wait()
            self._halted = True  # or a stream of readers would keep us waiting
            self._idle.wait_for(lambda: not self._running)
            try:
                yield
            finally:
                self._halted = False
                self._idle.notify_all()

    def adopt_size(self) -> None:
        """Takes over the size that another process has given the map."""
        self._resize(0)

    def _resize(self, size: int) -> None:
        with self._alone():
            try:
                self._env.set_mapsize(size)
            except lmdb.Error as error:
                raise database_error(error, self.path) from error
            self._map_size = self._env.info()["map_size"]

    def reopen(self) -> None:
        """After a failed write of the meta page, which has been reported then."""
        with self._alone():
            self._env.close()
            self._open()

    def clear_dead_readers(self) -> None:
        """Frees the slots of readers whose process is gone; their old pages could not be reused otherwise."""
        with self.running():
            self._env.reader_check()

    def used_bytes(self) -> int:
        """Bytes of the file on disk."""
        with disk_errors(self.path):
            return self.path.stat().st_blocks * 512

    def release(self) -> None:
        """One user less; the last one closes it. In a forked child nothing is touched: all of it is the parent's."""
        if self._pid != os.getpid():
            return
        with _registry_lock:
            self.users -= 1
            if self.users:
                return
            _registry.pop(os.path.realpath(self.path), None)
            with self._alone():
                self._env.close()


class Reading:
    """The context manager of a read transaction; written out, since it runs for every batch that is served."""

    __slots__ = ("_environment", "_transaction")

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def __enter__(self) -> Transaction:
        environment = self._environment
        environment.enter()
        try:
            self._transaction = environment.begin_read()
        except lmdb.MapResizedError:
            environment.leave()
            environment.adopt_size()
            return self.__enter__()
        except lmdb.PanicError:
            environment.leave()
            environment.reopen()
            return self.__enter__()
        except lmdb.Error as error:
            environment.leave()
            raise database_error(error, environment.path) from error
        except BaseException:
            environment.leave()
            raise
        return self._transaction

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._transaction.abort()
        self._environment.leave()
        if isinstance(error, lmdb.Error):
            raise database_error(error, self._environment.path) from error
        if isinstance(error, StructError):
            raise damaged_record(self._environment.path) from error


_registry: dict[str, Environment] = {}
_registry_lock = threading.Lock()
_of_parent: set[str] = set()
"""What was open when this process was forked; it stays mapped and cannot be closed."""


def open_environment(path: Path, tables: Sequence[str]) -> Environment:
    """The process's one environment of this file; the file is created if need be."""
    with _registry_lock:
        key = os.path.realpath(path)
        if key in _of_parent:
            raise _forked(path)
        shared = _registry.get(key)
        if shared is None:
            shared = _registry[key] = Environment(path, tables)
        else:
            shared.users += 1
        return shared


def remove_database(path: Path) -> None:
    """Removes the file and its lock file. Nobody may have it open."""
    with disk_errors(path):
        path.unlink(missing_ok=True)
        Path(f"{path}-lock").unlink(missing_ok=True)


def _forked(path: Path) -> StoreError:
    return StoreError(f"{path} was open when this process was forked", hint="fork first, or start a new program")


def _start_anew_in_child() -> None:
    _of_parent.update(_registry)
    _registry.clear()
    _registry_lock.release()


# The lock is held over the fork so that it is never copied half-way.
os.register_at_fork(
    before=_registry_lock.acquire, after_in_parent=_registry_lock.release, after_in_child=_start_anew_in_child
)


def _reserve_lock_file(path: Path) -> None:
    """LMDB writes its lock file through a map, where a full disk would be SIGBUS: take the blocks first."""
    size = (_MAX_READERS + 2) * _READER_SLOT
    lock_file = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(lock_file).st_blocks * 512 < size:
            with suppress(InterruptedError):
                os.posix_fallocate(lock_file, 0, size)
    finally:
        os.close(lock_file)
