"""From rows to verdicts: which epoch counts, what is compared, what is missing."""

from dataclasses import replace

import pytest

from conftest import CHANCES, evaluated, rows_of, trained
from tuneloop.analysis import analyze, summary_table
from tuneloop.analysis.samples import MOST
from tuneloop.analysis.view import sections
from tuneloop.analysis.wording import answer, how_judged
from tuneloop.documents.errors import InputError
from tuneloop.experiment.work import Row


def by_name(analysis):
    return {result.run.name: result for result in analysis.results}


def without(rows, run, source=None, epoch=None):
    return [
        row
        for row in rows
        if row.run != run or (source and row.source != source) or (epoch is not None and row.epoch != epoch)
    ]


class TestVerdicts:
    def test_runs_are_judged_against_the_control(self, experiment, rows):
        found = by_name(analyze(experiment, rows))
        assert list(found) == ["control", "rank4_lr3e-4", "rank4_lr3e-3", "rank32_lr3e-4", "rank32_lr3e-3"]
        assert [result.verdict for result in found.values()] == [None, "inconclusive", "better", "better", "better"]
        assert found["rank32_lr3e-3"].survives
        assert found["rank32_lr3e-3"].score.mean.n == 100

    def test_answer_says_it_in_one_sentence(self, experiment, rows):
        assert answer(analyze(experiment, rows)) == (
            "3 of 4 runs are better than the control on capitalization (match), 1 inconclusive; "
            "best: rank32_lr3e-3 +0.92 [0.84, 0.97], n = 100; 4 comparisons."
        )

    def test_minimize_mirrors_the_verdict(self, make, rows):
        experiment = make(("smallest_effect: 0.05", "smallest_effect: 0.05, direction: minimize"))
        found = by_name(analyze(experiment, rows))
        assert found["rank32_lr3e-3"].verdict == "worse"
        assert analyze(experiment, rows).best.run.name == "rank4_lr3e-4"

    def test_small_effect_stays_inconclusive(self, make, rows):
        experiment = make(("smallest_effect: 0.05", "smallest_effect: 0.5"))
        assert by_name(analyze(experiment, rows))["rank32_lr3e-4"].verdict == "inconclusive"
        assert "not zero, but smaller than 0.5" in summary_table(analyze(experiment, rows))

    def test_named_scorer_is_used(self, make, rows):
        experiment = make(("{evaluation: capitalization,", "{evaluation: capitalization, scorer: similarity,"))
        assert analyze(experiment, rows).primary.series.name == "capitalization (similarity)"

    def test_unknown_scorer_is_an_error(self, make, rows):
        experiment = make(("{evaluation: capitalization,", "{evaluation: capitalization, scorer: matsch,"))
        with pytest.raises(InputError, match=r"has no scorer `matsch` in the results\n  hint: did you mean `match`\?"):
            analyze(experiment, rows)

    def test_order_of_items_changes_nothing(self, experiment, rows):
        shuffled = sorted(rows, key=lambda row: (row.run, row.source, row.scorer or "", hash(row.sample)))
        one, two = by_name(analyze(experiment, rows)), by_name(analyze(experiment, shuffled))
        for name, result in one.items():
            assert (result.verdict, result.difference) == (two[name].verdict, two[name].difference)

    def test_unpaired_items_are_counted_and_dropped(self, experiment, rows):
        extra = Row("rank32_lr3e-3", "capitalization", "score", 1.0, 1, None, "match", "101")
        found = by_name(analyze(experiment, [*rows, extra]))["rank32_lr3e-3"]
        assert (found.difference.n, found.difference.unpaired, found.score.mean.n) == (100, 1, 101)
        before = by_name(analyze(experiment, rows))["rank32_lr3e-3"].difference
        assert found.difference == replace(before, unpaired=1)

    def test_items_without_score_are_left_out(self, experiment, rows):
        holes = [
            replace(row, value=float("nan")) if row.sample == "7" and row.run == "rank4_lr3e-3" else row for row in rows
        ]
        analysis = analyze(experiment, holes)
        score = by_name(analysis)["rank4_lr3e-3"].score
        assert (score.mean.n, score.series.unscored[score.at]) == (99, 1)
        assert "1 without a score" in summary_table(analysis)


class TestEpochs:
    def test_last_epoch_counts(self, experiment, rows):
        assert {result.epoch for result in analyze(experiment, rows).results} == {None, 1}

    def test_lowest_validation_loss_counts_where_declared(self, make, rows):
        validation = "data:\n  - {split: validation, path: data/test.jsonl}\n"
        experiment = make(("metrics:\n", "metrics:\n  at: lowest-validation-loss\n"), ("data:\n", validation))
        worse = [
            replace(row, value=9.0)
            if row.run == "rank4_lr3e-3" and row.metric == "validation_loss" and row.epoch == 1
            else row
            for row in rows
        ]
        found = by_name(analyze(experiment, worse))
        assert (found["rank4_lr3e-3"].epoch, found["rank32_lr3e-3"].epoch) == (0, 1)

    def test_missing_last_epoch_is_no_result(self, experiment, rows):
        holes = without(rows, "rank4_lr3e-3", "capitalization", 1)
        states = {"eval/rank4_lr3e-3/e1/capitalization": "failed", "train/rank4_lr3e-3": "done"}
        result = by_name(analyze(experiment, holes, states=states))["rank4_lr3e-3"]
        assert (result.epoch, result.score, result.state) == (1, None, "failed")

    def test_evaluations_may_name_their_epochs(self, make, rows):
        experiment = make(
            ("task: capitalization.py, split: test}\n  - ", "task: capitalization.py, epochs: [0]}\n  - ")
        )
        assert by_name(analyze(experiment, rows))["rank4_lr3e-3"].epoch == 0


class TestMissing:
    def test_missing_runs_are_named_with_their_state(self, experiment, rows):
        holes = without(rows, "rank32_lr3e-4")
        states = {"train/rank32_lr3e-4": "failed (time limit)", "eval/rank32_lr3e-4/e1/longer": "blocked"}
        analysis = analyze(experiment, holes, states=states)
        assert by_name(analysis)["rank32_lr3e-4"].state == "failed (time limit)"
        assert answer(analysis).endswith("No result from 1 run: rank32_lr3e-4, failed (time limit).")
        assert len(analysis.compared) == 3

    def test_no_control_means_no_verdict(self, experiment, rows):
        analysis = analyze(experiment, without(rows, "control"))
        assert analysis.compared == []
        assert answer(analysis).startswith("There is no control run with scores, so no run is called better or worse")
        assert "Without a control run there is nothing to compare with" in " ".join(how_judged(analysis))

    def test_no_rows_is_an_answer_too(self, experiment):
        assert answer(analyze(experiment, [])) == "No results yet: none of 5 runs has a score."
        assert "control" in summary_table(analyze(experiment, []))

    def test_training_alone_is_reported(self, experiment):
        analysis = analyze(experiment, trained("rank4_lr3e-4", 1.0))
        assert analysis.primary is None
        assert "1.150" in summary_table(analysis)

    def test_undeclared_metric_is_said_to_be(self, make, rows):
        text = "metrics:\n  primary: {evaluation: capitalization, smallest_effect: 0.05}\n  guardrails:\n"
        experiment = make((text + "    - {evaluation: longer, scorer: similarity, tolerance: 0.05}\n", ""))
        analysis = analyze(experiment, rows)
        assert not analysis.primary.declared
        assert "The design declares no metric" in how_judged(analysis)[0]

    def test_run_beside_the_design_is_kept(self, experiment, rows):
        added = evaluated("trial7", 0, "capitalization", 0.9)
        assert by_name(analyze(experiment, [*rows, *added]))["trial7"].verdict == "better"


class TestGuardrails:
    def test_each_run_is_held_or_not(self, experiment, rows):
        found = {item.run.name: item.held for item in analyze(experiment, rows).guardrails}
        assert found["rank32_lr3e-3"] == "held"
        assert found["rank4_lr3e-4"] == "inconclusive"

    def test_loss_beyond_tolerance_is_broken(self, make):
        experiment = make(("scorer: similarity, tolerance: 0.05", "scorer: match, tolerance: 0.1"))
        rows = rows_of({**CHANCES, "control": (0.9,)})
        found = {item.run.name: item.held for item in analyze(experiment, rows).guardrails}
        assert found["rank4_lr3e-4"] == "broken"

    def test_guardrail_without_scores_is_shown(self, experiment, rows):
        analysis = analyze(experiment, [row for row in rows if row.source != "longer"])
        assert {item.run.name for item in analysis.guardrails} == set(CHANCES) - {"control"}
        assert {(item.name, item.held) for item in analysis.guardrails} == {("longer", None)}
        (section,) = [item for item in sections(analysis, [], []) if item.heading == "Guardrails"]
        assert [line[-1].text for line in section.blocks[0].lines] == ["not evaluated"] * 4


class TestScale:
    def test_mean_stays_on_the_scale_of_all_rows(self, experiment):
        low = [
            Row("control", "capitalization", "score", value, None, None, "similarity", str(i))
            for i, value in enumerate([0.0, 0.0, 0.0, 0.08])
        ]
        (score,) = analyze(experiment, low).everything
        assert score.mean.interval.low == 0.0
        beyond = Row("rank4_lr3e-3", "capitalization", "score", 1.5, 1, None, "similarity", "0")
        score = analyze(experiment, [*low, beyond]).everything[0]
        assert score.mean.interval.low < 0


class TestTogether:
    def test_seeds_of_a_cell_are_averaged_by_item(self, make):
        experiment = make(("seeds: [1]", "seeds: [1, 2, 3]"))
        rows = rows_of({"control": (0.3,)} | {run.name: (0.4, 0.6) for run in experiment.runs if run.kind == "train"})
        cells = analyze(experiment, rows).cells
        assert len(cells) == 4
        for cell in cells:
            assert (cell.seeds, cell.mean.n) == ((1, 2, 3), 100)
            assert cell.lowest <= cell.mean.mean <= cell.highest
            assert cell.difference.interval.low > 0

    def test_one_seed_makes_no_cells(self, experiment, rows):
        assert analyze(experiment, rows).cells == ()

    def test_effect_compares_matched_runs(self, experiment, rows):
        rank, rate = analyze(experiment, rows).effects
        assert (rank.variable, rank.settings, rate.variable) == ("lora_rank", 2, "lr")
        assert [level.value for level in rate.levels] == [3e-4, 3e-3]
        assert rate.levels[0].difference is None
        assert rate.levels[1].difference.estimate > rank.levels[1].difference.estimate > 0

    def test_missing_run_takes_its_partner_out(self, experiment, rows):
        effects = analyze(experiment, without(rows, "rank4_lr3e-3")).effects
        assert [(effect.settings, effect.levels[0].runs) for effect in effects] == [(1, 1), (1, 1)]

    def test_unmatched_values_have_no_difference(self, make, rows):
        experiment = make(("{lora_rank: [4, 32], lr: [3e-4, 3e-3]}", "[{a: 1, b: 1}, {a: 2, b: 2}]"))
        chances = {run.name: (0.2, 0.5) for run in experiment.runs if run.kind == "train"}
        effects = analyze(experiment, rows_of({"control": (0.1,)} | chances)).effects
        assert [effect.settings for effect in effects] == [0, 0]
        assert all(level.difference is None for effect in effects for level in effect.levels)


class TestSamples:
    def test_changed_items_come_first(self, experiment, rows):
        samples = analyze(experiment, rows).samples
        assert samples.run.run == "rank32_lr3e-3"
        assert len(samples.shown) == MOST
        order = [sample.change for sample in samples.shown]
        assert order == sorted(order, key=["gained", "lost", "same"].index)
        assert sum(samples.counts.values()) == 100

    def test_losses_keep_their_room(self, experiment):
        chances = {**CHANCES, "control": (0.5,)}
        samples = analyze(experiment, rows_of(chances)).samples
        shown = [sample.change for sample in samples.shown]
        assert shown.count("lost") == min(samples.counts["lost"], 6)
        assert shown.count("same") >= 4
