"""Where content is looked for, once it is known that whoever asks may have it."""

from dataclasses import dataclass

from forge_p2p.content.link import Root
from forge_p2p.content.linktext import format_link


@dataclass(frozen=True, slots=True)
class Place:
    """`root`: the link under which members know the content. `network`: whose members may be asked for it, empty for
    none. `held`: it belongs to that network here, so that the store may be looked into; where it does not, what is in
    the store may be another network's."""

    root: Root
    network: str
    held: bool

    @property
    def text(self) -> str:
        return format_link(self.root)
