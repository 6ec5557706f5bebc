"""Hints stay short enough to read."""

from tuneloop.documents.errors import did_you_mean


def test_a_near_word_is_told_alone_and_of_many_others_the_first_ones() -> None:
    runs = [f"run{number}" for number in range(1000)]
    assert did_you_mean("run99x", runs).startswith("did you mean `run99")
    assert did_you_mean("zzz", runs[:2]) == "known: `run0`, `run1`"
    assert did_you_mean("zzz", runs).endswith("`run19` and 980 more")
