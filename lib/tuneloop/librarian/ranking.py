"""Which skill a request speaks of, by its words alone: a stand-in for the model that reads the same listing.

Pure. It knows nothing of what words mean, so it shows whether the descriptions hold the words of those who ask, and
whether two skills claim the same ones.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from math import log

from tuneloop.librarian.words import stems

# Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), 3.3: good values lie
# within 1.2 < k1 < 2 and 0.5 < b < 0.8; these are the usual ones.
_K1 = 1.2
_B = 0.75
_CONTRAST = re.compile(r"\bNot for\b[^.]*\.?")
_NAMED = re.compile(r"([^()]*)\(([^()]*)\)")


def rank(request: str, descriptions: Mapping[str, str]) -> list[tuple[str, float]]:
    """Return the skills that share a word with the request, best first, each with its BM25 score.

    score(q, d) = sum over t in q of idf(t) * f (k1 + 1) / (f + k1 (1 - b + b |d| / mean |d|)), with f the count of t
    in d and idf(t) = ln(1 + (N - n + 0.5) / (n + 0.5)), n of N skills having t. A name counts as part of its text.
    """
    texts = {name: Counter(words) for name, words in own_words(descriptions).items()}
    mean = sum(text.total() for text in texts.values()) / max(1, len(texts))
    asked = set(stems(request))
    spread = Counter(stem for text in texts.values() for stem in text)
    scores = {}
    for name, text in texts.items():
        norm = _K1 * (1 - _B + _B * text.total() / mean)
        scores[name] = sum(
            log(1 + (len(texts) - spread[stem] + 0.5) / (spread[stem] + 0.5))
            * text[stem] * (_K1 + 1) / (text[stem] + norm)
            for stem in sorted(asked & set(text))
        )
    return sorted(((n, s) for n, s in scores.items() if s > 0), key=lambda item: (-item[1], item[0]))


def own_words(descriptions: Mapping[str, str]) -> dict[str, list[str]]:
    found = {name: stems(name) for name in descriptions}
    for name, text in descriptions.items():
        found[name] += stems(_CONTRAST.sub(" ", text))
        for sentence in _CONTRAST.findall(text):
            for words, siblings in _NAMED.findall(sentence):
                for sibling in re.split(r"[,\s]+", siblings):
                    if sibling in found:
                        found[sibling] += stems(words)
    return found
