"""Generated blocks: the parts of a person's document that commands may replace.

A block stands between `<!-- tuneloop:begin NAME -->` and `<!-- tuneloop:end NAME -->`; every byte around it
survives. Pure text in, text out.
"""

from pathlib import Path

from tuneloop.documents.errors import InputError, Problem


def replace_block(text: str, name: str, content: str, source: Path | None = None) -> str:
    """Return `text` with the block `name` holding `content`; a missing block is added at the end.

    Raises InputError when a marker stands alone or twice.
    """
    begin, end = _markers(name)
    starts, ends = text.count(begin), text.count(end)
    block = f"{begin}\n{content.rstrip()}\n{end}"
    if starts == ends == 0:
        gap = "" if not text or text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
        return f"{text}{gap}{block}\n"
    if starts != 1 or ends != 1 or text.index(begin) > text.index(end):
        line = text[: text.find(begin if starts else end)].count("\n") + 1
        raise InputError(
            Problem(
                f"the markers of the generated block `{name}` do not pair",
                source,
                line,
                hint=f"keep one `{begin}` followed by one `{end}`, or delete both",
            )
        )
    before, rest = text.split(begin)
    return before + block + rest.split(end)[1]


def block_text(text: str, name: str) -> str | None:
    """Return what stands in the block, or None where there is no such block."""
    begin, end = _markers(name)
    if begin not in text or end not in text:
        return None
    return text.split(begin, 1)[1].split(end, 1)[0].strip("\n")


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- tuneloop:begin {name} -->", f"<!-- tuneloop:end {name} -->"
