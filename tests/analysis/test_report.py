"""What is written: whole, the same every time, safe to open, honest about what is missing."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import pyarrow.csv
import pyarrow.parquet
import pytest

from conftest import CHANCES, make_experiment, rows_of
from tuneloop.analysis import analyze, summary_table, write
from tuneloop.analysis.statistics import Interval
from tuneloop.analysis.visible import plain, visible
from tuneloop.analysis.wording import bracket, number, signed, value_text
from tuneloop.documents.blocks import block_text, replace_block
from tuneloop.experiment.work import Row, Usage

pytestmark = pytest.mark.slow

HOSTILE = (
    "<script>alert(1)</script> | `x` \u202e\x1b[31m <!-- tuneloop:end results --> ![i](http://e.example/i.png)\n"
    + "long" * 500
)


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in {"src", "href", "data", "action"}]

    def handle_data(self, data):
        self.text.append(data)


def page_of(path):
    page = Page()
    page.feed(path.read_text())
    return page


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """One report for all tests that only read it."""
    experiment = make_experiment(tmp_path_factory.mktemp("analysis") / "capitalization")
    return write(analyze(experiment, rows_of(CHANCES)), experiment.layout)


class TestFiles:
    def test_everything_is_written(self, written):
        found = {path.relative_to(written.parent).as_posix() for path in written.parent.rglob("*") if path.is_file()}
        figures = {
            f"figures/{name}.{kind}" for name in ("runs", "variables", "loss", "epochs") for kind in ("png", "svg")
        }
        assert found == {"results.parquet", "results.csv", "report.html", "report.md", *figures}

    def test_same_rows_give_same_bytes(self, written, experiment, rows):
        again = write(analyze(experiment, rows), experiment.layout).parent
        for path in written.parent.rglob("*"):
            if path.is_file():
                assert (again / path.relative_to(written.parent)).read_bytes() == path.read_bytes(), path

    def test_csv_and_parquet_agree(self, experiment, rows):
        nasty = [
            Row("control", "capitalization", "score", None, None, None, "match", f"n{i}", text, "", None)
            for i, text in enumerate(["a\nb", "a\rb", 'q"q,', "", None, "\ud83d cut"])
        ]
        report = write(analyze(experiment, [*rows, *nasty]), experiment.layout)
        table = pyarrow.parquet.read_table(report.parent / "results.parquet")
        read = pyarrow.csv.read_csv(
            report.parent / "results.csv",
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=table.schema, strings_can_be_null=True, quoted_strings_can_be_null=False
            ),
        )
        assert read.equals(table)
        assert table.num_rows == len(rows) + len(nasty)

    def test_columns_name_run_kind_and_variables(self, written):
        table = pyarrow.parquet.read_table(written.parent / "results.parquet")
        assert table.column_names[:6] == ["run", "kind", "seed", "lora_rank", "lr", "source"]
        kinds = set(
            zip(table["run"].to_pylist(), table["kind"].to_pylist(), table["lora_rank"].to_pylist(), strict=True)
        )
        assert ("control", "control", None) in kinds
        assert ("rank32_lr3e-3", "train", 32) in kinds


class TestPage:
    def test_page_needs_nothing_from_outside(self, written):
        page = page_of(written)
        assert "script" not in page.tags
        assert "link" not in page.tags
        assert len(page.links) == 4
        assert all(link.startswith("data:image/svg+xml;base64,") for link in page.links)
        assert "@import" not in written.read_text()
        assert "url(" not in written.read_text()

    def test_sections_stand_in_reading_order(self, written):
        headings = re.findall(r"<h2>(.*?)</h2>", written.read_text())
        assert headings == [
            "Runs",
            "Guardrails",
            "Other evaluations and scorers",
            "Figures",
            "Effect of each variable",
            "Samples side by side",
            "Every scorer and metric",
            "How to read this",
            "Provenance",
        ]
        assert re.findall(r"^## (.*)$", (written.parent / "report.md").read_text(), re.MULTILINE) == headings

    def test_markdown_links_exist(self, written):
        text = (written.parent / "report.md").read_text()
        links = re.findall(r"!\[.*?\]\((.*?)\)", text)
        assert len(links) == 4
        assert all((written.parent / link).is_file() for link in links)

    def test_provenance_tolerates_what_is_missing(self, make, rows):
        experiment = make(("path: data/test.jsonl", "path: data/gone.jsonl"))
        text = write(analyze(experiment, rows), experiment.layout).read_text()
        assert "data/gone.jsonl (not found; no hash in the design)" in text
        assert "not recorded: there is no manifest" in text

    def test_manifest_is_shown(self, experiment, rows):
        experiment.layout.internal.mkdir()
        experiment.layout.manifest.write_text('{"tools": {"torchtune": {"torchtune": "0.6.1"}}, "cores": 2}')
        text = write(analyze(experiment, rows), experiment.layout).read_text()
        assert "tools.torchtune.torchtune" in text
        assert "0.6.1" in text

    def test_what_it_cost_is_shown(self, experiment, rows):
        gpu = Usage(3600, 1800, 900.4, cpus=2, gpus=2, gpu_use=0.75, gpu_memory_mb=41_000.0)
        idle = Usage(3600, 0, 100, cpus=2, gpus=2, gpu_use=0.25)
        compute = {"train/a": [gpu, idle], "train/b": [gpu], "eval/a/e0/longer": [Usage(36, 18, 1200)], "train/c": []}
        write(analyze(experiment, rows), experiment.layout, compute=compute)
        text = (experiment.layout.analysis / "report.md").read_text()
        assert (
            "| compute: training | 2 jobs in 3 attempts, 3.0 h one after the other, 60 min of CPU (17% of what was asked"
            " for), 900 MB of memory at most, 6.0 h of GPU (58% busy), 41,000 MB of GPU memory at most |"
        ) in text
        assert (
            "| compute: evaluation | 1 job, 36 s one after the other, 18 s of CPU, 1,200 MB of memory at most |"
        ) in text

    def test_generation_settings_are_shown(self, experiment, rows):
        greedy = {"generation": {"max_tokens": 16, "do_sample": False}}
        judged = {"scorers": {"graded": {"judge": "a/b|c", "settings": {"seed": 1}}}}
        used = {
            "eval/control/base/capitalization": greedy,
            "eval/rank4_lr3e-4/e1/capitalization": greedy,
            "eval/control/base/longer": judged,
            "eval/rank4_lr3e-4/e1/longer": {"scorers": {"graded": {"judge": "a/d"}}},
            "train/rank4_lr3e-4": {},
        }
        write(analyze(experiment, rows), experiment.layout, used)
        text = (experiment.layout.analysis / "report.md").read_text()
        assert "generation: capitalization | do_sample false, max_tokens 16" in text
        assert "scorers: longer (eval/control/base/longer)" in text  # they differ, so each says whose it is
        assert 'graded {"judge": "a/d"}' in text

    @pytest.mark.parametrize("manifest", ["", "[1, 2", '"text"', "[]", "{}"])
    def test_odd_manifest_is_survived(self, experiment, manifest):
        experiment.layout.internal.mkdir()
        experiment.layout.manifest.write_text(manifest)
        assert write(analyze(experiment, []), experiment.layout).is_file()

    def test_no_rows_still_make_a_page(self, experiment):
        page = page_of(write(analyze(experiment, []), experiment.layout))
        assert "No results yet: none of 5 runs has a score." in page.text


class TestHostile:
    @pytest.fixture
    def hostile(self, make):
        experiment = make(("words?", "words? <script>alert(0)</script>"), name="hostile & <b>")
        rows = [
            Row(run, "capitalization", "score", value, epoch, None, "match", f"{item}<i>", HOSTILE, HOSTILE, HOSTILE)
            for item in range(30)
            for run, epoch, value in [("control", None, 0.0), ("rank4_lr3e-4", 1, float(item % 2))]
        ]
        return experiment, analyze(experiment, rows)

    def test_markup_stays_text(self, hostile):
        experiment, analysis = hostile
        page = page_of(write(analysis, experiment.layout))
        assert "script" not in page.tags
        assert "i" not in page.tags
        assert "b" not in page.tags
        assert "<script>alert(1)</script>" in "".join(page.text)

    def test_markdown_tables_keep_their_shape(self, hostile):
        experiment, analysis = hostile
        text = (write(analysis, experiment.layout).parent / "report.md").read_text()
        assert "<script" not in text
        assert "<!--" not in text
        assert not re.search(r"(?<!\\)\]\(http", text)
        table = [line for line in text.splitlines() if line.startswith("| ") and "alert" in line]
        assert len(table) == 20
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {7}

    def test_summary_table_fits_a_generated_block(self, hostile):
        _, analysis = hostile
        document = replace_block("# Mine\n", "results", summary_table(analysis))
        assert block_text(document, "results") == summary_table(analysis).strip("\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" a b ", "·a b·"),
        ("a\n", "a↵ "),
        ("a\tb", "a⇥ b"),
        ("", "empty"),
        (None, "no text"),
        ("   ", "···"),
        ("a\x1b[0m", "a\\x1b[0m"),
        ("a\u202eb", "a\\u202eb"),
        ("naïve 日本 🎈", "naïve 日本 🎈"),
        ("x" * 700, "x" * 600 + " … 100 more characters"),
    ],
)
def test_whitespace_is_made_visible(text, shown):
    assert plain(text) == shown


def test_marks_are_told_from_text():
    assert [piece.mark for piece in visible(" a")] == [True, False]


def test_numbers_read_as_people_write_them():
    assert (number(-0.001), number(-0.25), signed(0.914), signed(0.0)) == ("0.00", "−0.25", "+0.91", "0.00")  # noqa: RUF001
    assert bracket(Interval(-0.034, 0.05)) == " [−0.03, 0.05]"  # noqa: RUF001
    assert [value_text(value) for value in (3e-4, True, None, [1, 2], 0.05)] == ["3e-4", "true", "–", "1, 2", "0.05"]  # noqa: RUF001


def test_many_runs_stay_readable(make):
    experiment = make(("lora_rank: [4, 32], lr: [3e-4, 3e-3]", "lora_rank: [1, 2, 3, 4, 5, 6], lr: [1, 2, 3, 4, 5]"))
    runs = [run.name for run in experiment.runs if run.kind == "train"]
    analysis = analyze(experiment, rows_of({"control": (0.3,)} | dict.fromkeys(runs, (0.4, 0.5)), n=20))
    assert write(analysis, experiment.layout).stat().st_size < 2_000_000
    assert "6 more runs stand in `analysis/report.html`" in summary_table(analysis)


def test_importing_analysis_is_cheap():
    heavy = "pandas pyarrow scipy numpy matplotlib jinja2"
    code = f"import sys, tuneloop.analysis; print([name for name in {heavy.split()!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
