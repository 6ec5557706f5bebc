"""Commands and files reach this machine and another one, over a real sshd, unchanged; a broken connection is no news."""

import filecmp
import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from places import content, fill
from sshd import HOST, Sshd, serving
from tuneloop.documents.errors import FailedError, InputError, MissingError, UnreachableError
from tuneloop.jobs.transport import Called, Here, PartlyError, Ssh, Transport

# What a site may have set for everybody, and what our own jobs have set.
LEAKING = ["SBATCH_ACCOUNT", "SQUEUE_FORMAT", "SACCT_FORMAT", "SLURM_CLUSTERS", "SLURM_JOB_ID", "SCANCEL_STATE"]
LEAKING += ["TUNELOOP_TOKEN", "INSPECT_LOG_DIR", "CUDA_VISIBLE_DEVICES"]

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]))
HOSTILE = [
    "",
    " ",
    "it's",
    '"',
    "$(touch x)",
    "`id`",
    "\\",
    "\\n",
    "!!",
    "*",
    "~",
    "-rf",
    "--",
    "#",
    ";",
    "ünïcode",
    "🦜",
]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    environment = " ".join(f"{name}=leaked" for name in LEAKING)
    with serving(tmp_path_factory.mktemp("it's sshd"), f"SetEnv {environment} SLURM_CONF=kept") as daemon:
        yield daemon


@pytest.fixture
def ssh(sshd: Sshd) -> Iterator[Ssh]:
    """The way to the daemon, which runs when the test begins and when it ends."""
    there = Ssh(HOST, sshd.config)
    yield there
    there.forget()


@pytest.fixture
def impatient(sshd: Sshd) -> Iterator[Ssh]:
    """The same, for a connection that is going to hang."""
    there = Ssh(HOST, sshd.config, connect=2, silence=2)
    yield there
    there.forget()


@pytest.fixture(params=["here", pytest.param("ssh", marks=pytest.mark.slow)])
def transport(request: pytest.FixtureRequest) -> Transport:
    if request.param == "here":
        return Here()
    found: Transport = request.getfixturevalue("ssh")
    return found


def master(there: Ssh) -> int:
    """Return the process that holds the open connection."""
    check = there.by_hand().replace("ssh ", "ssh -O check ", 1).removesuffix(" true")
    said = subprocess.run(["bash", "-c", check], capture_output=True, text=True, check=True).stderr
    return int(said.split("pid=")[1].split(")")[0])


def until(true: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


# Commands


@given(values=st.lists(TEXTS | st.sampled_from(HOSTILE), min_size=1, max_size=20))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_argument_arrives_as_it_was(transport: Transport, values: list[str]) -> None:
    assert transport.call(["printf", "%s\\0", *values]).out.split("\0")[:-1] == values


@given(value=TEXTS | st.sampled_from(HOSTILE))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_variable_arrives_as_it_was(transport: Transport, value: str) -> None:
    assert transport.call(["printenv", "GIVEN"], environment={"GIVEN": value}) == Called(0, f"{value}\n", "")


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_input_arrives_as_it_was(transport: Transport, text: str) -> None:
    assert transport.call(["cat"], stdin=text) == Called(0, text, "")


@pytest.mark.parametrize("letter", ["\n", "\r", "\t", "\0", "\x1b", "\x7f", "\x85"])
def test_control_characters_are_refused_before_anything_runs(transport: Transport, tmp_path: Path, letter: str) -> None:
    made = tmp_path / "made"
    with pytest.raises(InputError, match="a control character"):
        transport.call(["touch", str(made), f"a{letter}b"])
    with pytest.raises(InputError, match="a control character"):
        transport.call(["touch", str(made)], environment={"GIVEN": f"a{letter}b"})
    assert not made.exists()


def test_half_a_letter_is_refused(transport: Transport) -> None:
    with pytest.raises(InputError, match="is not a letter of UTF-8"):
        transport.call(["echo", "\ud800"])
    with pytest.raises(InputError, match="is not a letter of UTF-8"):
        transport.call(["cat"], stdin="\ud800")


@pytest.mark.parametrize("name", ["", "1A", "A B", "A=B", "$(id)", "A\n"])
def test_a_name_that_is_no_variable_is_refused(transport: Transport, name: str) -> None:
    with pytest.raises(InputError, match="is not the name of a variable"):
        transport.call(["true"], environment={name: "value"})


@pytest.mark.parametrize("code", [0, 1, 7, 124, 126, 127, 137, 255])
def test_the_exit_code_and_both_outputs_pass(transport: Transport, code: int) -> None:
    done = transport.call(["sh", "-c", f"echo out; echo err >&2; exit {code}"])
    assert done == Called(code, "out\n", "err\n")


def test_a_command_that_a_signal_ended_has_a_shells_code(transport: Transport) -> None:
    assert transport.call(["sh", "-c", "kill -TERM $$"]).code == 128 + signal.SIGTERM


@pytest.mark.parametrize("out", ["", "\n", "a", "a\n", "a\n\n", "a\r\nb", "-n"])
def test_the_output_is_whole_to_its_last_byte(transport: Transport, out: str) -> None:
    assert transport.call(["printf", "%s", out] if "\n" not in out else ["cat"], stdin=out).out == out


def test_a_program_that_is_not_there_has_a_shells_code(transport: Transport, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("")
    absent, text = transport.call(["no-such-program"]), transport.call([str(tmp_path / "text")])
    assert (absent.code, text.code) == (127, 126)
    assert "no-such-program" in absent.err


def test_bytes_that_are_no_text_do_not_end_a_call(transport: Transport) -> None:
    assert transport.call(["printf", "\\377"]).out == "\N{REPLACEMENT CHARACTER}"


def test_nothing_of_the_environment_leaks_into_a_command(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LEAKING:
        monkeypatch.setenv(name, "leaked")
    monkeypatch.setenv("SLURM_CONF", "kept")
    found = transport.call(["env"]).out.splitlines()
    assert {"SLURM_CONF=kept", "LC_ALL=C", "SLURM_TIME_FORMAT=standard"} <= set(found)
    assert not [line for line in found if "leaked" in line]
    assert transport.call(["printenv", "SLURM_CLUSTERS"], environment={"SLURM_CLUSTERS": "mine"}).out == "mine\n"


def test_a_command_without_an_answer_is_no_news(transport: Transport) -> None:
    with pytest.raises(UnreachableError, match=r"no answer .*within 0\.5 s"):
        transport.call(["sleep", "60"], timeout=0.5)
    assert transport.call(["echo", "again"]).out == "again\n"


def test_a_command_whose_caller_gave_up_ends(transport: Transport, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(UnreachableError):
        transport.call(["sh", "-c", f"echo $$ >{pid}; exec sleep 60"], timeout=1)
    until(lambda: not Path(f"/proc/{int(pid.read_text())}").exists())


def test_a_child_that_stays_holds_no_call_up(transport: Transport) -> None:
    done = transport.call(["sh", "-c", "sleep 60 <&- >&- 2>&- & echo $!"], timeout=30)
    os.kill(int(done.out), signal.SIGKILL)


# Files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with names that fall apart where something does not quote them."""
    folder = tmp_path / "-the 'source'"
    for name in ["plain", "two words", "it's", '"', "$(touch x)", "`id`", "-rf", "ünïcode", "*", "a\nb", "\\", "x:y"]:
        (folder / "-sub $HOME" / name).mkdir(parents=True)
        (folder / "-sub $HOME" / name / name).write_text(name)
    return folder


def test_folders_come_back_as_they_were(transport: Transport, tree: Path, hostile_folder: Path) -> None:
    if "\n" in hostile_folder.name:
        with pytest.raises(InputError, match="a control character"):
            transport.push(tree, str(hostile_folder))
        assert not content(hostile_folder)
        return
    there, back = hostile_folder / "deep" / "there", hostile_folder / "back"
    transport.push(tree, str(there))
    transport.fetch(str(there), back)
    assert content(there) == content(back) == content(tree) != {}


def test_a_file_arrives_under_the_name_given(transport: Transport, tree: Path, tmp_path: Path) -> None:
    transport.push(tree / "-sub $HOME" / "it's" / "it's", str(tmp_path / "new folder" / "-name"))
    assert content(tmp_path / "new folder") == {"-name": b"it's"}


def test_one_folder_on_both_sides_is_left_alone(transport: Transport, tree: Path) -> None:
    before = content(tree)
    transport.push(tree, str(tree))
    transport.fetch(str(tree), tree)
    assert content(tree) == before


def test_nothing_is_removed_and_patterns_choose(transport: Transport, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for name in ["run/weights.pt", "run/exit.json", "run/log.txt", "other/deep/exit.json", "empty/x.bin"]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    target.mkdir()
    (target / "own").write_text("stays")
    transport.fetch(str(source), target, only=["*.json", "log.*"], exclude=["other/"])
    files = {name for name, data in content(target).items() if data is not None}
    assert files == {"own", "run/exit.json", "run/log.txt"}
    transport.push(source, str(target), exclude=["*.pt", "/empty"])
    files = {name for name, data in content(target).items() if data is not None}
    assert files == {"own", "run/exit.json", "run/log.txt", "other/deep/exit.json"}


def test_links_lead_nowhere_outside_unless_asked(transport: Transport, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    source = tmp_path / "source"
    source.mkdir()
    (source / "own").write_text("own")
    (source / "inside").symlink_to("own")
    (source / "up").symlink_to("../secret")
    (source / "away").symlink_to(tmp_path / "secret")
    transport.push(source, str(tmp_path / "safe"))
    transport.fetch(str(source), tmp_path / "fetched")
    for target in (tmp_path / "safe", tmp_path / "fetched"):
        assert content(target) == {"inside": b"own", "own": b"own"}
        assert (target / "inside").is_symlink()
    transport.push(source, str(tmp_path / "whole"), links=True)
    assert content(tmp_path / "whole") == content(source)
    assert not (tmp_path / "whole" / "away").is_symlink()
    assert (tmp_path / "whole" / "inside").is_symlink()


def test_a_reader_never_sees_half_a_file(transport: Transport, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (target / "data").write_bytes(b"0" * 4_000_000)
    (source / "data").write_bytes(b"1" * 4_000_000)
    seen, over = set(), threading.Event()

    def read() -> None:
        while not over.is_set():
            data = (target / "data").read_bytes()
            seen.add((len(data), data[:1], data[-1:]))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        transport.push(source, str(target))
    finally:
        over.set()
        reader.join()
    assert seen
    assert seen <= {(4_000_000, b"0", b"0"), (4_000_000, b"1", b"1")}
    assert content(target) == content(source)


def test_a_change_that_keeps_size_and_second_is_seen(transport: Transport, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for number, state in enumerate(["running", "blocked"]):
        (source / "state").write_text(state)
        os.utime(source / "state", ns=(0, 1_000_000_000 + number))
        transport.fetch(str(source), target)
        assert (target / "state").read_text() == state


def test_what_cannot_be_copied_is_named_and_all_else_arrives(transport: Transport, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (target / "b").mkdir(parents=True)
    (target / "b" / "file").write_text("in the way")
    for name in ("a", "b", "c"):
        (source / name).write_text(name)
    with pytest.raises(PartlyError, match=r": b\b") as caught:
        transport.fetch(str(source), target)
    assert content(target) == {"a": b"a", "b": None, "b/file": b"in the way", "c": b"c"}
    assert not any("(code 23)" in line for line in caught.value.complaints)


def test_a_folder_that_is_not_there_is_named(transport: Transport, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        transport.push(tmp_path / "absent", str(tmp_path / "target"))
    with pytest.raises(FailedError, match="No such file or directory"):
        transport.fetch(str(tmp_path / "absent"), tmp_path / "target")


def test_a_full_disk_is_a_failure_and_not_a_broken_connection(
    transport: Transport, tmp_path: Path, tiny_disk: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "data").write_bytes(b"1" * 200_000)
    with pytest.raises(FailedError, match="No space left on device"):
        transport.push(source, str(tiny_disk / "target"))
    fill(tiny_disk)
    with pytest.raises(FailedError, match="No space left on device"):
        transport.fetch(str(source), tiny_disk / "target")
    until(lambda: not users(tiny_disk))


def users(folder: Path) -> list[Path]:
    """Return the processes that are in a folder: a part of rsync ends a moment after the rest."""
    return [process for process in Path("/proc").glob("[0-9]*/cwd") if str(folder) in _link(process)]


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


# The connection


def test_all_commands_share_one_connection(ssh: Ssh, sshd: Sshd, tree: Path, tmp_path: Path) -> None:
    ssh.call(["true"])
    first = master(ssh)
    Ssh(HOST, sshd.config).call(["true"])
    ssh.push(tree, str(tmp_path / "there"))
    assert master(ssh) == first


def test_a_killed_connection_is_made_anew(ssh: Ssh) -> None:
    ssh.call(["true"])
    os.kill(master(ssh), signal.SIGKILL)
    assert ssh.call(["echo", "again"]).out == "again\n"


@pytest.mark.slow
def test_a_connection_that_hangs_is_given_up(impatient: Ssh) -> None:
    impatient.call(["true"])
    first = master(impatient)
    os.kill(first, signal.SIGSTOP)
    try:
        with pytest.raises(UnreachableError, match="no answer within 1 s"):
            impatient.call(["true"], timeout=1)
        assert impatient.call(["echo", "again"]).out == "again\n"
    finally:
        os.kill(first, signal.SIGKILL)


def test_a_slow_command_costs_nobody_the_connection(ssh: Ssh) -> None:
    ssh.call(["true"])
    first = master(ssh)
    with pytest.raises(UnreachableError):
        ssh.call(["sleep", "60"], timeout=0.5)
    assert master(ssh) == first


def test_a_host_that_went_away_is_no_news_until_it_is_back(ssh: Ssh, sshd: Sshd, tree: Path, tmp_path: Path) -> None:
    ssh.call(["true"])
    sshd.stop()
    try:
        with pytest.raises(UnreachableError, match=r"no connection to `cluster`: .*Connection refused"):
            ssh.call(["true"])
        with pytest.raises(UnreachableError):
            ssh.push(tree, str(tmp_path / "there"))
        with pytest.raises(UnreachableError, match=r"the copy to .* broke off"):
            ssh.fetch(str(tree), tmp_path / "back")
    finally:
        sshd.start()
    ssh.push(tree, str(tmp_path / "there"))
    assert content(tmp_path / "there") == content(tree)


@pytest.mark.slow
def test_a_host_that_froze_is_no_news_until_it_is_back(impatient: Ssh, sshd: Sshd) -> None:
    impatient.call(["true"])
    sshd.freeze()
    try:
        with pytest.raises(UnreachableError, match="no answer within 1 s"):
            impatient.call(["true"], timeout=1)
        with pytest.raises(UnreachableError, match=r"Connection .* timed out"):
            impatient.call(["true"], timeout=20)
    finally:
        sshd.thaw()
    assert impatient.call(["echo", "again"]).out == "again\n"


def test_a_connection_lost_in_the_middle_of_a_command_is_no_news(ssh: Ssh, sshd: Sshd, tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    def cut() -> None:
        until(begun.exists)
        sshd.stop()

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        # 255 is what ssh itself ends with: here the command would have, too, had it been let.
        with pytest.raises(UnreachableError):
            ssh.call(["sh", "-c", f"touch {begun}; sleep 10; exit 255"])
    finally:
        cutter.join()
        sshd.start()
    assert ssh.call(["sh", "-c", "exit 255"]) == Called(255, "", "")


@pytest.mark.slow
def test_a_copy_that_broke_off_goes_on_and_was_never_seen_half(ssh: Ssh, sshd: Sshd, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "data").write_bytes(os.urandom(1 << 20) * 100)
    ssh.call(["true"])
    begun, left = target.glob, target / ".~tmp~" / "data"

    def cut() -> None:
        until(lambda: any(path.stat().st_size > 0 for path in begun(".data.*")))
        sshd.stop()

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        with pytest.raises(UnreachableError, match="broke off"):
            ssh.push(source, str(target))
    finally:
        cutter.join()
        sshd.start()
    assert not (target / "data").exists()
    until(left.exists)
    assert 0 < left.stat().st_size < 100 << 20
    ssh.push(source, str(target))
    assert filecmp.cmp(source / "data", target / "data", shallow=False)
    assert list(content(target)) == ["data"]


@pytest.mark.slow
def test_a_frozen_copy_ends_by_itself(impatient: Ssh, sshd: Sshd, tree: Path, tmp_path: Path) -> None:
    impatient.call(["true"])
    sshd.freeze()
    try:
        with pytest.raises(UnreachableError, match="broke off"):
            impatient.fetch(str(tree), tmp_path / "back")
    finally:
        sshd.thaw()


@pytest.mark.parametrize(("callers", "opened"), [(6, False), (12, True)], ids=["all open it", "more than share it"])
def test_many_may_call_at_once(ssh: Ssh, callers: int, opened: bool) -> None:
    """sshd accepts ten new connections at once, and ten commands on one; what is beyond has one of its own."""
    if opened:
        ssh.call(["true"])
    with ThreadPoolExecutor(callers) as pool:
        answers = pool.map(lambda number: ssh.call(["echo", str(number)]).out, range(callers))
    assert list(answers) == [f"{number}\n" for number in range(callers)]


def test_no_value_stands_on_a_command_line(ssh: Ssh, sshd: Sshd, tmp_path: Path) -> None:
    begun, seen = tmp_path / "begun", []
    secret = "a-secret-value"

    def call() -> None:
        line = f"touch {begun}; cat >/dev/null; sleep 2"
        ssh.call(["sh", "-c", line], stdin=secret, environment={"GIVEN": secret})

    caller = threading.Thread(target=call)
    caller.start()
    until(begun.exists)
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            seen.append(process.read_bytes())
        except OSError:
            continue  # it ended meanwhile
    caller.join()
    assert any(str(begun).encode() in line for line in seen), "the command itself was not seen"
    assert not [line for line in seen if secret.encode() in line]


def test_a_noisy_login_does_not_disturb(tmp_path: Path) -> None:
    noisy = 'ForceCommand echo welcome; echo again >&2; eval "$SSH_ORIGINAL_COMMAND"'
    with serving(tmp_path / "noisy", noisy) as daemon:
        there = Ssh(HOST, daemon.config)
        assert there.call(["printf", "x"]).out == "x"
        there.forget()


def test_a_login_that_runs_no_command_is_no_news(tmp_path: Path) -> None:
    with serving(tmp_path / "closed", "ForceCommand echo 'this account is closed'; exit 0") as daemon:
        there = Ssh(HOST, daemon.config)
        with pytest.raises(UnreachableError, match="no answer"):
            there.call(["true"])
        there.forget()


@pytest.mark.parametrize("shell", ["bash", "dash", "zsh", "tcsh", "fish"])
def test_any_login_shell_will_do(tmp_path: Path, shell: str) -> None:
    if subprocess.run(["sh", "-c", f"command -v {shell}"], capture_output=True, check=False).returncode != 0:
        pytest.skip(f"no {shell} here")
    with serving(tmp_path / shell, f'ForceCommand {shell} -c "$SSH_ORIGINAL_COMMAND"') as daemon:
        there = Ssh(HOST, daemon.config)
        assert there.call(["printf", "%s\\0", *HOSTILE], stdin="x").out.split("\0")[:-1] == HOSTILE
        there.forget()


def test_rsync_missing_on_the_other_side_is_said(tmp_path: Path, tree: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ["sh", "env", "sed", "timeout", "mkdir"]:
        found = subprocess.run(["which", name], capture_output=True, text=True, check=True).stdout.strip()
        (programs / name).symlink_to(found)
    with serving(tmp_path / "bare", f"SetEnv PATH={programs}") as daemon:
        there = Ssh(HOST, daemon.config)
        with pytest.raises(MissingError, match="rsync is not installed there"):
            there.push(tree, str(tmp_path / "there"))
        there.forget()


@pytest.mark.parametrize("name", ["ssh", "rsync"])
def test_a_tool_missing_on_this_side_is_said(
    ssh: Ssh, tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    there: Transport = ssh if name == "ssh" else Here()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match=f"{name} is not installed"):
        there.push(tree, str(tmp_path / "there"))


def test_who_is_refused_can_log_in_by_hand(sshd: Sshd, tmp_path: Path) -> None:
    """As for a site that asks for a second factor: commands use the connection that a person opened."""
    config = tmp_path / "config"
    config.write_text(sshd.config.read_text().replace(str(sshd.key), "/dev/null"))
    there = Ssh(HOST, config)
    with pytest.raises(UnreachableError, match="Permission denied") as caught:
        there.call(["true"])
    line = caught.value.problems[0].hint.rpartition("type: ")[2]
    typed = line.replace("ssh ", f"ssh -i {shlex.quote(str(sshd.key))} ", 1)
    subprocess.run(["bash", "-c", typed], check=True, stderr=subprocess.DEVNULL)
    assert there.call(["echo", "in"]).out == "in\n"
    there.forget()


def test_an_unknown_host_key_is_never_accepted(sshd: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(sshd.config.read_text().replace("known_hosts", "absent", 1))
    with pytest.raises(UnreachableError, match="Host key verification failed"):
        Ssh(HOST, config).call(["true"])


@pytest.mark.parametrize("host", ["", "-oProxyCommand=id", "a b", "a\nb", "$(id)", "`id`", "a:b", "-l@a", "a@-l", "a@"])
def test_an_option_or_a_command_is_no_host(host: str) -> None:
    with pytest.raises(InputError, match="is not the name of a host"):
        Ssh(host)


@pytest.mark.parametrize("runtime", ["", "/nowhere", "relative", "{tmp}/two words", "/tmp/" + "x" * 90])
def test_the_socket_has_a_short_name_in_a_private_folder(
    ssh: Ssh, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, runtime: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime.format(tmp=tmp_path))
    (tmp_path / "two words").mkdir()
    assert ssh.call(["echo", "here"]).out == "here\n"


def test_a_folder_of_somebody_else_holds_no_socket(ssh: Ssh, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="tl") as short:  # the name of a socket has 108 letters at most
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        folder = Path(short, "tuneloop")
        folder.mkdir(mode=0o755)
        with pytest.raises(InputError, match="not a folder of your own alone"):
            ssh.call(["true"])
        folder.chmod(0o700)
        assert ssh.call(["echo", "here"]).out == "here\n"


# The daemon of the tests itself


def test_a_stopped_daemon_leaves_nothing_behind(tmp_path: Path) -> None:
    with serving(tmp_path / "own") as daemon:
        there = Ssh(HOST, daemon.config)
        there.call(["true"])
        family = daemon.processes()
        assert len(family) > 1, "the connection was not seen"
    until(lambda: not [pid for pid in family if Path(f"/proc/{pid}").exists()])
