"""Text that tools and models wrote, made fit for a terminal: no escape sequences, no half-drawn progress bars."""

import re

# Escape sequences of terminals: CSI with its parameters, OSC up to its end, and two-letter ones.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Return the text without what would steer a terminal; newlines and tabs stay."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n")))


def last_drawn(line: str) -> str:
    """Return what a line shows in the end: a progress bar draws itself anew after each carriage return."""
    parts = [part for part in line.split("\r") if part.strip()]
    return plain(parts[-1]) if parts else ""
