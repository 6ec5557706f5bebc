"""The clusters of one experiment, each with its executor, made when it is first asked for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tuneloop.documents.config import Configuration, Profile, load
from tuneloop.documents.errors import MissingError, UnreachableError
from tuneloop.experiment.layout import Layout
from tuneloop.experiment.work import Token
from tuneloop.jobs.answers import Answer, News
from tuneloop.jobs.executors import Executor, executor_for
from tuneloop.jobs.mirror import Mirror, mirror_of
from tuneloop.jobs.native import Native


@dataclass(frozen=True)
class Fleet:
    layout: Layout
    configuration: Configuration
    made: dict[str, Executor] = field(default_factory=dict)

    def of(self, cluster: str) -> Executor:
        """Return the executor of a cluster. Raises MissingError for a profile that nobody knows."""
        if cluster not in self.made:
            self.made[cluster] = executor_for(self.layout, cluster, self.configuration.profile(cluster))
        return self.made[cluster]

    def mirror(self, cluster: str) -> Mirror | None:
        """Return the experiment's copy on a cluster; None where there is none, or where nobody knows the cluster."""
        profile = self.configuration.config.clusters.get(cluster)
        return None if profile is None else mirror_of(self.layout, cluster, profile)

    def mirrors(self) -> list[Mirror]:
        """Return the copies of the experiment that have ever been fetched from or sent to."""
        folder = self.layout.fetched("")
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        return [mirror for name in names if (mirror := self.mirror(name)) is not None]

    def beside(self, layout: Layout) -> "Fleet":
        """Return the fleet of another experiment."""
        return Fleet(layout, load(layout.folder))

    def prepare(self, clusters: Iterable[str]) -> None:
        """Bring what jobs read to the clusters. Raises UnreachableError, FailedError and BusyError."""
        for cluster in sorted(set(clusters)):
            self.of(cluster).prepare()

    def start(self, clusters: Iterable[str]) -> None:
        """Make sure that what was handed over will be started."""
        for cluster in sorted(set(clusters)):
            self.of(cluster).start()

    def alive(self, clusters: Iterable[str]) -> bool:
        """Tell whether something will start what is queued on each of the clusters."""
        return all(self.of(cluster).alive() for cluster in sorted(set(clusters)))

    def scheduled(self, clusters: Iterable[str]) -> frozenset[str]:
        """Return those of the clusters that have a scheduler to ask; a profile that is gone counts as one."""
        profiles = self.configuration.config.clusters
        return frozenset(name for name in clusters if name != "local" and _scheduled(profiles.get(name)))

    def renew(self) -> None:
        """Let the next answers of the clusters that were asked so far be as new as can be."""
        for executor in self.made.values():
            executor.renew()

    def is_apart(self, clusters: Iterable[str]) -> bool:
        """Tell whether jobs need this machine besides a scheduler that does not."""
        names = set(clusters)
        return bool(self.scheduled(names)) and self.scheduled(names) != names

    def news(self, clusters: Iterable[str]) -> dict[str, News]:
        """Return how good the last answers are, of those of the clusters that have a scheduler."""
        found = {}
        for cluster in sorted(self.scheduled(clusters)):
            try:
                found[cluster] = self.of(cluster).news() or News()
            except MissingError as error:
                found[cluster] = News(silent=error.problems[0].message)
        return found

    def find(self, cluster: str, token: Token) -> Native | None:
        """Return what became of a token; None also where its cluster does not answer."""
        try:
            return self.of(cluster).find(token)
        except (UnreachableError, MissingError):
            return None

    def observe(self, jobs: Mapping[Native, str]) -> dict[Native, Answer]:
        """Ask each cluster once; one that nobody can reach has no news."""
        found: dict[Native, Answer] = {}
        for cluster in sorted({native.cluster for native in jobs}):
            asked = {native: time for native, time in jobs.items() if native.cluster == cluster}
            try:
                found |= self.of(cluster).observe(asked)
            except (UnreachableError, MissingError):
                continue
        return found


def _scheduled(profile: Profile | None) -> bool:
    return profile is None or profile.executor == "slurm"


def fleet_of(layout: Layout) -> Fleet:
    return Fleet(layout, load(layout.folder))
