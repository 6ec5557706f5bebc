"""Text that tools and models wrote, made fit for a terminal: no escape sequences, no half-drawn progress bars."""

import re
from collections.abc import Iterator

# Escape sequences of terminals: CSI with its parameters, OSC up to its end, and two-letter ones.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_UP = "\x1b[A"
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Return the text without what would steer a terminal; newlines and tabs stay."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n")))


def last_drawn(line: str) -> str:
    """Return what a line shows in the end: a progress bar draws itself anew after each carriage return."""
    parts = [part for part in line.split("\r") if part.strip()]
    return plain(parts[-1]) if parts else ""


class Screen:
    """Turns the raw lines of a log into what a terminal showed in the end.

    tqdm draws a second bar on the line below and moves the cursor up again, so each of its drawings ends a line;
    such a line is held back until something else is printed.
    """

    def __init__(self) -> None:
        self.held = ""

    def shown(self, line: str) -> Iterator[str]:
        if line.rstrip().endswith(_UP):
            self.held = line
            return
        held, self.held = self.held, ""
        if held and not line.startswith("\r"):
            yield last_drawn(held)
        yield last_drawn(line)

    def left(self) -> Iterator[str]:
        """Yield the drawing that is still held back, at the end of a log."""
        held, self.held = self.held, ""
        if held:
            yield last_drawn(held)
