"""Frontmatter documents: Markdown whose YAML head is the data.

People own the body: it is carried byte by byte and never parsed. A head that people own is never dumped
again, so `Document.render` is for heads that commands own and for a document's first version.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from frontmatter.default_handlers import BaseHandler

from tuneloop.documents.errors import InputError, Problem
from tuneloop.documents.schema import Schema, validate
from tuneloop.documents.yamltext import dump_yaml, lines_of, load_yaml

S = TypeVar("S", bound=Schema)


class StrictYAMLHandler(BaseHandler):  # type: ignore[misc]  # python-frontmatter ships no types
    """python-frontmatter's YAML handler, made strict: its own strips the body and takes an unclosed head for none."""

    # Not `\s*`, which would take the empty lines that a body begins with.
    FM_BOUNDARY = re.compile(r"^---[ \t]*\r?$", re.MULTILINE)
    START_DELIMITER = END_DELIMITER = "---"

    def __init__(self, source: Path | None = None) -> None:
        self.source = source
        super().__init__()

    def split(self, text: str) -> tuple[str, str]:
        opening = self.FM_BOUNDARY.match(text)
        if opening is None:
            raise InputError(Problem("no frontmatter", self.source, 1, hint="begin the file with a line `---`"))
        closing = self.FM_BOUNDARY.search(text, opening.end())
        if closing is None:
            raise InputError(Problem("the head is never closed", self.source, 1, hint="end the head with a line `---`"))
        return text[opening.end() + 1 : closing.start()], text[closing.end() + 1 :]

    def load(self, fm: str, **_: object) -> Any:
        return load_yaml(fm, self.source, first_line=2)

    def export(self, metadata: dict[str, object], **_: object) -> str:
        return dump_yaml(metadata)


@dataclass(frozen=True)
class Document(Generic[S]):
    data: S
    body: str

    def render(self) -> str:
        return f"---\n{dump_yaml(self.data.model_dump(mode='json', exclude_none=True))}---\n{self.body}"


def parse(text: str, schema: type[S], source: Path | None = None) -> Document[S]:
    """Return the document in `text`, or raise one InputError with every problem in its head."""
    handler = StrictYAMLHandler(source)
    head, body = handler.split(text)
    value = handler.load(head)
    return Document(validate(schema, value, source, lines_of(head, first_line=2)), body)
