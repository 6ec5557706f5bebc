"""The copy of an experiment on a cluster that is reached over SSH: what goes there and what comes back.

What jobs read goes there before they are handed over. What they say of themselves comes back when somebody looks:
facts, logs, scores and the report. Weights stay until somebody asks for them. What the cluster writes is the
cluster's: nothing that comes from there is ever sent there, but for the tables in the summary, which is a person's.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from time import time

from tuneloop.documents.config import PROJECT_FILE, Profile
from tuneloop.documents.errors import BusyError, FailedError, MissingError, TuneloopError, UnreachableError
from tuneloop.documents.files import (
    make_folder,
    remove_file,
    remove_folder,
    write_json,
    write_text,
)
from tuneloop.documents.locks import exclusive
from tuneloop.documents.profile import path_there
from tuneloop.documents.yamltext import dump_yaml
from tuneloop.experiment.layout import Layout, cleaned_in
from tuneloop.experiment.work import Token
from tuneloop.jobs.answers import Answer
from tuneloop.jobs.naming import name_there, own_name
from tuneloop.jobs.native import Native
from tuneloop.jobs.state import ENDED
from tuneloop.jobs.taking import begin, take_over
from tuneloop.jobs.transport import Here, PartlyError, transport_of

_LAST_WORD = "exit.json"  # of an attempt: with it, all else that it made is there
# What is made while jobs run, by them or by a runner here. The first ones are of a folder's top alone.
_MADE = (
    *("/analysis", "/*.log", "/.git", f"/{PROJECT_FILE}"),
    *(f"/.tuneloop/{name}" for name in ("attempts", "fetched", "inputs", "models", "replaced", "submissions")),
    *("/.tuneloop/runner.*", "/*/metrics.jsonl", "/*/epoch_*", "/*/eval/logs"),
    *(".attempts", "*.lock", "slurm-*.out"),
)
# What comes back of it when somebody looks; the last line is for what the report is made of.
_TOLD = (
    *("start.json", "group.json", "usage.json", "verified.json", "cleaned.json", "metrics.jsonl"),
    *("slurm-*.out", "/.tuneloop/submissions/*.out", "/.tuneloop/submissions/*.id"),
    *("/*/eval/logs/*", "/analysis/***"),
)
# What jobs append to, as commands do here.
_LOGS = ("/run-*.log", "/analyze-experiment.log")
# Attempts that are just being claimed, and what has no business here.
_UNTOLD = ("/*/.attempts/*/.*", "/.tuneloop/attempts/*/.*", "/.tuneloop/inputs", "/.tuneloop/models")
_AGAIN_S = 10.0  # after a copy that broke off
# How long results of an ended job may be refused. File systems of clusters fail over within minutes, and a person who
# looks has the time to mend what is named; after that, waiting for them would be waiting for ever.
_GRACE_S = 300.0
_PATIENCE_S = 5.0  # how long to wait for somebody who sends or fetches just now

_NOT_THERE = "its run may have been cleaned or replaced; what the original of a copied experiment made, only that has"

# A model that the site has already is known by its name and its config.json; the jobs compare the rest.
_PLACE = """\
case $3 in
  "" | /*) model=$3 ;;
  *) model=$(pwd)/$3 ;;  # the home, where a link does not lie
esac
cd -- "$1" && mkdir -p -- "${2%/*}" || exit
if [ -n "$model" ] && [ "$(sha256sum <"$model/config.json" 2>/dev/null)" = "$4  -" ]; then
  [ -e "$2" ] || ln -sfn -- "$model" "$2" || exit
  echo there
else
  [ ! -L "$2" ] || rm -- "$2"
fi
"""


# Nothing is deleted there either.
_SET_ASIDE = """\
cd -- "$1" 2>/dev/null || exit 0
shift
n=1
while [ -e ".tuneloop/replaced/$n" ]; do n=$((n + 1)); done
for name; do
  [ -e "$name" ] || continue
  mkdir -p -- ".tuneloop/replaced/$n/${name%/*}" && mv -- "$name" ".tuneloop/replaced/$n/$name" || exit
done
"""


@dataclass(frozen=True)
class _Record:
    """What was fetched so far. Times are seconds since 1970."""

    taken: float = 0  # the picture of the queue that the last try belongs to
    tried: float = 0
    ended: Sequence[str] = field(default_factory=list)  # jobs of which all that can be had is here
    lacking: Mapping[str, float] = field(default_factory=dict)  # ended jobs whose results were refused, since when
    said: str = ""  # why the last copy was not whole; a connection that broke says nothing


class Mirror:
    def __init__(self, layout: Layout, cluster: str, profile: Profile, *, clock: Callable[[], float] = time) -> None:
        """Raises MissingError for a profile without a folder there, InputError for what ssh could misread."""
        if profile.ssh is None or profile.scratch is None:
            hint = "set its `scratch:` to a folder there that the jobs can read and write"
            raise MissingError(f"the profile `{cluster}` is reached over SSH and has no `scratch`", hint=hint)
        self.layout, self.cluster, self.profile, self.clock = layout, cluster, profile, clock
        self.transport = transport_of(profile)
        self.host = f"{profile.ssh} {profile.ssh_config}"
        self._scratch = PurePosixPath(path_there(profile.scratch))
        self._waiting = layout.fetched(cluster)
        self._prepared = False

    @property
    def folder(self) -> str:
        """The experiment's folder there."""
        return str(self._scratch / name_there(self.layout, self.cluster))

    @property
    def submissions(self) -> str:
        """The folder of the submissions there."""
        return self._there(self.layout.submissions)

    def prepare(self) -> None:
        """Bring what jobs read to the cluster; done again, it brings what has changed since.

        A model may take an hour, so nobody else may have to wait for it: not for the journal, nor for what is
        fetched. Raises UnreachableError for a broken connection, FailedError for what cannot be written there, and
        BusyError where somebody else sends.
        """
        with exclusive(self._waiting / "send.lock", wait=_PATIENCE_S, busy="somebody sends the experiment just now"):
            own_name(self.layout, self.cluster)
            self.transport.push(self.layout.folder, self.folder, exclude=_MADE, links=True)
            for link in sorted(self.layout.inputs.glob("*/*")):
                self._send_input(link)
            self._send_profile()
        self._prepared = True

    def send(self, token: Token) -> None:
        """Bring one submission and the journal to the cluster, after what jobs read where nobody has prepared it.

        Raises what `prepare` does.
        """
        if not self._prepared:
            self.prepare()
        # The job that collects reads the journal; its own hand-over is the last one in it.
        names = [f"/{self.layout.journal.name}", f"/{self.layout.submissions.name}/{token}.slurm"]
        self.transport.push(self.layout.internal, self._there(self.layout.internal), only=names)

    def backed(self, answers: Mapping[Native, Answer], taken: float | None) -> Mapping[Native, Answer]:
        """Fetch what jobs have said since, then return the answers that can be judged by what is here.

        A job that has ended and whose results are not here yet goes on: nothing is known of how it ended. When they
        are refused, its answer says why, and after a time of grace its scheduler has the last word.
        """
        ended = {_name(native) for native, answer in answers.items() if answer.final or answer.state in ENDED}
        going = {_name(native) for native in answers} - ended  # one that was put back into the queue ends anew
        record = self._fetch_for(ended, going, taken or 0)
        return {
            native: _judged(answer, _name(native), record) if _name(native) in ended else answer
            for native, answer in answers.items()
        }

    @property
    def complaint(self) -> str:
        """Why not all could be fetched when it was last tried; empty where it could, or the connection broke."""
        return self._record().said

    def fetch(self, *, damaged: bool = False) -> None:
        """Fetch what jobs have said so far.

        Raises UnreachableError, BusyError where somebody else fetches, and FailedError for what is refused. What came
        through until then is kept, but for the ends of jobs beside whose results something could not be copied: with
        `damaged`, these count, too.
        """
        busy = "somebody fetches the results just now"
        with exclusive(self._waiting / "fetch.lock", wait=_PATIENCE_S, busy=busy):
            self._fetch(damaged=damaged)
        self._write(replace(self._record(), lacking={}, said=""))

    def _fetch(self, *, damaged: bool) -> None:
        begin(self._waiting, PurePosixPath(self.folder).name)
        # An end that is known here must come with all that was made before it, so ends are taken over last.
        waiting = [_LAST_WORD, f"/{self.layout.summary.name}", *_LOGS]
        faults = [*self._copy(self._waiting, waiting), *self._copy(self.layout.folder, _TOLD)]
        take_over(self.layout, self._waiting)
        held = [] if damaged or not faults else _damaged(self.folder, faults)
        Here().push(self._waiting, str(self.layout.folder), only=[_LAST_WORD], exclude=held)
        if faults:
            raise faults[0]

    def _copy(self, target: Path, only: Sequence[str]) -> list[PartlyError]:
        """Copy some of what lies there; return what was in the way of a part of it."""
        try:
            self.transport.fetch(self.folder, target, only=only, exclude=_UNTOLD)
        except PartlyError as error:
            if self.transport.call(["test", "-d", self.folder]).code != 0:
                hint = "what was not fetched before is lost; `tuneloop run-experiment` makes it again"
                raise FailedError(f"there is no folder {self.folder} on `{self.cluster}`", hint=hint) from None
            return [error]
        return []

    def fetch_weights(self, checkpoint: Path) -> None:
        """Fetch a whole checkpoint. Raises FailedError where it is not there, UnreachableError."""
        there = self._there(checkpoint)
        if self.transport.call(["test", "-d", there]).code != 0:
            raise FailedError(f"{there} is not on `{self.cluster}`", hint=_NOT_THERE)
        self.transport.fetch(there, checkpoint)
        if self.transport.call(["test", "-e", self._there(cleaned_in(checkpoint))]).code != 0:
            remove_file(cleaned_in(checkpoint))  # only the weights here had been removed

    def set_aside(self, paths: Iterable[Path]) -> None:
        """Set results aside there as they are here, or they would come back. Raises UnreachableError, FailedError."""
        own_name(self.layout, self.cluster)  # or a copy would set aside what its original made
        names = [self.layout.relative(path) for path in paths]
        called = self.transport.call(["sh", "-s", "--", self.folder, *names], stdin=_SET_ASIDE)
        if called.code != 0:
            raise FailedError(f"could not set results aside on `{self.cluster}`: {called.err.strip()}")
        for name in names:
            remove_folder(self._waiting / name)

    def _there(self, path: Path) -> str:
        return f"{self.folder}/{self.layout.relative(path)}"

    def _send_input(self, link: Path) -> None:
        """Bring what a link stands for to the place of the link, unless the site has that model already."""
        source, model, mark = link.resolve(), "", ""
        if self.profile.models is not None and (source / "config.json").is_file():
            model = str(PurePosixPath(path_there(self.profile.models)) / link.name)
            mark = hashlib.sha256((source / "config.json").read_bytes()).hexdigest()
        name = self.layout.relative(link)
        called = self.transport.call(["sh", "-s", "--", self.folder, name, model, mark], stdin=_PLACE)
        if called.code != 0:
            raise FailedError(f"could not make {self._there(link)} on `{self.cluster}`: {called.err.strip()}")
        if called.out.strip() != "there":
            self.transport.push(source, self._there(link), links=True)

    def _send_profile(self) -> None:
        """Tell the job that collects, which runs there, that its cluster is where it is."""
        near = self.profile.model_copy(update=dict.fromkeys(("ssh", "ssh_config", "scratch", "models")))
        profile = near.model_dump(mode="json", exclude_defaults=True)
        file = self._waiting / PROJECT_FILE
        make_folder(file.parent)
        write_text(file, dump_yaml({"clusters": {self.cluster: profile}}), sync=False)
        self.transport.push(file, f"{self.folder}/{PROJECT_FILE}")

    def _fetch_for(self, ended: set[str], going: set[str], taken: float) -> _Record:
        """Return what is here, after a try to get the rest where one is due."""
        record, now = _without(self._record(), going), self.clock()
        late = not ended <= {*record.ended} and now - record.tried >= _AGAIN_S
        if taken <= record.taken and not late:
            return record
        record = replace(record, taken=taken, tried=now)
        try:
            self._write(record)
            self.fetch(damaged=bool(_overdue(record, now) - {*record.ended}))
            record = replace(record, ended=sorted({*record.ended, *ended}), lacking={}, said="")
        except (UnreachableError, BusyError):
            return record  # no news
        except TuneloopError as error:
            record = _refused(record, ended, error, now)
        with suppress(TuneloopError):  # a folder that cannot be written is what was complained about
            self._write(record)
        return record

    def _record(self) -> _Record:
        with suppress(OSError, ValueError, TypeError):
            return _Record(**json.loads((self._waiting / "record.json").read_bytes()))
        return _Record()

    def _write(self, record: _Record) -> None:
        write_json(self._waiting / "record.json", asdict(record), sync=False)


def mirror_of(layout: Layout, cluster: str, profile: Profile) -> Mirror | None:
    """Return the experiment's copy on a cluster; None where the cluster sees the experiment itself."""
    return None if profile.ssh is None else Mirror(layout, cluster, profile)


def _judged(answer: Answer, name: str, record: _Record) -> Answer:
    """Return what counts of the answer for a job that has ended."""
    why = f"what it made cannot be fetched: {record.said}" if record.said else "what it made is not here yet"
    if name not in record.ended:
        return Answer("running", f"it has ended, and {why}", final=False)
    if name in record.lacking and answer.state == "done":
        return answer._replace(reason=f"its scheduler calls it completed, and {why}")
    return answer


def _without(record: _Record, going: set[str]) -> _Record:
    """Return the record without jobs that go: what ended once and was put back into the queue ends anew."""
    lacking = {name: since for name, since in record.lacking.items() if name not in going}
    return replace(record, ended=sorted({*record.ended} - going), lacking=lacking)


def _refused(record: _Record, ended: set[str], error: TuneloopError, now: float) -> _Record:
    """Return the record after a copy that was refused: ended jobs have until the time of grace is over.

    Only a copy that failed counts at last: what is missing, or cannot be written here, a person can mend.
    """
    lacking = {**dict.fromkeys(sorted(ended - {*record.ended}), now), **record.lacking}
    record = replace(record, lacking=lacking, said=error.problems[0].message)
    given_up = _overdue(record, now) if isinstance(error, FailedError) else set()
    return replace(record, ended=sorted({*record.ended, *given_up}))


def _overdue(record: _Record, now: float) -> set[str]:
    """Return the jobs whose results have been refused for longer than the time of grace."""
    return {name for name, since in record.lacking.items() if now - since >= _GRACE_S}


def _damaged(folder: str, faults: Sequence[PartlyError]) -> list[str]:
    """Return the experiment's folders in which something could not be copied, as patterns; all where nobody can tell.

    rsync names the whole path there in quotes.
    """
    complaints = [line for fault in faults for line in fault.complaints]
    place = re.compile(f'/{re.escape(PurePosixPath(folder).name)}/([^/"]+)')
    found = [place.search(line) for line in complaints]
    names = {match[1] for match in found if match is not None}
    if not complaints or None in found:
        return ["*"]
    # The report belongs to the job that collects.
    return [f"/{name}" for name in sorted(names | ({".tuneloop"} if "analysis" in names else set()))]


def _name(native: Native) -> str:
    return native.id if native.task is None else f"{native.id}_{native.task}"
