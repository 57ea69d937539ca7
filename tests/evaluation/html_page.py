"""An HTML page as tests look at it."""

from html.parser import HTMLParser

VOID_TAGS = {"meta", "img", "source", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """A page as a list of tags; refuses one that is closed out of order or not at all."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.text, self.declarations = [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.text.append(data)

    def handle_decl(self, declaration):
        self.declarations.append(declaration)

    def find(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]
