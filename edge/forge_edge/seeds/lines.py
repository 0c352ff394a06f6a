"""Where in a TOML text a setting stands. TOML's own reader keeps no lines, so the text is looked at once more.

Enough for messages: headers and `key =` at the beginning of a line. What stands in an inline table has its line.
"""

import re
from collections import Counter
from typing import Final

_HEADER = re.compile(r"\s*\[(\[?)\s*([\w.\"' -]+?)\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"\s*([\w\"'-]+(?:\s*\.\s*[\w\"'-]+)*)\s*=")
_TOML_LINE = re.compile(r"\(at line (\d+)")

FIRST: Final = 1


class Lines:
    """The lines of the settings of `text`."""

    def __init__(self, text: str) -> None:
        self._at: dict[str, int] = {}
        seen: Counter[str] = Counter()
        prefix = ""
        for number, line in enumerate(text.splitlines(), FIRST):
            if header := _HEADER.fullmatch(line):
                name = _plain(header[2])
                if header[1]:
                    prefix = f"{name}[{seen[name]}]."
                    seen[name] += 1
                else:
                    prefix = f"{name}."
                self._at.setdefault(prefix[:-1], number)
            elif key := _KEY.match(line):
                self._at.setdefault(prefix + _plain(key[1]), number)

    def of(self, key: str) -> int:
        """The line of a setting, or of the nearest thing around it; 0 if there is none."""
        while key not in self._at and key:
            key = key[:-1] if "." not in key and "[" not in key else re.split(r"[.\[](?=[^.\[]*$)", key)[0]
        return self._at.get(key, 0)


def line_of_toml_error(message: str) -> int:
    """The line that TOML's reader tells in a message; 0 if it tells none."""
    match = _TOML_LINE.search(message)
    return int(match[1]) if match else 0


def _plain(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))
