"""The configuration files of a cluster, from its settings; nothing is written here but device nodes."""

import os
import pwd
import stat
import subprocess
from contextlib import suppress
from pathlib import Path
from string import Template

from dev_cluster import loopback
from dev_cluster.memory import mount_point
from dev_cluster.settings import ClusterError, Settings

_HERE = Path(__file__).parent
# SLURM calls it as `mail -s SUBJECT USER`; what it would have sent stands in log/mail.log, a line a mail.
_MAIL = '#!/bin/sh\nprintf "%s\\t%s\\n" "$$3" "$$2" >>$folder/log/mail.log\n'


def texts(folder: Path, settings: Settings) -> dict[str, str]:
    """Return the files of the cluster by name."""
    names = {
        "folder": str(folder),
        "name": settings.name,
        "user": user_name(),
        "host": loopback.host(),
        "port": str(settings.port),
        "kill_wait": str(settings.kill_wait),
        "min_job_age": str(settings.min_job_age),
        "memory_share": str(max(settings.memory // settings.cpus, 1)),
        "tracking": _tracking(settings),
        "accounting": _accounting(folder, settings),
        "nodes": "\n".join(_nodes(settings)),
    }
    found = {
        "slurm.conf": _fill("slurm.conf", names),
        "gres.conf": "".join(f"{line}\n" for line in _gres(folder, settings)),
        "cgroup.conf": _cgroup(folder, settings),
        "hosts": loopback.hosts_text(),
        "mail": Template(_MAIL).substitute(names),
    }
    if settings.accounting:
        ports = {"dbd_port": str(settings.ports["slurmdbd"]), "database_port": str(settings.ports["mariadbd"])}
        found["slurmdbd.conf"] = _fill("slurmdbd.conf", names | ports)
    return found


def user_name() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _fill(name: str, names: dict[str, str]) -> str:
    return Template((_HERE / name).read_text()).substitute(names)


def _tracking(settings: Settings) -> str:
    if settings.memory_limits:
        return "ProctrackType=proctrack/cgroup\nTaskPlugin=task/cgroup"
    return "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none"


def _accounting(folder: Path, settings: Settings) -> str:
    if not settings.accounting:
        return "AccountingStorageType=accounting_storage/none"
    lines = [
        "AccountingStorageType=accounting_storage/slurmdbd",
        "AccountingStorageHost=127.0.0.1",
        f"AccountingStoragePort={settings.ports['slurmdbd']}",
        # Without the socket here, clients look for munge's usual one and retry for minutes.
        f"AccountingStoragePass={folder}/munge/socket",
        "AccountingStoreFlags=job_comment",
    ]
    return "\n".join([*lines, "AccountingStorageTRES=gres/gpu"] if settings.gpus else lines)


def _nodes(settings: Settings) -> list[str]:
    lines = ["GresTypes=gpu"] if settings.gpus else []
    for name in settings.node_names:
        port = settings.ports[f"slurmd:{name}"]
        where = f"NodeName={name} NodeHostname={loopback.host()} NodeAddr=127.0.0.1 Port={port}"
        shape = f"CPUs={settings.cpus} Boards=1 SocketsPerBoard=1 CoresPerSocket={settings.cpus} ThreadsPerCore=1"
        gpus = f" Gres=gpu:{settings.gpus}" if settings.gpus else ""
        lines.append(f"{where} {shape} RealMemory={settings.memory}{gpus} State=UNKNOWN")
    return lines


def _gres(folder: Path, settings: Settings) -> list[str]:
    """Return a line a node. SLURM believes in a GPU only where a character device stands for it."""
    lines = []
    for name in settings.node_names if settings.gpus else []:
        devices = [_device(folder / "gpu" / f"{name}-{number}", number) for number in range(settings.gpus)]
        lines.append(f"NodeName={name} Name=gpu File={','.join(devices)}")
    return lines


def _device(path: Path, number: int) -> str:
    """Return a twin of /dev/null; who may not make one borrows the name of a device, which nobody opens."""
    if path.is_char_device():
        return str(path)
    with suppress(PermissionError):
        path.parent.mkdir(exist_ok=True)
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        return str(path)
    borrowed = sorted(str(item) for item in Path("/dev").iterdir() if item.is_char_device())
    if number >= len(borrowed):
        raise ClusterError(f"/dev has only {len(borrowed)} devices to stand for GPUs", "claim fewer with --gpus", 2)
    return borrowed[number]


def _cgroup(folder: Path, settings: Settings) -> str:
    """Return the text of cgroup.conf; slurmd loads a plugin even where nothing asks for one."""
    if settings.memory_limits:
        lines = ["CgroupPlugin=cgroup/v1", f"CgroupMountpoint={mount_point(folder)}", "ConstrainRAMSpace=yes"]
        return "\n".join([*lines, "ConstrainSwapSpace=yes", "AllowedSwapSpace=0", ""])
    said = subprocess.run(["slurmd", "-V"], capture_output=True, text=True, check=True).stdout  # slurm-wlm 22.05.8
    year, month = (int(part) for part in said.split()[-1].split(".")[:2])
    # Before 23.11 there is no `disabled`; the plugin for v1 touches nothing unless another asks it to.
    return "CgroupPlugin=disabled\n" if (year, month) >= (23, 11) else "CgroupPlugin=cgroup/v1\n"
