"""The SLURM executor: the scheduler waits, orders, starts and puts back; nothing of ours stays alive for it."""

import os
import socket
from collections.abc import Mapping, Sequence

from tuneloop.documents.cache import clusters_folder
from tuneloop.documents.config import Profile
from tuneloop.documents.errors import InputError, UnreachableError
from tuneloop.documents.files import write_text
from tuneloop.documents.logs import seconds
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.work import Token
from tuneloop.jobs.answers import News
from tuneloop.jobs.batches import Batch, Sizes
from tuneloop.jobs.executors import Answer, Native, Order
from tuneloop.jobs.mirror import mirror_of
from tuneloop.jobs.slurm import handing
from tuneloop.jobs.slurm.snapshot import Snapshot
from tuneloop.jobs.slurm.wrapper import is_array, render
from tuneloop.jobs.state import JobStatus
from tuneloop.jobs.transport import Here, Transport

_MOST_IDS = 500  # in one call of scancel
# SLURM tells apart what each task waits for while fewer than `correspond_after_task_cnt` of them are left, 10 unless a
# site says otherwise; the others wait as if for all of the array, and are given up when one of it fails.
_CORRESPONDING = 9


class Slurm:
    def __init__(self, layout: Layout, cluster: str, profile: Profile) -> None:
        self.layout, self.cluster, self.profile = layout, cluster, profile
        self.sizes = Sizes(profile.limits.array, _CORRESPONDING)
        self.most_jobs = profile.limits.jobs
        self.mirror = mirror_of(layout, cluster, profile)
        self.transport: Transport = Here() if self.mirror is None else self.mirror.transport
        # Profiles of one cluster share one picture of its queue. The host, since homes may be shared by clusters.
        here = f"{socket.gethostname()} {os.environ.get('SLURM_CONF', '')}"
        reached = here if self.mirror is None else f"ssh {self.mirror.host}"
        self.snapshot = Snapshot(reached, self.transport, clusters_folder())

    @property
    def folder(self) -> str:
        """The folder of the submissions, as the cluster sees it."""
        return str(self.layout.submissions) if self.mirror is None else self.mirror.submissions

    def prepare(self) -> None:
        _check_folder(self.folder)
        if self.mirror is not None:
            self.mirror.prepare()

    def submit(self, batch: Batch, after: Sequence[Order]) -> Native:
        _check_folder(self.folder)
        text = render(batch, after, self.profile, self.layout.name)
        write_text(self.layout.submissions / f"{batch.token}.slurm", text)
        if self.mirror is not None:
            self.mirror.send(batch.token)
        number = handing.submit(self.transport, self.folder, batch.token)
        return Native(self.cluster, number, 0 if is_array(batch) else None)

    def find(self, token: Token) -> Native | None:
        # No question to the cluster: this is asked each time that somebody looks.
        return self._native(token, handing.noted(self.layout.submissions, token))

    def settle(self, token: Token) -> Native | None:
        return self._native(token, handing.given_up(self.transport, self.folder, token))

    def observe(self, jobs: Mapping[Native, str]) -> Mapping[Native, Answer]:
        times = {native: seconds(time) for native, time in jobs.items()}
        answers = self.snapshot.answers(times)
        return answers if self.mirror is None else self.mirror.backed(answers, self.snapshot.news.taken)

    def renew(self) -> None:
        self.snapshot.renew()

    def news(self) -> News:
        unfetched = "" if self.mirror is None else self.mirror.complaint
        return self.snapshot.news._replace(unfetched=unfetched)

    def withdraw(self, jobs: Sequence[Native]) -> None:
        self._scancel(jobs, "--state=PENDING")

    def cancel(self, jobs: Sequence[JobStatus]) -> None:
        self._scancel([job.native for job in jobs if job.native is not None])

    def in_queue(self) -> int:
        called = self.transport.call(["squeue", "--me", "--all", "--noheader", "--array", "--format=%A"])
        if called.code != 0:
            raise UnreachableError(f"squeue failed: {called.err.strip()}", hint="run the same command again")
        return len(called.out.split())

    def alive(self) -> bool:
        return True

    def start(self) -> None:
        """Do nothing: the scheduler starts what may start."""

    def _native(self, token: Token, number: str | None) -> Native | None:
        if number is None:
            return None
        script = self.layout.submissions / f"{token}.slurm"
        array = "#SBATCH --array=" in script.read_text()
        return Native(self.cluster, number, 0 if array else None)

    def _scancel(self, jobs: Sequence[Native], *options: str) -> None:
        names = [job.name for job in jobs]
        for start in range(0, len(names), _MOST_IDS):
            called = self.transport.call(["scancel", "--quiet", *options, *names[start : start + _MOST_IDS]])
            # A filter that finds nothing is a failure to scancel, and what was to be reached to us.
            if called.code != 0 and (not options or handing.is_silent(called.err)):
                raise UnreachableError(f"scancel failed: {called.err.strip()}", hint="run the same command again")
        self.renew()


def _check_folder(folder: str) -> None:
    """Raise InputError for a folder in whose path SLURM would fill in an id; measured: such a job never begins."""
    if "%" in folder or "\\" in folder:
        hint = "move the experiment to a folder without `%` and `\\`"
        raise InputError(f"SLURM cannot run jobs in {folder!r}", hint=hint)
