"""A page as a test reads it."""

import base64
import re
from html.parser import HTMLParser


class Reader(HTMLParser):
    """Tags that are opened but not closed, everything that a page would load, its pictures and its words."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str | None] = []
        self.pictures: list[tuple[str, bytes]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.links += [value for key, value in attrs if key in ("src", "href", "srcset", "data", "action") or key.startswith("on")]
        if tag == "img" and (given["src"] or "").startswith("data:image/jpeg"):
            self.pictures.append((given["alt"] or "", base64.b64decode((given["src"] or "").split(",")[1])))
        assert tag != "script"
        if tag not in ("img", "meta", "br", "wbr", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))
