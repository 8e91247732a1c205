"""Workloads of promises: each changes files of its own, tells a diary, and knows what may be there after a cut.

A diary has a line before every call that changes something, and a line after every call whose return is a promise. A line
begins with the hour of a clock that never goes back.

Content is never random: it follows from the workload's name and the number of the change, so the check makes it again and
compares bytes. No number is used twice, so what a lost change would have left is known from what a later one leaves.
"""
import collections, ctypes, itertools, json, mmap, os, random, shutil, sqlite3, tempfile, threading, time
import lib_nfs

PAGE = 4096
NEVER = float("inf")
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


class Broken(Exception):
    """A promise that was not kept."""


def stamp(name, number, length):
    """What change `number` of the workload `name` writes."""
    head = b"[%s %d %d]" % (name.encode(), number, length)
    return (head + random.Random(f"{name} {number}").randbytes(max(0, length - len(head))))[:length]


def whole(path):
    """The bytes of a file, or None."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def say_bytes(data):
    if data is None:
        return "nothing"
    return f"{len(data)} bytes, {'all zeros' if not any(data) else bytes(data[:40])}"


def write_all(file, data, offset):
    done = 0
    while done < len(data):
        done += os.pwrite(file, data[done:], offset + done)


def punch_hole(file, offset, length):
    KEEP_SIZE, PUNCH_HOLE = 1, 2
    if LIBC.fallocate(file, KEEP_SIZE | PUNCH_HOLE, offset, length) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


def copy_range(file, offset, length, origin):
    done = 0
    while done < length:
        done += os.copy_file_range(file, file, length - done, origin + done, offset + done)


def sync_directory(path):
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class Diary:
    """Written by one workload. The hour of `begin` is read before the call, that of the others after it."""

    def __init__(self, path, clock=time.monotonic_ns):
        self.clock = clock
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)

    def begin(self, kind, number, lane, *values):
        self._write("begin", kind, number, lane, *values)

    def done(self, lane, number):  # whoever reads sees it, and would after the gateway's death if it writes through
        self._write("done", lane, number)

    def kept(self, lane, number):  # everything in this lane up to this number is durable
        self._write("kept", lane, number)

    def complete(self, number):  # this file's bytes are durable, if its name is
        self._write("complete", number)

    def error(self, text):
        self._write("error", text)

    def _write(self, word, *values):
        os.write(self.file, json.dumps([self.clock(), word, *values]).encode() + b"\n")


Change = collections.namedtuple("Change", "kind number lane values")


class Book:
    """A diary as it counts at an hour: what may have happened, in order, and what must have."""

    @staticmethod
    def lines(path):
        return [json.loads(line) for line in whole(path).splitlines()]

    def __init__(self, lines, kept_until=NEVER, begun_until=NEVER, written=False):
        self.begun, self.floor, self.complete = [], {}, set()
        self.promises, self.error, self.next = 0, None, 1
        for hour, word, *values in lines:
            if word == "begin":
                kind, number, lane, *rest = values
                self.next = max(self.next, number + 1)
                if hour <= begun_until:
                    self.begun.append(Change(kind, number, lane, rest))
            elif hour > kept_until:
                continue
            elif word == "kept" or (word == "done" and written):
                lane, number = values
                self.floor[lane] = max(number, self.floor.get(lane, 0))
                self.promises += 1
            elif word == "complete":
                self.complete.add(values[0])
            elif word == "error":
                self.error = values[0]

    def must(self, change):
        return change.number <= self.floor.get(change.lane, 0)


class Workload:
    """`base` is what was found before: a dictionary, whose "next" is the first number that was never used."""

    def __init__(self, name):
        self.name = name
        self.steps = NEVER
        self.stop = b"\0"  # shared with who wants it to end
        self.forget()

    def forget(self):
        self.cache = None

    def goes_on(self):
        self.steps -= 1
        return self.steps >= 0 and not self.stop[0]

    def path(self, root):
        return os.path.join(root, self.name)

    def start(self, root, base, diary, chosen):
        self.root, self.diary, self.chosen = root, diary, chosen
        self.numbers = itertools.count(base["next"])
        self.work(base)


# --- one file and its pages -----------------------------------------------------------------------------------------

class File(Workload):
    """One file. Its size and each of its pages may be after a cut what they were at some time since the last promise."""
    size = 1 << 20   # at first
    flags = 0        # of open
    torn = False     # a page that nobody promised may be half old, half new: written back while it was written to

    def prepare(self, root):
        data = stamp(self.name, 0, self.size)
        with open(self.path(root), "wb") as file:
            file.write(data)
            os.fsync(file.fileno())
        return {"bytes": data, "next": 1}

    def open(self):
        return os.open(self.path(self.root), os.O_RDWR | self.flags)

    def change(self, kind, call, *values, lane=0):
        number = next(self.numbers)
        self.diary.begin(kind, number, lane, *values)
        call(number)
        self.diary.done(lane, number)
        return number

    def write(self, file, offset, length, lane=0):
        return self.change("write", lambda number: write_all(file, stamp(self.name, number, length), offset), offset, length,
                           lane=lane)

    def resize(self, file, size, call=os.ftruncate):
        return self.change("size", lambda _: call(file, size), size)

    def punch(self, file, offset, length):
        return self.change("punch", lambda _: punch_hole(file, offset, length), offset, length)

    def copy(self, file, offset, length, origin):
        return self.change("copy", lambda _: copy_range(file, offset, length, origin), offset, length, origin)

    def sync(self, file, number, lane=0, call=os.fsync):
        call(file)
        self.diary.kept(lane, number)

    def apply(self, content, change):
        """Changes `content`; returns the first byte that is touched and the end."""
        before = len(content)
        if change.kind == "size":
            size, = change.values
            del content[size:]
            content.extend(bytes(size - len(content)))
            return min(before, size), max(before, size)
        offset, length, *origin = change.values
        if change.kind == "punch":
            length = max(0, min(length, before - offset))
            data = bytes(length)
        elif change.kind == "copy":
            data = content[origin[0]:origin[0] + length]
        else:
            data = stamp(self.name, change.number, length)
        content.extend(bytes(max(0, offset - before)))
        content[offset:offset + length] = data
        return min(before, offset), offset + length

    def check(self, root, base, book):
        found = whole(self.path(root))
        if found is None:
            raise Broken(f"{self.name} is not there")
        content, settled = self.settled(base, book)
        pages, sizes = {}, [(len(content), len(content))]
        for change in book.begun[settled:]:
            old = bytes(content)
            first, end = self.apply(content, change)
            # What makes a file longer may have come half of its way, ftruncate(2) of XFS too.
            sizes = [] if book.must(change) else sizes + [(min(len(old), len(content)), len(content))]
            sizes = sizes or [(len(content), len(content))]
            for page in range(first // PAGE, (end + PAGE - 1) // PAGE):
                place = slice(page * PAGE, (page + 1) * PAGE)
                states = pages.setdefault(page, [old[place]])
                if book.must(change):
                    states.clear()
                states.append(bytes(content[place]))
        if not any(low <= len(found) <= high for low, high in sizes):
            raise Broken(f"{self.name}: {len(found)} bytes long, and since change {book.floor} it never was: {sizes[-5:]}")
        for page in range((len(found) + PAGE - 1) // PAGE):
            place = slice(page * PAGE, (page + 1) * PAGE)
            states = pages.get(page) or [content[place]]
            if not self.fits(found[place], states):
                raise Broken(f"{self.name}: page {page} holds {self.explain(found[place], page, base, book)}; "
                             f"promised is change {book.floor}, states since then: {len(states)}")
        return {"bytes": found, "next": max(base["next"], book.next)}

    def settled(self, base, book):
        """The content after all the changes at the beginning that are promised, and their number. Kept for the next time:
        who checks many states of one diary comes in the order of the hours, or forgets."""
        content, count = self.cache or (bytearray(base["bytes"]), 0)
        while count < len(book.begun) and book.must(book.begun[count]):
            self.apply(content, book.begun[count])
            count += 1
        self.cache = (content, count)
        return bytearray(content), count

    def fits(self, found, states):
        if any(self.matches(found, state) for state in states):
            return True
        return self.torn and all(byte in column for byte, *column in zip(found, *states))

    @staticmethod
    def matches(found, state):
        # The page where the file ended and then grew: ext4 can make the new size durable before the page, and behind the
        # old end shows what the file had there once. By itself, too. Where there was nothing, there is nothing.
        return found == state[:len(found)] if len(found) <= len(state) else found.startswith(state) if state else not any(found)

    def explain(self, found, page, base, book):
        content, place = bytearray(base["bytes"]), slice(page * PAGE, (page + 1) * PAGE)
        if self.fits(found, [content[place]]):
            return "what was there before the round"
        for change in book.begun:
            self.apply(content, change)
            if self.fits(found, [content[place]]):
                return f"what change {change.number} left there"
        return f"what was never there ({say_bytes(found)})"


class Log(File):
    """Records of all lengths appended by `call`; O_DSYNC needs none."""
    size = 0
    LONG = 200000

    def __init__(self, name, call=None, flags=0):
        super().__init__(name)
        self.call, self.flags = call, flags | os.O_APPEND

    def work(self, base):
        file, size = self.open(), len(base["bytes"])
        if size > self.LONG:
            self.sync(file, self.resize(file, 0))
            size = 0
        while self.goes_on():
            length = self.chosen.choice([1, 40, 100, 512, 1000, 4096, self.chosen.randrange(1, 9000)])
            number = self.write(file, size, length)
            size += length
            if not self.call:
                self.diary.kept(0, number)
            elif self.chosen.random() < 0.7:
                self.sync(file, number, call=self.call)


class Blocks(File):
    """Pages and odd places overwritten, or copied from elsewhere in the file, then fsync; or by O_SYNC or O_DSYNC."""

    def __init__(self, name, flags=0, often=0.4):
        super().__init__(name)
        self.flags, self.often = flags, often

    def place(self):
        kind = self.chosen.random()
        if kind < 0.02:  # what the gateway writes by O_DIRECT
            length = self.chosen.randrange(256 << 10, 600 << 10)
        else:
            length = self.chosen.choice([1, 100, PAGE, PAGE, PAGE, 2 * PAGE, 5000, 20000, 65536])
        offset = self.chosen.randrange(self.size - length)
        if kind > 0.5:
            offset = offset // PAGE * PAGE
        if self.chosen.random() < 0.5:  # the same few pages, often
            offset %= 5 * PAGE
        return offset, length

    def work(self, base):
        file, other = self.open(), os.open(self.path(self.root), os.O_RDONLY)
        while self.goes_on():
            if not self.flags and self.chosen.random() < 0.05:
                origin, target = (self.chosen.randrange(0, self.size // 2 - 2 * PAGE, PAGE) for _ in range(2))
                number = self.copy(file, target, 3 * PAGE, self.size // 2 + origin)
            else:
                number = self.write(file, *self.place())
            if self.flags & os.O_DSYNC:  # or O_SYNC, which contains it
                self.diary.kept(0, number)
            elif self.chosen.random() < self.often:
                self.sync(self.chosen.choice([file, other]), number, call=self.chosen.choice([os.fsync, os.fdatasync]))


class Direct(Blocks):
    """By O_DIRECT, where write() promises no more than without."""

    def __init__(self, name):
        super().__init__(name, os.O_DIRECT)

    def write(self, file, offset, length, lane=0):
        offset, length = offset // PAGE * PAGE, (length + PAGE - 1) // PAGE * PAGE

        def call(number):
            with mmap.mmap(-1, length) as aligned:
                aligned[:] = stamp(self.name, number, length)
                if os.pwrite(file, aligned, offset) != length:
                    raise OSError(f"a short write to {self.name}")
        return self.change("write", call, offset, length)


class Mapped(Blocks):
    """Memory that is mapped from the file, and msync."""

    def work(self, base):
        with mmap.mmap(self.open(), self.size) as memory:
            while self.goes_on():
                offset, length = self.place()
                number = next(self.numbers)  # without `done`: the kernel has not told the gateway of it
                self.diary.begin("write", number, 0, offset, length)
                memory[offset:offset + length] = stamp(self.name, number, length)
                if self.chosen.random() < 0.5:
                    memory.flush()
                    self.diary.kept(0, number)


class ByNfs(Blocks):
    """An NFS client of the same gateway: unstable WRITEs and COMMIT, or WRITEs that are durable when they are answered."""

    def open(self):
        self.client = lib_nfs.Client(int(os.environ["NFS_PORT"]))
        root = self.succeeded(self.client.mount("/")).handle
        return self.succeeded(self.client.lookup(root, self.name.encode())).handle

    def write(self, file, offset, length, lane=0, stable=lib_nfs.UNSTABLE):
        def call(number):
            reply = self.written(self.client.write(file, offset, stamp(self.name, number, length), stable))
            if (reply.count, reply.committed) != (length, stable):
                raise OSError(f"{reply.count} bytes of {length} written, committed {reply.committed}, not {stable}")
        return self.change("write", call, offset, length, lane=lane)

    @staticmethod
    def succeeded(reply):
        if reply.status != "OK":
            raise OSError(reply.status)
        return reply

    def written(self, reply):
        self.succeeded(reply)
        # It is renewed only when something is lost, or may be.
        if self.verifier not in (None, reply.verifier):
            raise OSError("another verifier")
        self.verifier = reply.verifier
        return reply

    def work(self, base):
        self.verifier = None
        try:
            file = self.open()
            while self.goes_on():
                stable = self.chosen.choices([lib_nfs.UNSTABLE, lib_nfs.DATA_SYNC, lib_nfs.FILE_SYNC], [8, 1, 1])[0]
                number = self.write(file, *self.place(), stable=stable)
                if stable == lib_nfs.UNSTABLE:
                    if self.chosen.random() > self.often:
                        continue
                    self.written(self.client.commit(file))
                self.diary.kept(0, number)  # durable WRITEs fsync the whole file
        except lib_nfs.Closed:
            raise OSError("the connection is closed")


class Lanes(File):
    """Three threads in one file, each in stripes of its own and with descriptors of its own: fsyncs and writes at once."""
    STRIPE, COUNT = 3 * PAGE, 3
    torn = True

    def work(self, base):
        broken = []

        def drive(lane, chosen):
            try:
                file = self.open()
                while self.goes_on() and not broken:
                    stripe = chosen.randrange(self.size // self.STRIPE // self.COUNT) * self.COUNT + lane
                    if chosen.random() < 0.5:
                        stripe = lane
                    length = chosen.choice([1, 100, PAGE, PAGE, 5000, self.STRIPE])
                    number = self.write(file, stripe * self.STRIPE + chosen.randrange(self.STRIPE - length + 1), length, lane)
                    if chosen.random() < 0.5:
                        self.sync(file, number, lane)
            except OSError as error:
                broken.append(error)

        threads = [threading.Thread(target=drive, args=(lane, random.Random(self.chosen.random()))) for lane in range(self.COUNT)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if broken:
            raise broken[0]


class Sizes(File):
    """Cut off, made longer, written beyond the end, made a hole of."""
    size, LONGEST = 50000, 200000

    def work(self, base):
        file, size = self.open(), len(base["bytes"])
        while self.goes_on():
            kind = self.chosen.random()
            if kind < 0.5:
                size = self.chosen.choice([0, size // 2, max(0, size - 1), size // PAGE * PAGE,
                                           min(self.LONGEST, size + self.chosen.randrange(1, 30000))])
                number = self.resize(file, size)
            elif kind < 0.6:
                size = min(self.LONGEST, size + self.chosen.randrange(1, 30000))
                number = self.resize(file, size, lambda file, size: os.posix_fallocate(file, 0, size))
            elif kind < 0.7:
                number = self.punch(file, self.chosen.randrange(size + 1), self.chosen.choice([100, PAGE, 20000]))
            else:
                length = self.chosen.choice([1, 100, PAGE, 10000])
                offset = max(0, size + self.chosen.choice([-length, -length // 2, 0, 0, 1, 5000]))
                offset = min(offset, self.LONGEST)
                number = self.write(file, offset, length)
                size = max(size, offset + length)
            if self.chosen.random() < 0.5:
                self.sync(file, number)


# --- names ----------------------------------------------------------------------------------------------------------

class Replaced(Workload):
    """A file that is replaced by rename: always wholly one of those since the last promise."""

    def file(self, root):
        return os.path.join(self.path(root), "current")

    def prepare(self, root):
        os.mkdir(self.path(root))
        data = stamp(self.name, 0, 5000)
        with open(self.file(root), "wb") as file:
            file.write(data)
            os.fsync(file.fileno())
        sync_directory(self.path(root))
        return {"bytes": data, "next": 1}

    def work(self, base):
        new = os.path.join(self.path(self.root), "new")
        while self.goes_on():
            number, length = next(self.numbers), self.chosen.choice([1, 100, PAGE, 10000, 60000, 400000])
            data = stamp(self.name, number, length)
            file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for offset in range(0, length, 150000):
                write_all(file, data[offset:offset + 150000], offset)
            if self.chosen.random() < 0.3:  # fsync is about the file, whoever wrote it
                os.close(file)
                file = os.open(new, os.O_RDONLY)
            os.fsync(file)
            if self.chosen.random() < 0.5:
                os.close(file)
                file = None
            self.diary.begin("replace", number, 0, length)
            os.rename(new, self.file(self.root))
            self.diary.done(0, number)
            if file is not None:
                os.close(file)
            if self.chosen.random() < 0.7:
                sync_directory(self.path(self.root))
                self.diary.kept(0, number)

    def check(self, root, base, book):
        found = whole(self.file(root))
        possible = [base["bytes"]]
        for change in book.begun:
            if book.must(change):
                possible.clear()
            possible.append(change)
        for state in possible:
            if found == (state if isinstance(state, bytes) else stamp(self.name, state.number, *state.values)):
                return {"bytes": found, "next": max(base["next"], book.next)}
        raise Broken(f"{self.name}: found {say_bytes(found)}; promised is change {book.floor}, possible are {len(possible)}")


class Names(Workload):
    """Small files that come, are fsynced, and go; then their directory is fsynced."""
    COUNT = 60

    def prepare(self, root):
        os.mkdir(self.path(root))
        return {"files": {}, "next": 1}

    def work(self, base):
        there, path = set(base["files"]), self.path(self.root)
        while self.goes_on():
            for _ in range(self.chosen.randrange(1, 6)):
                number, name = next(self.numbers), f"name{self.chosen.randrange(self.COUNT)}"
                if name in there:
                    self.diary.begin("unlink", number, 0, name)
                    os.unlink(os.path.join(path, name))
                    there.remove(name)
                else:
                    length = self.chosen.choice([0, 1, 100, 1000, PAGE, 9000])
                    self.diary.begin("create", number, 0, name, length)
                    file = os.open(os.path.join(path, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
                    write_all(file, stamp(self.name, number, length), 0)
                    os.fsync(file)
                    self.diary.complete(number)
                    os.close(file)
                    there.add(name)
                self.diary.done(0, number)
            sync_directory(path)
            self.diary.kept(0, number)

    def check(self, root, base, book):
        states = {name: [data] for name, data in base["files"].items()}
        for change in book.begun:
            name = change.values[0]
            possible = states.setdefault(name, [None])
            if book.must(change):
                possible.clear()
            possible.append(None if change.kind == "unlink" else change)
        found = {name: whole(os.path.join(self.path(root), name)) for name in os.listdir(self.path(root))}
        for name in found.keys() | states.keys():
            if not any(self.fits(found.get(name), state, book) for state in states.get(name, [None])):
                raise Broken(f"{self.name}/{name}: found {say_bytes(found.get(name))}; promised is change {book.floor}, "
                             f"possible are {[say_bytes(s) if isinstance(s, bytes) else s for s in states.get(name, [None])]}")
        return {"files": found, "next": max(base["next"], book.next)}

    def fits(self, found, state, book):
        if not isinstance(state, Change):
            return found == state
        if found is None:
            return False
        data = stamp(self.name, state.number, state.values[1])
        if state.number in book.complete or book.must(state):
            return found == data
        return len(found) <= len(data) and all(byte in (0, right) for byte, right in zip(found, data))


class Directories(Workload):
    """A new directory is filled under another name and moved to its place, as installers do; the one before it goes."""

    def prepare(self, root):
        os.mkdir(self.path(root))
        return {"there": [], "next": 1}

    def work(self, base):
        path, old = self.path(self.root), list(base["there"])
        for name in os.listdir(path):
            if name.startswith("."):
                shutil.rmtree(os.path.join(path, name))
        while self.goes_on():
            number = next(self.numbers)
            new = os.path.join(path, f".{number}")
            os.makedirs(os.path.join(new, "deep"))
            for name in self.files(number):
                with open(os.path.join(new, name), "wb") as file:
                    file.write(stamp(f"{self.name} {name}", number, self.files(number)[name]))
                    file.flush()
                    os.fsync(file.fileno())
            sync_directory(os.path.join(new, "deep"))
            sync_directory(new)
            self.diary.begin("move", number, 0)
            os.rename(new, os.path.join(path, str(number)))
            self.diary.done(0, number)
            sync_directory(path)
            self.diary.kept(0, number)
            old.append(number)
            if len(old) > 3:
                gone, number = old.pop(0), next(self.numbers)
                self.diary.begin("remove", number, 0, gone)
                os.rename(os.path.join(path, str(gone)), os.path.join(path, f".{gone}"))
                self.diary.done(0, number)
                sync_directory(path)
                self.diary.kept(0, number)
                shutil.rmtree(os.path.join(path, f".{gone}"))

    @staticmethod
    def files(number):
        chosen = random.Random(number)
        return {name: chosen.randrange(9000) for name in ("one", "two", "deep/three")}

    def check(self, root, base, book):
        path = self.path(root)
        found = sorted(int(name) for name in os.listdir(path) if not name.startswith("."))
        must, may = set(base["there"]), set(base["there"])
        for change in book.begun:
            number = change.number if change.kind == "move" else change.values[0]
            for numbers in [must, may] if book.must(change) else [may] if change.kind == "move" else [must]:
                (numbers.add if change.kind == "move" else numbers.discard)(number)
        if not must <= set(found) <= may:
            raise Broken(f"{self.name}: found {found}; there must be {sorted(must)}, there may be {sorted(may)}")
        for number in found:
            for name, length in self.files(number).items():
                data = whole(os.path.join(path, str(number), name))
                if data != stamp(f"{self.name} {name}", number, length):
                    raise Broken(f"{self.name}/{number}/{name}: found {say_bytes(data)}, not the {length} bytes that were "
                                 "fsynced before it was moved there")
        return {"there": found, "next": max(base["next"], book.next)}


# --- databases ------------------------------------------------------------------------------------------------------

class Database(Workload):
    """Transactions that change many rows: all those that were committed are there, and nothing of the others."""
    CELLS = 40

    def __init__(self, name, modes):
        super().__init__(name)
        self.modes = modes  # journal mode and PRAGMA synchronous: what makes a commit durable

    def prepare(self, root):
        os.mkdir(self.path(root))
        with sqlite3.connect(os.path.join(self.path(root), "db")) as connection:
            connection.execute("CREATE TABLE last (number INTEGER)")
            connection.execute("INSERT INTO last VALUES (0)")
            connection.execute("CREATE TABLE cell (id INTEGER PRIMARY KEY, number INTEGER, body BLOB)")
        connection.close()
        return {"cells": {}, "last": 0, "next": 1}

    def changes(self, number):
        """Of a transaction: the length of each cell it writes, None for one that it removes."""
        chosen = random.Random(f"{self.name} {number}")
        return {chosen.randrange(self.CELLS): None if chosen.random() < 0.2 else chosen.choice([10, 500, 3000, 12000])
                for _ in range(chosen.choice([1, 3, 8, 20]))}

    def work(self, base):
        mode, synchronous = self.chosen.choice(self.modes)
        connection = sqlite3.connect(os.path.join(self.path(self.root), "db"), isolation_level=None)
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute(f"PRAGMA cache_size={self.chosen.choice([5, 2000])}")  # 5 pages: written before the commit
        connection.execute("PRAGMA wal_autocheckpoint=40")
        while self.goes_on():
            number, aborted = next(self.numbers), self.chosen.random() < 0.1
            self.diary.begin("abort" if aborted else "commit", number, 0)
            connection.execute("BEGIN")
            connection.execute("UPDATE last SET number = ?", (number,))
            for cell, length in self.changes(number).items():
                if length is None:
                    connection.execute("DELETE FROM cell WHERE id = ?", (cell,))
                else:
                    connection.execute("INSERT OR REPLACE INTO cell VALUES (?, ?, ?)", (cell, number, stamp(self.name, number, length)))
            connection.execute("ROLLBACK" if aborted else "COMMIT")
            if not aborted:
                self.diary.kept(0, number)

    def check(self, root, base, book):
        with tempfile.TemporaryDirectory() as scratch:  # it recovers there; here it will at the next start, under the next cut
            for suffix in ("", "-wal", "-journal"):
                data = whole(os.path.join(self.path(root), "db" + suffix))
                if data is not None:
                    with open(os.path.join(scratch, "db" + suffix), "wb") as file:
                        file.write(data)
            last, found = self.read(os.path.join(scratch, "db"))
        floor = max(base["last"], book.floor.get(0, 0))
        committed = [change.number for change in book.begun if change.kind == "commit"]
        if last not in [base["last"]] + committed or last < floor:
            raise Broken(f"{self.name}: the last transaction is {last}; promised is {floor}, begun is {committed[-1:]}")
        cells = dict(base["cells"])
        for number in committed:
            if number <= last:
                for cell, length in self.changes(number).items():
                    cells[cell] = length and (number, length)
        cells = {cell: state for cell, state in cells.items() if state}
        for cell in cells.keys() | found.keys():
            expected = stamp(self.name, *cells[cell]) if cell in cells else None
            if found.get(cell) != expected:
                raise Broken(f"{self.name}: after transaction {last} cell {cell} has {say_bytes(found.get(cell))}, not {say_bytes(expected)}")
        return {"cells": cells, "last": last, "next": max(base["next"], book.next)}

    def read(self, path):
        connection = sqlite3.connect(path)
        try:
            said = connection.execute("PRAGMA integrity_check").fetchone()[0]
            if said != "ok":
                raise Broken(f"{self.name}: integrity check: {said}")
            (last,), = connection.execute("SELECT number FROM last")
            return last, dict(connection.execute("SELECT id, body FROM cell"))
        except sqlite3.Error as error:
            raise Broken(f"{self.name}: {error}")
        finally:
            connection.close()


def workloads():
    every = [
        Log("log_fsync", os.fsync), Log("log_fdatasync", os.fdatasync), Log("log_dsync", flags=os.O_DSYNC),
        Blocks("blocks"), Blocks("blocks_sync", os.O_SYNC), Blocks("blocks_dsync", os.O_DSYNC), Mapped("mapped"),
        Blocks("blocks_lazy", often=0.02), Direct("blocks_direct"), Lanes("lanes"), Sizes("sizes"),
        Replaced("replaced"), Names("names"), Directories("directories"),
        Database("wal", [("WAL", "FULL")]),
        # In DELETE mode only EXTRA fsyncs the directory after the journal is gone, which is the commit.
        Database("rollback", [("DELETE", "EXTRA"), ("TRUNCATE", "FULL"), ("PERSIST", "FULL")]),
    ]
    if os.environ.get("NFS_PORT"):
        every.append(ByNfs("by_nfs"))
    chosen = os.environ.get("WORKLOADS", "").split()
    return [workload for workload in every if not chosen or workload.name in chosen]
