"""Processes: servers that are always ended, clients with a deadline, and what both of them cost."""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import time
from dataclasses import dataclass

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
START_SECONDS = 20
STOP_SECONDS = 20
PATIENCE_SECONDS = 120  # with a client
SECTOR_BYTES = 512
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class Failed(Exception):
    """One line that names the thing and, where there is one, the remedy."""


def end_on_signals():
    """Signals end the run the way an exception does: through every cleanup. A second one does not cut that short."""

    def end(number, _frame):
        for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)


def allow_descriptors(count):
    """That a process opens so many files: root may raise what it may itself, where the kernel and the container allow that."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < count:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[0], count))


def prepare_child():
    """In the child: default signals, and an end with its parent even if that is killed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


_of_clients = []  # what the children of run_client do before they become clients


@contextlib.contextmanager
def clients_join(prepare):
    """All that run_client starts meanwhile calls it first, in the child."""
    _of_clients.append(prepare)
    try:
        yield
    finally:
        _of_clients.pop()


def join_as_client():
    for prepare in _of_clients:
        prepare()


def start_child(name, command, prepare, **streams):
    def prepare_both():
        prepare_child()
        if prepare:
            prepare()

    try:
        return subprocess.Popen(command, start_new_session=True, preexec_fn=prepare_both, **streams)
    except OSError as error:
        raise Failed(f"{name} cannot be run: {error.strerror}") from None
    except subprocess.SubprocessError:  # whose text hides what `prepare` raised
        raise Failed(f"{name} may not be put where it belongs") from None


@dataclass(frozen=True)
class Usage:
    """What processes have used so far; the difference of two is what a measurement cost."""

    cpu_seconds: float = 0.0
    disk_bytes: int | None = 0  # read; None: the kernel does not tell us

    def since(self, before):
        unknown = self.disk_bytes is None or before.disk_bytes is None
        return Usage(self.cpu_seconds - before.cpu_seconds, None if unknown else self.disk_bytes - before.disk_bytes)


def cpu_seconds_of(pid):
    fields = read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND  # utime + stime


def disk_bytes_of(pid):
    try:
        lines = read_text(f"/proc/{pid}/io").splitlines()
    except PermissionError:
        return None
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes:"))


def usage_of(pid):
    """None: it ended meanwhile, as a worker may."""
    try:
        return Usage(cpu_seconds_of(pid), disk_bytes_of(pid))
    except (FileNotFoundError, ProcessLookupError):
        return None


def children_of(pid):
    children = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            if int(read_text(f"/proc/{entry}/stat").rpartition(")")[2].split()[1]) == pid:
                children.append(int(entry))
        except OSError:
            continue  # it ended meanwhile
    return children


def read_text(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


class Server:
    """A server process in the foreground, with its workers. Stopped by SIGTERM, by SIGKILL if it does not listen."""

    def __init__(self, command, log_path, prepare=None):
        """`prepare` runs in the child."""
        self._name = os.path.basename(command[0])
        self._log_path = log_path
        with open(log_path, "wb") as log:
            self._process = start_child(self._name, command, prepare, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def wait_until(self, ready):
        """`ready` may raise OSError: not yet."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            self.check()
            try:
                if ready():
                    return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise Failed(f"{self._name} was not ready within {START_SECONDS} s{self._last_words()}")
            time.sleep(0.01)

    def check(self):
        status = self._process.poll()
        if status is None:
            return
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        raise Failed(f"{self._name} {how}{self._last_words()}")

    def pids(self):
        return [self._process.pid, *children_of(self._process.pid)]

    def usage(self):
        self.check()
        used = list(filter(None, map(usage_of, self.pids())))
        disk = [one.disk_bytes for one in used]
        return Usage(sum(one.cpu_seconds for one in used), None if None in disk else sum(disk))

    def stop(self):
        if self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_SECONDS)

    def _last_words(self):
        lines = read_text(self._log_path).strip().splitlines()
        return f": {lines[-1]}" if lines else ""


def run_client(command, timeout_seconds, folder=None):
    """Returns what `command` printed and what it used. `folder`: where it runs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = start_child(command[0], command, join_as_client, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, cwd=folder)
    try:
        output, complaint = process.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        end_group(process)
        raise Failed(f"{command[0]} did not end within {timeout_seconds:.0f} s") from None
    except BaseException:
        end_group(process)
        raise
    if process.returncode != 0:
        lines = (complaint.strip() or output.strip() or "no message").splitlines()
        raise Failed(f"{command[0]} ended with status {process.returncode}: {lines[0]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return output, Usage(cpu, (after.ru_inblock - before.ru_inblock) * SECTOR_BYTES)


class LongClient:
    """A client that is told what to do line by line, and answers each line with one of JSON. Ended with its `with`."""

    def __init__(self, name, command, prepare=None):
        """`prepare` runs in the child."""
        self._name = f"{name} client"
        self._process = start_child(self._name, command, prepare, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end_group(self._process)
        self._process.stdin.close()
        self._process.stdout.close()

    def tell(self, line):
        try:
            os.write(self._process.stdin.fileno(), line.encode() + b"\n")
        except BrokenPipeError:
            pass  # its answer says why

    def answer(self, timeout_seconds):
        if not select.select([self._process.stdout], [], [], timeout_seconds)[0]:
            raise Failed(f"the {self._name} did not answer within {timeout_seconds:.0f} s")
        line = self._process.stdout.readline().decode(errors="replace").strip()
        try:
            told = json.loads(line)
        except ValueError:
            raise Failed(f"the {self._name} ended: {line or 'no message'}") from None
        if "error" in told:
            raise Failed(told["error"])
        return told


def end_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass  # one that hangs in a mount ends when its server is ended
