"""Cuts Redshift SQL into tokens, for the statements that this package parses by itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from local.services.warehouse.errors import WarehouseError

Kind = Literal["word", "quoted", "string", "number", "symbol", "end"]

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|--[^\n]*|/\*.*?\*/)
  | (?P<string>'(?:[^'\\]|''|\\.)*')
  | (?P<dollar>\$\$.*?\$\$)
  | (?P<quoted>"(?:[^"]|"")*")
  | (?P<number>\d+(?:\.\d*)?|\.\d+)
  | (?P<word>[A-Za-z_][A-Za-z0-9_$]*)
  | (?P<symbol>::|<=|>=|<>|!=|\|\||.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Token:
    """One token: `text` is the value (unquoted), `start` and `end` its place in the source."""

    kind: Kind
    text: str
    start: int
    end: int


def tokenize(sql: str) -> list[Token]:
    """The tokens of `sql` without comments, and an end token. Raises `WarehouseError`."""
    tokens: list[Token] = []
    for match in _TOKEN.finditer(sql):
        text, start, end = match.group(), match.start(), match.end()
        if match.lastgroup == "string":
            value = text[1:-1].replace("''", "'").replace("\\'", "'").replace("\\\\", "\\")
            tokens.append(Token("string", value, start, end))
        elif match.lastgroup == "dollar":
            tokens.append(Token("string", text[2:-2], start, end))
        elif match.lastgroup == "quoted":
            tokens.append(Token("quoted", text[1:-1].replace('""', '"').lower(), start, end))
        elif match.lastgroup == "number":
            tokens.append(Token("number", text, start, end))
        elif match.lastgroup == "word":
            tokens.append(Token("word", text, start, end))
        elif match.lastgroup == "symbol":
            if text in "'\"":
                raise WarehouseError(f'unterminated quoted string at or near "{sql[start:]}"')
            tokens.append(Token("symbol", text, start, end))
    tokens.append(Token("end", "", len(sql), len(sql)))
    return tokens


class Cursor:
    """Walks over the tokens of one statement."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.tokens = tokenize(sql)
        self.place = 0

    @property
    def next(self) -> Token:
        """The token ahead."""
        return self.tokens[self.place]

    def take(self) -> Token:
        """The token ahead, and step over it."""
        token = self.next
        if token.kind != "end":
            self.place += 1
        return token

    def at(self, *words: str) -> bool:
        """Whether these words or symbols are ahead, one after the other."""
        ahead = self.tokens[self.place : self.place + len(words)]
        return len(ahead) == len(words) and all(
            token.kind in ("word", "symbol") and token.text.upper() == word
            for token, word in zip(ahead, words, strict=True)
        )

    def skip(self, *words: str) -> bool:
        """Step over these words if they are ahead, and say whether they were."""
        if not self.at(*words):
            return False
        self.place += len(words)
        return True

    def expect(self, *words: str) -> None:
        """Step over these words. Raises `WarehouseError` where they are not ahead."""
        for word in words:
            if not self.skip(word):
                raise self.error()

    def name(self) -> str:
        """An identifier; Redshift folds it to lower case, quoted or not."""
        token = self.take()
        if token.kind not in ("word", "quoted"):
            self.place -= token.kind != "end"
            raise self.error()
        return token.text.lower()

    def exact_name(self) -> str:
        """The name of a user, which keeps its case inside quotes (`"IAMR:Loader"`)."""
        token = self.next
        name = self.name()
        if token.kind == "quoted":
            return self.sql[token.start + 1 : token.end - 1].replace('""', '"')
        return name

    def string(self) -> str:
        """A string literal."""
        token = self.take()
        if token.kind != "string":
            self.place -= token.kind != "end"
            raise self.error()
        return token.text

    def integer(self) -> int:
        """A whole number."""
        token = self.take()
        if token.kind != "number" or not token.text.isdigit():
            self.place -= token.kind != "end"
            raise self.error()
        return int(token.text)

    def names(self) -> list[str]:
        """Identifiers separated by commas."""
        found = [self.name()]
        while self.skip(","):
            found.append(self.name())
        return found

    def end(self) -> None:
        """The statement ends here, with or without a semicolon."""
        self.skip(";")
        if self.next.kind != "end":
            raise self.error()

    def error(self) -> WarehouseError:
        """A syntax error at the token ahead."""
        token = self.next
        if token.kind == "end":
            return WarehouseError("syntax error at end of input")
        near = self.sql[token.start : token.end]
        return WarehouseError(f'syntax error at or near "{near}"\n  Position: {token.start + 1}')


def keywords(sql: str) -> tuple[str, ...]:
    """The first three words of a statement in upper case, which say what kind it is."""
    found = []
    for token in tokenize(sql)[:3]:
        if token.kind != "word":
            break
        found.append(token.text.upper())
    return tuple(found)
