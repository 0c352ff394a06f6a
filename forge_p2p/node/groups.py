"""Errors out of nurseries: the one that matters instead of a group around it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from forge_p2p.errors import ForgeError


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raises the first `ForgeError` of an exception group by itself. A group that holds anything else is a bug's and
    stays as it is, so that its traceback tells everything."""
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        ours = [leaf for leaf in leaves if isinstance(leaf, ForgeError)]
        if ours and all(isinstance(leaf, ForgeError | trio.Cancelled) for leaf in leaves):
            raise ours[0] from ours[0].__cause__
        raise


@contextmanager
def contained(what: str) -> Iterator[None]:
    """Keeps a defect that one peer or one command has hit from taking the whole node down: its traceback goes to the
    log, and `what` ends."""
    try:
        yield
    except Exception:
        logging.getLogger("forge").exception("a defect of Forge ended %s; please report it", what)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
