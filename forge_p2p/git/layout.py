"""Where a repository keeps what, as far as its folder alone tells; gitrepository-layout(5)."""

import os

_LATER = (b"FETCH_HEAD", b"index", b"packed-refs")
"""What a repository has once something was fetched, checked out or cloned: `git fetch` makes the first before it
asks."""


def common_folder(git_dir: bytes) -> bytes:
    """The folder that a worktree's `.git` shares with the others."""
    try:
        with open(os.path.join(git_dir, b"commondir"), "rb") as file:
            return os.path.join(git_dir, file.read().removesuffix(b"\n"))
    except OSError:
        return git_dir


def names_in(folder: bytes) -> list[bytes]:
    """What is in a folder; nothing if that is not there."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def is_being_cloned(git_dir: bytes) -> bool:
    """Whether it is `git clone` that is about to fetch, as far as the repository tells."""
    return not set(_LATER).intersection(names_in(git_dir))
