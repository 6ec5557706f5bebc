"""The words and operators of a line of shell, with what a shell would still make of them.

Only what all shells share: quotes, backslashes, comments, redirections and here-documents. Nothing is expanded.
"""

from __future__ import annotations

import re

# A redirection that hides or joins messages, and does nothing else.
_QUIET = re.compile(r"2>(?:&1|[ \t]*/dev/null)(?=[\s;&|<>()]|\Z)")
_OPERATOR = re.compile(r"&&|\|\||;;|\|&|<<<|<<-?|&>>?|[<>]&|>>|>\||<>|[;&|()<>\n]")
_RUN = re.compile(r"[^ \t\r\n;&|()<>`\"'\\$*?\[{]+")  # letters that stand for themselves
_ESCAPED = re.compile(r"\$'(?:[^'\\]|\\.)*'", re.DOTALL)
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_PAIR = re.compile(r"\\.", re.DOTALL)
_BACKSLASH = re.compile(r'\\([$`"\\\n])')
_NUMBER = re.compile(r"\d+(?=[<>])")


class Word:
    """One word without its quotes."""

    def __init__(self, text: str, *, certain: bool = True, pattern: bool = False) -> None:
        self.text = text
        self.certain = certain  # it holds nothing that a shell would put something else for
        self.pattern = pattern  # a shell may put names of files for it

    @property
    def fixed(self) -> bool:
        return self.certain and not self.pattern


class OpenQuoteError(ValueError):
    """A quote has no end: nobody can tell what the shell would be given."""


class Lexer:
    """Reads a text at once. Raises OpenQuoteError."""

    def __init__(self, text: str) -> None:
        self.tokens: list[Word | str] = []  # an operator is a text
        self.documents: list[str] = []  # the bodies of here-documents
        self.comments = False
        self._text, self._at = text, 0
        self._ends: list[tuple[str, bool]] = []  # the last lines of here-documents to come; whether tabs go before
        self._inside = False  # backquotes
        while self._at < len(text):
            self._read()

    def _read(self) -> None:
        text, letter = self._text, self._text[self._at]
        if letter in " \t\r":
            self._at += 1
        elif letter == "#":
            self.comments = True
            end = text.find("\n", self._at)
            self._at = len(text) if end < 0 else end
        elif letter == "`":
            self._backquote()
        elif found := _QUIET.match(text, self._at) or _OPERATOR.match(text, self._at):
            self._at = found.end()
            self.tokens.append("2>" if found.re is _QUIET else found[0])
            if found[0] == "\n":
                self._read_documents()
        elif number := _NUMBER.match(text, self._at):  # of a stream that is sent elsewhere
            self._at = number.end()
        else:
            self._add(self._word())

    def _add(self, word: Word | None) -> None:
        if word is None:
            return
        before = self.tokens[-1] if self.tokens else None
        if before in ("<<", "<<-"):
            self._ends.append((word.text, before == "<<-"))
        self.tokens.append(word)

    def _backquote(self) -> None:
        self._at += 1
        self._inside = not self._inside
        if self._inside:  # what comes out of it stands here as a word
            self.tokens.append(Word("`", certain=False))
        self.tokens.append("`")

    def _word(self) -> Word | None:
        parts: list[str] = []
        first, certain, pattern = self._at, True, False
        while self._at < len(self._text):
            letter = self._text[self._at]
            if found := _RUN.match(self._text, self._at):
                parts.append(found[0])
                self._at = found.end()
            elif letter in "\\'\"$":
                part, known = self._quoted(letter)
                parts.append(part)
                certain = certain and known
            elif letter in "*?[{":
                parts.append(letter)
                certain, pattern = certain and letter != "{", pattern or letter != "{"
                self._at += 1
            else:
                certain = certain and letter != "`"
                break
        if not self._text[first : self._at].replace("\\\n", ""):  # the line goes on
            return None
        return Word("".join(parts), certain=certain, pattern=pattern)

    def _quoted(self, letter: str) -> tuple[str, bool]:
        """Return what a quote, a backslash or a dollar stands for, and whether that is certain."""
        start = self._at
        if letter == "\\":
            self._at += 2
            return self._text[start + 1 : start + 2].replace("\n", ""), self._at <= len(self._text)
        if letter == "'":
            end = self._text.find("'", start + 1)
            if end < 0:
                raise OpenQuoteError
            self._at = end + 1
            return self._text[start + 1 : end], True
        pattern = _DOUBLE if letter == '"' else _ESCAPED
        found = pattern.match(self._text, start)
        if letter == "$":
            if self._text.startswith("$'", start) and not found:
                raise OpenQuoteError
            self._at = found.end() if found else start + 1
            return self._text[start : self._at], False
        if not found:
            raise OpenQuoteError
        self._at = found.end()
        inner = found[1]
        known = not {"$", "`"} & set(_PAIR.sub("", inner))
        return _BACKSLASH.sub(lambda escaped: escaped[1].replace("\n", ""), inner), known

    def _read_documents(self) -> None:
        for end, tabs in self._ends:
            body = []
            while self._at < len(self._text):
                stop = self._text.find("\n", self._at)
                stop = len(self._text) if stop < 0 else stop
                line, self._at = self._text[self._at : stop], stop + 1
                if (line.lstrip("\t") if tabs else line) == end:
                    break
                body.append(line)
            self.documents.append("\n".join(body))
        self._ends = []
