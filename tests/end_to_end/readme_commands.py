"""Everything in the README that a reader may type or paste, in its order."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"

_FENCED = r"^```(?P<language>[^\n]*)\n(?P<block>.*?)^```$"
_INLINE = r"(?<!`)`(?P<inline>(?:qwenkit|make)\s[^`]+)`"
_CODE = re.compile(f"{_FENCED}|{_INLINE}", re.M | re.S)


@dataclass(frozen=True)
class Snippet:
    """One command (a line of a console block, or inline) or one block of another language."""

    language: str
    text: str

    @property
    def words(self) -> list[str]:
        """The command as a shell would cut it."""
        return shlex.split(self.text, comments=True)

    @property
    def program(self) -> str:
        """First word of a command."""
        return self.words[0]


def read_snippets(readme: str) -> list[Snippet]:
    """Find all commands and blocks, in the order in which a reader meets them."""
    found: list[Snippet] = []
    for match in _CODE.finditer(readme):
        if match["inline"]:
            found.append(Snippet("console", " ".join(match["inline"].split())))
        elif match["language"] == "console":
            lines = match["block"].replace("\\\n", " ").splitlines()
            found += [Snippet("console", line.strip()) for line in lines if shlex.split(line, comments=True)]
        else:
            found.append(Snippet(match["language"], match["block"]))
    return found


def find_snippets(language: str, *programs: str) -> list[Snippet]:
    """Give the README's snippets of a language, once each; of commands only those of the programs."""
    snippets = [
        snippet for snippet in read_snippets(README.read_text("utf-8")) if snippet.language == language
    ]
    wanted = [snippet for snippet in snippets if not programs or snippet.program in programs]
    return list(dict.fromkeys(wanted))
