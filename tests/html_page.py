"""Read a page that was written: tags are closed in order, and texts by tag."""

from __future__ import annotations

import html.parser

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(html.parser.HTMLParser):
    """Checks that tags are closed in order and collects them with their text.

    Args:
        text: the page.
        void: tags that may stay open.
    """

    def __init__(self, text, void=VOID):
        super().__init__()
        self.open, self.tags, self.texts, self.text, self.void = [], [], {}, "", void
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append((tag, len(self.tags) - 1))

    def handle_endtag(self, tag):
        if tag in {"td", "th"}:
            for _, number in self.open[:-1]:
                self.texts[number] = self.texts.get(number, "") + " "
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        self.text += data
        for _, number in self.open:
            self.texts[number] = self.texts.get(number, "") + data

    def all(self, tag, **attributes):
        """Texts of all such elements."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [
            self.texts.get(number, "")
            for number, (name, found) in enumerate(self.tags)
            if name == tag and all(found.get(key) == value for key, value in wanted.items())
        ]

    def count(self, tag, **attributes):
        """How many such elements there are."""
        return len(self.all(tag, **attributes))
