"""SLURM's daemons on 127.0.0.1, whatever the machine's name stands for.

They can listen on every interface or on the address of the machine's name, and nowhere else. Where that is another
one (a real interface; 127.0.1.1 on Debian, which `srun` is then looked for at 127.0.0.1), the daemons and their jobs
see a hosts file of the cluster's own, in a mount namespace that follows what is mounted elsewhere. `sbatch` works
from everywhere; on such a machine `srun` works only inside of jobs.
"""

import ctypes
import os
import socket
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_SLAVE = 0x1000, 0x4000, 0x80000


def host() -> str:
    return socket.gethostname().partition(".")[0]


def needs_hosts() -> bool:
    try:
        return socket.gethostbyname(host()) != "127.0.0.1"
    except OSError:
        return True


def hosts_text() -> str:
    return f"127.0.0.1 localhost {host()} {socket.gethostname()}\n"


def show(hosts: Path) -> None:
    """Show this process, and the program that it becomes, `hosts` as /etc/hosts; raise OSError where it may not."""
    libc = ctypes.CDLL(None, use_errno=True)
    failed = (
        libc.unshare(_CLONE_NEWNS)
        or libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_SLAVE), None)
        or libc.mount(os.fsencode(hosts), b"/etc/hosts", None, ctypes.c_ulong(_MS_BIND), None)
    )
    if failed:
        raise OSError(ctypes.get_errno(), "no mount namespace")
