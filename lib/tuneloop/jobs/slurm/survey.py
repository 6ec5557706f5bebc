"""What a site tells of itself: version, partitions, nodes, limits, accounting. Asks, and changes nothing.

Whatever is not told stands in `unknown`, in words for people: a profile can be made without it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tuneloop.documents.errors import MissingError, UnreachableError
from tuneloop.documents.plain import plain
from tuneloop.jobs.transport import Called, Transport

_SEPARATOR = "|"
_TIMEOUT_S = 30.0
_NOT_FOUND = 127
# -e: nodes that differ are lines of their own, not "8+".
_SINFO = ("sinfo", "--exact", "--noheader", "--format=%P|%a|%l|%D|%c|%m|%G")
_CONFIG = ("scontrol", "show", "config")
_ACCOUNTS = ("sacctmgr", "--noheader", "--parsable2", "show", "associations")
_ACCOUNTS_OF = "format=Cluster,Account,QOS,MaxSubmitJobs"
_QOS = ("sacctmgr", "--noheader", "--parsable2", "show", "qos", "format=Name,MaxSubmitJobsPerUser")
_TIME = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)\Z")
_GPU = re.compile(r"gpu:(?:([^:(,]+):)?(\d+)")


@dataclass(frozen=True)
class Nodes:
    """Nodes of one kind in a partition."""

    count: int
    cpus: int
    memory_mb: int
    gpus: int = 0
    gpu_type: str | None = None


@dataclass(frozen=True)
class Partition:
    name: str
    default: bool
    up: bool
    minutes: int | None  # the longest time limit; None: there is none
    nodes: tuple[Nodes, ...]

    @property
    def richest(self) -> Nodes:
        """The kind of nodes with the most GPUs; of equal ones the most frequent."""
        return max(self.nodes, key=lambda kind: (kind.gpus, kind.count))


@dataclass(frozen=True)
class Survey:
    version: str = ""
    cluster: str = ""
    partitions: tuple[Partition, ...] = ()
    array: int | None = None  # jobs in one array
    jobs: int | None = None  # jobs of the user in the queue at once
    remembers_s: int | None = None  # how long squeue knows a job that has ended
    accounting: bool = False
    enforced: str = ""  # what accounting makes sbatch refuse, as the site writes it
    accounts: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def partition(self, name: str | None) -> Partition | None:
        """Return a partition by name, or the default one; None where there is none."""
        return next((item for item in self.partitions if (item.default if name is None else item.name == name)), None)


def survey(transport: Transport) -> Survey:
    """Ask a site. Raises MissingError where SLURM is not, UnreachableError where nobody answers."""
    listed = transport.call(_SINFO, timeout=_TIMEOUT_S)
    if listed.code == _NOT_FOUND:
        raise MissingError("SLURM is not here: no `sinfo`", hint="name the login node with `--ssh HOST --scratch DIR`")
    if listed.code != 0:
        raise UnreachableError(f"the scheduler does not answer: {last_line(listed)}", hint="try again later")
    partitions = parse_partitions(listed.out)
    asked = transport.call(_CONFIG, timeout=_TIMEOUT_S)
    found = replace(parse_config(asked.out), partitions=partitions)
    unknown = list(_gaps(found))
    if found.accounting:
        found = _with_accounting(found, transport, unknown)
    else:
        unknown.append("your accounts and limits: the site keeps no accounting")
    return replace(found, unknown=tuple(unknown))


def parse_partitions(text: str) -> tuple[Partition, ...]:
    """Return what sinfo listed, in its order; lines that are not understood are left alone."""
    found: dict[str, Partition] = {}
    for line in text.splitlines():
        fields = line.split(_SEPARATOR, 6)
        if len(fields) != 7 or not fields[3].isdigit():
            continue
        marked, available, limit, count, cpus, memory, gres = fields
        name = marked.rstrip("*")
        kinds = tuple(_kinds(int(count), _number(cpus), _number(memory), gres))
        before = found.get(name)
        up = available == "up"
        if before is None:
            found[name] = Partition(name, marked.endswith("*"), up, minutes_of(limit), kinds)
        else:
            found[name] = replace(before, nodes=before.nodes + kinds, up=before.up or up)
    return tuple(found.values())


def parse_config(text: str) -> Survey:
    """Return what `scontrol show config` printed, as far as it says it."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    values = {key.strip(): value.strip() for key, value in pairs}
    largest = _number(values.get("MaxArraySize", ""))
    kind = values.get("AccountingStorageType", "")
    return Survey(
        version=values.get("SLURM_VERSION", ""),
        cluster=values.get("ClusterName", ""),
        array=largest - 1 if largest > 1 else None,  # the largest index is one less
        remembers_s=_number(values["MinJobAge"]) if "MinJobAge" in values else None,
        accounting=kind not in ("", "(null)", "accounting_storage/none"),
        enforced=values.get("AccountingStorageEnforce", "").replace("none", ""),
    )


def parse_accounts(text: str, cluster: str) -> tuple[tuple[str, ...], tuple[str, ...], list[int]]:
    """Return the user's accounts on a cluster, the QOS that they may use, and the limits on jobs in the queue."""
    rows = [line.split(_SEPARATOR) for line in text.splitlines() if line.count(_SEPARATOR) == 3]
    rows = [row for row in rows if row[0] == cluster]
    accounts = tuple(dict.fromkeys(row[1] for row in rows if row[1]))
    qos = tuple(dict.fromkeys(name for row in rows for name in row[2].split(",") if name))
    return accounts, qos, [int(row[3]) for row in rows if row[3].isdigit()]


def minutes_of(limit: str) -> int | None:
    """Return a time as sinfo prints it (`1-00:00:00`, `30:00`) in minutes; None for no limit."""
    match = _TIME.match(limit)
    if match is None:
        return None
    days, hours, minutes, _ = (int(part or 0) for part in match.groups())
    return (days * 24 + hours) * 60 + minutes


def last_line(called: Called) -> str:
    """Return the last thing that a command said, in plain words."""
    said = [line.strip() for line in plain(called.err or called.out).splitlines() if line.strip()]
    return said[-1] if said else f"exit code {called.code}"


def _with_accounting(found: Survey, transport: Transport, unknown: list[str]) -> Survey:
    user = transport.call(["id", "-un"], timeout=_TIMEOUT_S).out.strip()
    listed = transport.call([*_ACCOUNTS, f"user={user}", _ACCOUNTS_OF], timeout=_TIMEOUT_S)
    if listed.code != 0:
        unknown.append(f"your accounts and limits: {last_line(listed)}")
        return found
    accounts, qos, limits = parse_accounts(listed.out, found.cluster)
    if not accounts:
        unknown.append(f"your accounts: none is listed for {user}")
    levels = transport.call(_QOS, timeout=_TIMEOUT_S)
    rows = (line.split(_SEPARATOR) for line in levels.out.splitlines() if line.count(_SEPARATOR) == 1)
    limits += [int(limit) for name, limit in rows if name in qos and limit.isdigit()]
    if not limits:
        unknown.append("how many jobs you may have in the queue: no limit is listed")
    return replace(found, accounts=accounts, jobs=min(limits, default=None))


def _gaps(found: Survey) -> Iterator[str]:
    if not found.partitions:
        yield "partitions: sinfo lists none for you"
    if not found.version:
        yield "version and limits of SLURM: scontrol does not tell its configuration"


def _kinds(count: int, cpus: int, memory: int, gres: str) -> Iterator[Nodes]:
    """Yield nodes once for each type of GPU in them, or once without any."""
    gpus: Sequence[tuple[str, str]] = _GPU.findall(gres)
    if not gpus:
        yield Nodes(count, cpus, memory)
    for kind, number in gpus:
        yield Nodes(count, cpus, memory, int(number), kind or None)


def _number(text: str) -> int:
    match = re.match(r"\d+", text)
    return int(match[0]) if match else 0
