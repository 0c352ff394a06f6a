"""Where the node's folder is, as the environment has it. Apart from `home`, for who cannot wait for its imports."""

import os


def default_folder() -> str:
    """FORGE_HOME; else `forge` in XDG_DATA_HOME where that is set; else `~/.forge`. Empty: this account has no home."""
    if chosen := os.environ.get("FORGE_HOME"):
        return os.path.expanduser(chosen)
    if data := os.environ.get("XDG_DATA_HOME"):
        return os.path.expanduser(os.path.join(data, "forge"))
    home = os.path.expanduser("~")
    return os.path.join(home, ".forge") if home != "~" else ""
