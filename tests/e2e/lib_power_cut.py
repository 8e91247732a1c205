"""What a file system promised, and whether it kept it when the power was cut.

The workloads of lib_power_cut_workloads change files of their own in a directory, and keep diaries outside of it. What is
found after a cut must follow from what was promised before the hour of the cut:

    begin write 7       fsync         begin write 8      cut        found: write 7, and write 8 or not
    -------------------- kept 7 -------------------------- | ----

It becomes the base of the next round: the workloads open it again, databases recover in it, and that is cut too.

    lib_power_cut.py prepare ROOT STATE           makes the files, and the state: diaries, bases, the hour of the cut
    lib_power_cut.py cut ROOT STATE SEED GATEWAY [BACKING]
                                                  works in ROOT until the random moment when BACKING is shut down as by a
                                                  power cut, and the process GATEWAY is killed
    lib_power_cut.py check STATE [written] ROOT...
                                                  checks what is found in each ROOT; the last becomes the base.
                                                  `written`: also what write() took is a promise
    lib_power_cut.py tally STATE                  promises checked; fails if a workload had none
    lib_power_cut.py self_test DIRECTORY          spoils what was found in every way, and demands that it is noticed
"""
import collections, fcntl, mmap, os, pickle, random, signal, sqlite3, struct, sys, time
from lib_power_cut_workloads import NEVER, Book, Broken, Diary, whole, workloads

FS_IOC_SHUTDOWN, NOLOGFLUSH = 0x8004587D, 2


class State:
    """What is known outside the file system: bases, diaries, the hours of the cut, and how much was checked."""

    def __init__(self, path):
        self.path = path

    def diary(self, workload):
        return os.path.join(self.path, f"{workload.name}.diary")

    def lines(self, workload):
        return Book.lines(self.diary(workload))

    def load(self, name, otherwise=None):
        data = whole(os.path.join(self.path, name))
        return otherwise if data is None else pickle.loads(data)

    def save(self, name, value):
        with open(os.path.join(self.path, name), "wb") as file:
            pickle.dump(value, file)


def prepare(root, state):
    for workload in workloads():
        state.save(f"{workload.name}.base", workload.prepare(root))
        Diary(state.diary(workload))
    os.sync()


class Workers:
    """A process for each workload, until there are errors or `end` is called."""

    def __init__(self, root, state, seed, clock=time.monotonic_ns):
        self.stop = mmap.mmap(-1, 1)
        self.processes = {}
        for workload in workloads():
            process = os.fork()
            if process == 0:
                self.work(workload, root, state, seed, clock)
            self.processes[process] = workload.name

    def work(self, workload, root, state, seed, clock):
        code = 1
        try:
            diary = Diary(state.diary(workload), clock)
            workload.stop = self.stop
            try:
                workload.start(root, state.load(f"{workload.name}.base"), diary, random.Random(f"{seed} {workload.name}"))
            except (OSError, sqlite3.Error) as error:
                diary.error(f"{type(error).__name__}: {error}")
            code = 0
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            os._exit(code)

    def await_promises(self, state):
        deadline = time.monotonic() + 20
        while not all(Book(state.lines(workload)).promises for workload in workloads()):
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)

    def end(self):
        self.stop[0] = 1
        deadline = time.monotonic() + 20
        while self.processes:
            for process in list(self.processes):
                ended, status = os.waitpid(process, os.WNOHANG)
                if not ended:
                    continue
                name = self.processes.pop(process)
                # Memory that is mapped is gone with the gateway.
                if os.waitstatus_to_exitcode(status) not in (0, -signal.SIGBUS):
                    sys.exit(f"{name}: the workload ended with {os.waitstatus_to_exitcode(status)}")
            if time.monotonic() > deadline:
                for process in self.processes:
                    os.kill(process, signal.SIGKILL)
                sys.exit(f"still at work 20 s after the end: {', '.join(self.processes.values())}")
            time.sleep(0.002)


def cut(root, state, seed, gateway, backing=None):
    chosen = random.Random(seed)
    disk = os.open(backing, os.O_RDONLY | os.O_DIRECTORY) if backing else None
    workers = Workers(root, state, seed)
    if not state.load("tally"):  # once they shall all have come so far
        workers.await_promises(state)
    time.sleep(chosen.choices([0.05, 0.3, 0.7, 3], [8, 8, 8, 1])[0] * chosen.random())
    before = time.monotonic_ns()  # a success that ext4 tells while it is being shut down may be none
    if backing:
        fcntl.ioctl(disk, FS_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
        after = time.monotonic_ns()
        time.sleep(chosen.choice([0, 0.01, 0.1]))  # the gateway notices, or not
    if gateway:
        os.kill(gateway, signal.SIGKILL)
    state.save("hours", (before, after if backing else NEVER))
    workers.end()


def check(state, roots, written=False):
    before, after = state.load("hours")
    tally = state.load("tally", collections.Counter())
    for workload in workloads():
        book = Book(state.lines(workload), before, after, written)
        if book.error:
            raise Broken(f"{workload.name}: an error before the cut: {book.error}")
        for root in roots:
            base = state.load(f"{workload.name}.base")
            found = workload.check(root, base, book)
        state.save(f"{workload.name}.base", found)
        tally[workload.name] += book.promises
    state.save("tally", tally)
    for workload in workloads():
        Diary(state.diary(workload))


def print_tally(state):
    tally = state.load("tally", collections.Counter())
    idle = [workload.name for workload in workloads() if not tally[workload.name]]
    if idle:
        sys.exit(f"nothing was promised to {', '.join(idle)}")
    print(f"{sum(tally.values())} promises:", ", ".join(f"{name} {count}" for name, count in sorted(tally.items())))


def main(command, *arguments):
    if command == "prepare":
        prepare(arguments[0], State(arguments[1]))
    elif command == "cut":
        root, state, seed, gateway, *backing = arguments
        cut(root, State(state), seed, int(gateway), *backing)
    elif command == "check":
        state, *roots = arguments
        check(State(state), [root for root in roots if root != "written"], "written" in roots)
    elif command == "tally":
        print_tally(State(arguments[0]))
    elif command == "self_test":
        from lib_power_cut_spoiled import SelfTest
        SelfTest(arguments[0]).run()
    else:
        sys.exit(f"{command}?")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Broken as broken:
        sys.exit(f"a promise is broken: {broken}")
