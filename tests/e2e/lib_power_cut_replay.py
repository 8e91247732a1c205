"""The states a disk can be in when its power is cut, from the log of its writes and flushes (dm-log-writes, as QEMU's
blklogwrites writes it).

What was flushed is there. Of the writes since then any part may be, by pages of 4 KiB: the rest was in the disk's memory.

    lib_power_cut_replay.py record ROOT STATE SEED LOG SECONDS
                                    works in ROOT, whose disk is logged
    lib_power_cut_replay.py replay IMAGE LOG STATE SEED COUNT TYPE DIRECTORY
                                    makes COUNT states, mounts each on DIRECTORY, and checks what was promised before it

The hour of a diary is the number of entries at the last flush, which the log's first sector tells. The flush that made
something durable had ended when it was promised, so the hour counts it; and what began at an hour is in later entries.
"""
import os, random, struct, subprocess, sys, time
from lib_power_cut import State, Workers
from lib_power_cut_workloads import NEVER, PAGE, Book, Broken, workloads

SUPER, MAGIC = struct.Struct("<QQQL"), 0x6A736677736872
ENTRY = struct.Struct("<QQQQ")
FLUSH, DISCARD = 1, 4


class WriteLog:
    def __init__(self, path):
        self.file = os.open(path, os.O_RDONLY)

    def hour(self):
        head = os.pread(self.file, SUPER.size, 0)
        return SUPER.unpack(head)[2] if len(head) == SUPER.size else 0

    def entries(self):
        """Of each: whether it is a flush, where on the disk it writes, where in the log that is, how much."""
        magic, _, count, sector = SUPER.unpack(os.pread(self.file, SUPER.size, 0))
        if magic != MAGIC:
            sys.exit("this is no log of writes")
        position, found = sector, []
        for _ in range(count):
            first, sectors, flags, _ = ENTRY.unpack(os.pread(self.file, ENTRY.size, position))
            if flags & ~FLUSH:  # qemu may mix up the data of what it zeroes; nothing here should ask for that
                sys.exit(f"an entry with flags {flags}")
            position += sector
            found.append((bool(flags & FLUSH), first * sector, position, sectors * sector))
            position += sectors * sector
        if position > os.fstat(self.file).st_size:
            sys.exit("the log is shorter than it says")
        return found

    def apply(self, disk, entry, piece=1 << 20, wanted=lambda: True):
        """Writes it, or those pieces of it that are wanted."""
        _, offset, position, length = entry
        for start in range(0, length, piece):
            if wanted():
                os.pwrite(disk, os.pread(self.file, min(piece, length - start), position + start), offset + start)


def copy_sparse(source, path):
    size = os.fstat(source).st_size
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.ftruncate(file, size)
    at = 0
    while at < size:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
        except OSError:  # a hole up to the end
            break
        end = os.lseek(source, at, os.SEEK_HOLE)
        os.lseek(file, at, os.SEEK_SET)
        while at < end:
            at += os.sendfile(file, source, at, end - at)
    return file


def record(root, state, seed, log, seconds):
    workers = Workers(root, state, seed, log.hour)
    workers.await_promises(state)
    time.sleep(seconds)
    workers.end()


FSCK = {"ext4": ["e2fsck", "-fn"], "xfs": ["xfs_repair", "-n"]}


class Replay:
    def __init__(self, image, log, state, kind, directory):
        self.disk, self.image, self.states = os.open(image, os.O_RDWR), image, 0
        self.log, self.kind, self.directory = log, kind, directory
        self.workloads = [(workload, state.load(f"{workload.name}.base"), state.lines(workload)) for workload in workloads()]
        self.promises = 0

    def run(self, seed, count):
        chosen, entries = random.Random(seed), self.log.entries()
        flushes = [index for index, entry in enumerate(entries) if entry[0]]
        # Only those that something is written after, before the next one.
        flushes = [(this, after) for this, after in zip(flushes, flushes[1:]) if after > this + 1]
        done = 0
        for number, (this, after) in enumerate(sorted(chosen.choices(flushes, k=count))):
            for entry in entries[done:this]:
                self.log.apply(self.disk, entry)
            done = this
            share = chosen.choice([0, 0.1, 0.5, 0.9, 1])
            piece = chosen.choice([PAGE, 1 << 20])
            self.make(entries[this:after], piece, share, chosen)
            self.check(f"{seed}, state {number}: entries to {this}, {share} of those to {after}", this + 1, after)
            if number == 0 and count > 1:
                self.demand_broken(after)
            os.unlink(self.path)
        return len(flushes)

    def make(self, since, piece, share, chosen):
        # A file of its own for each: a loop device may outlive its mount for a moment, and mount(8) would take it again, with
        # what it remembers of the state before.
        self.states += 1
        self.path = f"{self.image}.state{self.states}"
        disk = copy_sparse(self.disk, self.path)
        for entry in since:
            self.log.apply(disk, entry, piece, lambda: chosen.random() < share)
        os.close(disk)

    def check(self, what, kept_until, begun_until):
        run("mount", "-o", "loop,nodiscard", self.path, self.directory)
        try:
            for workload, base, lines in self.workloads:
                book = Book(lines, kept_until, begun_until)
                if book.error:
                    raise Broken(f"{workload.name}: {book.error}")
                workload.check(self.directory, base, book)
                self.promises += book.promises
        except Broken as broken:
            raise Broken(f"{what}: {broken}")
        finally:
            run("umount", self.directory)
        run(*FSCK[self.kind], self.path)

    def demand_broken(self, begun_until):
        """An early state has not what was promised later: had a flush been missing, it would have been seen."""
        try:
            self.check("", NEVER, begun_until)
        except Broken:
            for workload, _, _ in self.workloads:
                workload.forget()
            return
        sys.exit("the check does not see that the disk is not as new as it should be")


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Broken(f"{' '.join(command)}: {done.stdout[-300:]}")


def main(command, *arguments):
    if command == "record":
        root, state, seed, log, seconds = arguments
        record(root, State(state), seed, WriteLog(log), float(seconds))
    else:
        image, log, state, seed, count, kind, directory = arguments
        replay = Replay(image, WriteLog(log), State(state), kind, directory)
        flushes = replay.run(seed, int(count))
        print(f"{count} states after {flushes} flushes, {replay.promises} promises checked")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Broken as broken:
        sys.exit(f"a promise is broken: {broken}")
