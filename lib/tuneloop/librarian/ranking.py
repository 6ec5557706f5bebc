"""Which skill a request speaks of, by its words alone: a stand-in for the model that reads the same listing.

Pure. It understands nothing, so it shows whether the descriptions hold the words of those who ask, and whether two
skills claim the same ones.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import log

from tuneloop.librarian.pack import Skill
from tuneloop.librarian.words import MEANINGS, stems

# Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009): values with
# 1.2 < k1 < 2 and 0.5 < b < 0.8 do well in many circumstances; these are the customary ones.
_K1 = 1.2
_B = 0.75
# What a request must score to be about any skill. Chosen on the cases whose author knew the descriptions: all values
# from 0.8 to 1.2 put as many of them right, give or take one.
ENOUGH = 1.0

_CONTRAST = re.compile(r"\bNot for\b[^.]*\.?")
_NAMED = re.compile(r"([^()]*)\(([^()]*)\)")


@dataclass(frozen=True)
class Index:
    """The skills, ready to be compared: the stems of each, and all that the pack's own texts use."""

    texts: Mapping[str, Counter[str]]
    known: frozenset[str]

    def weight(self, stem: str) -> float:
        """Return ln(1 + (N - n + 0.5) / (n + 0.5)), with n of N skills having the stem."""
        having = sum(stem in text for text in self.texts.values())
        return log(1 + (len(self.texts) - having + 0.5) / (having + 0.5))

    @property
    def mean_length(self) -> float:
        return sum(text.total() for text in self.texts.values()) / len(self.texts)


def index(skills: Iterable[Skill]) -> Index:
    """Return the index of these skills, at least one.

    A skill's text is its name, its description, and what siblings say it is for. What a description says it is not
    for counts for the sibling named in the parentheses behind it, not for the skill itself.
    """
    pack = list(skills)
    descriptions = {skill.name: skill.head.description for skill in pack}
    bodies = (stem for skill in pack for stem in stems(skill.body))
    texts = {name: Counter(stems(name) + stems(_CONTRAST.sub(" ", text))) for name, text in descriptions.items()}
    for text in descriptions.values():
        for sibling, words in _said_of_siblings(text):
            if sibling in texts:
                texts[sibling].update(stems(words))
    return Index(texts, frozenset(bodies).union(MEANINGS, *texts.values()))


def rank(request: str, skills: Index) -> list[tuple[str, float]]:
    """Return the skills that share a word with the request, best first, each with its score.

    The score is BM25, the sum over the request's stems t of weight(t) f (k1 + 1) / (f + k1 (1 - b + b L / mean L)),
    with f the count of t in a skill's text and L the text's length, times the share of the request's words that the
    pack uses anywhere: who speaks of other things shares a word by chance.
    """
    asked = sorted(set(stems(request)))
    share = _known_share(asked, skills.known)
    scores = {name: share * _bm25(asked, text, skills) for name, text in skills.texts.items()}
    return sorted(((name, score) for name, score in scores.items() if score > 0), key=lambda item: (-item[1], item[0]))


def first(request: str, skills: Index) -> str | None:
    """Return the skill that the request is about, or None when it is about none of them."""
    ranked = rank(request, skills)
    return ranked[0][0] if ranked and ranked[0][1] >= ENOUGH else None


def _bm25(asked: Iterable[str], text: Counter[str], skills: Index) -> float:
    damping = _K1 * (1 - _B + _B * text.total() / skills.mean_length)
    return sum(skills.weight(stem) * text[stem] * (_K1 + 1) / (text[stem] + damping) for stem in asked if text[stem])


def _known_share(asked: Iterable[str], known: frozenset[str]) -> float:
    """Numbers and what contains one (sizes, versions, names of models) say nothing about the trade."""
    words = [stem for stem in asked if stem.isalpha()]
    return sum(stem in known for stem in words) / len(words) if words else 0.0


def _said_of_siblings(description: str) -> Iterator[tuple[str, str]]:
    for sentence in _CONTRAST.findall(description):
        for words, siblings in _NAMED.findall(sentence):
            yield from ((sibling, words) for sibling in re.split(r"[,\s]+", siblings))
