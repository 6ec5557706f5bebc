"""Make the preference data: demonstrations in two styles, pairs that prefer one of them, and words to be tested on.

Knows the splits and their sizes. Every row has its own random stream, keyed on seed, split and row. No word is in
two splits, and none is written the same in both styles.
"""

import argparse
import json
import random
import string
from collections.abc import Iterator
from itertools import count
from pathlib import Path

SEED = 1
ROWS = {"demonstrations": 2_000, "pairs": 600, "pairs_validation": 100, "test": 100}


def words(split: str, seed: int, taken: set[str]) -> Iterator[str]:
    """Yield the words of a split: 3 to 5 letters in mixed case, new whatever their case."""
    for row in range(ROWS[split]):
        for attempt in count():
            stream = random.Random(f"preference/{seed}/{split}/{row}/{attempt}")
            word = "".join(stream.choices(string.ascii_letters, k=stream.randint(3, 5)))
            if word.lower() not in taken:
                taken.add(word.lower())
                yield word
                break


def row_of(split: str, word: str, seed: int) -> dict[str, str]:
    """Return a word's row: a demonstration is written in either style, by chance."""
    styles = {"capitalized": word.capitalize(), "lower": word.lower()}
    if split == "demonstrations":
        style = random.Random(f"preference/{seed}/style/{word}").choice(sorted(styles))
        return {"word": word, "written": styles[style]}
    if split == "test":
        return {"word": word, "written": styles["capitalized"]}
    return {"word": word, "better": styles["capitalized"], "worse": styles["lower"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data", help="folder for the splits")
    parser.add_argument("--seed", type=int, default=SEED, help="(default: %(default)s)")
    arguments = parser.parse_args()

    arguments.out.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    for split in sorted(ROWS, key=lambda name: ROWS[name]):  # a larger training set leaves the small splits alone
        rows = [row_of(split, word, arguments.seed) for word in words(split, arguments.seed, taken)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (arguments.out / f"{split}.jsonl").write_text(text, encoding="utf-8")
        print(f"{split}: {len(rows)} rows")


if __name__ == "__main__":
    main()
