"""Make the capitalization data: random words and the same words with only the first letter upper-case.

Knows the splits, their sizes and their word lengths. Every row has its own random stream, keyed on seed,
split and row, so that more training rows change no other row. No word is in two splits, and no word is
already capitalized, so a model that copies its input scores zero.
"""

import argparse
import json
import random
import string
from itertools import count
from pathlib import Path
from typing import NamedTuple

SEED = 1


class Split(NamedTuple):
    rows: int
    lengths: range


SPLITS = {
    "train": Split(2_000, range(3, 6)),
    "validation": Split(100, range(3, 6)),
    "test": Split(100, range(3, 6)),
    "longer": Split(100, range(6, 7)),  # the base copies six letters; no word of training has that many
}


def word_for(key: str, lengths: range, taken: set[str]) -> str:
    """Return the first word of the stream `key` that is new and not its own answer."""
    for attempt in count():
        stream = random.Random(f"capitalization/{key}/{attempt}")
        word = "".join(stream.choices(string.ascii_letters, k=stream.choice(lengths)))
        # Equal apart from case counts as the same word, or a test answer could be a training answer.
        if word.lower() not in taken and word != word.capitalize():
            return word
    raise AssertionError("unreachable: count() does not end")


def make_splits(seed: int) -> dict[str, list[str]]:
    """Return the words of every split; the small splits draw first, so a larger training set leaves them alone."""
    taken: set[str] = set()
    words: dict[str, list[str]] = {}
    for name, split in sorted(SPLITS.items(), key=lambda item: item[1].rows):
        words[name] = []
        for row in range(split.rows):
            word = word_for(f"{seed}/{name}/{row}", split.lengths, taken)
            taken.add(word.lower())
            words[name].append(word)
    return words


def as_jsonl(words: list[str]) -> str:
    return "".join(json.dumps({"word": word, "capitalized": word.capitalize()}) + "\n" for word in words)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data", help="folder for the splits")
    parser.add_argument("--seed", type=int, default=SEED, help="(default: %(default)s)")
    arguments = parser.parse_args()

    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, words in make_splits(arguments.seed).items():
        (arguments.out / f"{name}.jsonl").write_text(as_jsonl(words), encoding="utf-8")
        print(f"{name}: {len(words)} rows")


if __name__ == "__main__":
    main()
