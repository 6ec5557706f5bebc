"""Numbers in the words of a worker's estimates and notes."""


def counted(number: int, noun: str) -> str:
    """Return `1 core`, `14,400 tokens`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
