"""The check of power cuts is checked: what is found is spoilt in every way, and that must be noticed."""
import os, random, shutil, sqlite3, sys
from lib_power_cut import State, prepare
from lib_power_cut_workloads import PAGE, Book, Broken, Diary, Lanes, Sizes, stamp, whole, workloads


class SelfTest:
    """Every workload makes some steps in a plain directory; what is found is then spoilt, and the check must say so."""

    def __init__(self, directory):
        self.good, self.bad = os.path.join(directory, "good"), os.path.join(directory, "bad")
        os.mkdir(self.good)
        self.state = State(directory)
        self.books, self.bases = {}, {}
        prepare(self.good, self.state)

    def run(self):
        for workload in workloads():
            base = self.bases[workload.name] = self.state.load(f"{workload.name}.base")
            workload.steps = 30
            workload.start(self.good, base, Diary(self.state.diary(workload)), random.Random(f"{workload.name} to be spoilt"))
            book = self.books[workload.name] = Book(self.state.lines(workload))
            workload.check(self.good, base, book)
            ways = [getattr(self, name) for kind in type(workload).__mro__ for name in sorted(vars(SelfTest))
                    if name.startswith(f"{kind.__name__.lower()}_")]
            if not ways:
                sys.exit(f"{workload.name}: nobody knows how to spoil it")
            for way in ways:
                self.demand(way, workload, base, book)

    def demand(self, way, workload, base, book):
        shutil.rmtree(self.bad, ignore_errors=True)
        shutil.copytree(self.good, self.bad)
        book = way(workload, book) or book
        try:
            type(workload)(**{key: vars(workload)[key] for key in self.arguments(workload)}).check(self.bad, base, book)
        except Broken:
            return
        sys.exit(f"{way.__name__}: the check of {workload.name} does not see it")

    @staticmethod
    def arguments(workload):
        code = type(workload).__init__.__code__
        return code.co_varnames[1:code.co_argcount]

    def all_kept(self, workload):
        """The book if every change had been promised."""
        book = Book(self.state.lines(workload))
        book.floor = {lane: book.next for lane in range(Lanes.COUNT)}
        return book

    # One file. Pages are spoilt that were written to and promised.
    def content_after(self, workload, count):
        content = bytearray(self.bases[workload.name]["bytes"])
        for change in self.books[workload.name].begun[:count]:
            workload.apply(content, change)
        return bytes(content)

    def overwrite(self, workload, offset, data):
        with open(workload.path(self.bad), "r+b") as file:
            file.seek(offset)
            file.write(data)

    def touched(self, workload):
        """A page that a change altered in many places as it still shows: where it is, what it was, what it is."""
        begun = self.books[workload.name].begun
        last = self.content_after(workload, len(begun))
        for count in reversed(range(len(begun))):
            before, after = self.content_after(workload, count), self.content_after(workload, count + 1)
            for offset in range(0, len(last), PAGE):
                old, new, end = before[offset:offset + PAGE], after[offset:offset + PAGE], last[offset:offset + PAGE]
                if new == end and sum(map(int.__ne__, old, new)) > 90:
                    return offset, old, new
        sys.exit(f"{workload.name}: no change is left to be seen")

    def file_not_there(self, workload, book):
        os.unlink(workload.path(self.bad))

    def file_foreign_bytes(self, workload, book):
        self.overwrite(workload, os.path.getsize(workload.path(self.bad)) // 2, b"foreign")

    def file_zeros_within(self, workload, book):
        data = whole(workload.path(self.bad))
        self.overwrite(workload, next(i for i in range(len(data)) if data[i]), b"\0")
        return self.all_kept(workload)

    def file_one_byte_short(self, workload, book):
        os.truncate(workload.path(self.bad), os.path.getsize(workload.path(self.bad)) - 1)
        return self.all_kept(workload)

    def file_one_byte_long(self, workload, book):
        os.truncate(workload.path(self.bad), os.path.getsize(workload.path(self.bad)) + 1)
        return self.all_kept(workload)

    def file_foreign_bytes_at_the_end(self, workload, book):
        with open(workload.path(self.bad), "ab") as file:
            file.write(b"foreign")

    def log_last_record_lost(self, workload, book):
        os.truncate(workload.path(self.bad), len(self.content_after(workload, len(book.begun) - 1)))
        return self.all_kept(workload)

    def log_last_record_torn(self, workload, book):
        size = os.path.getsize(workload.path(self.bad))
        self.overwrite(workload, size - 1, b"\0")
        return self.all_kept(workload)

    def log_records_in_wrong_order(self, workload, book):
        data = whole(workload.path(self.bad))
        self.overwrite(workload, 0, data[1:] + data[:1])

    def blocks_old_page_is_back(self, workload, book):
        offset, old, _ = self.touched(workload)
        self.overwrite(workload, offset, old)
        return self.all_kept(workload)

    def blocks_torn_page(self, workload, book):
        offset, old, new = self.touched(workload)
        different = [i for i in range(len(new)) if old[i] != new[i]]
        middle = different[len(different) // 2]
        self.overwrite(workload, offset, new[:middle] + old[middle:])

    def lanes_old_page_is_back(self, workload, book):
        return self.blocks_old_page_is_back(workload, book)

    def sizes_of_before(self, workload, book):
        os.truncate(workload.path(self.bad), len(self.content_after(workload, len(book.begun) - 1)))
        if os.path.getsize(workload.path(self.bad)) == os.path.getsize(workload.path(self.good)):
            os.truncate(workload.path(self.bad), Sizes.LONGEST * 2)
        return self.all_kept(workload)

    # Names.
    def replaced_old_file_is_back(self, workload, book):
        change = book.begun[-2]
        with open(workload.file(self.bad), "wb") as file:
            file.write(stamp(workload.name, change.number, *change.values))
        return self.all_kept(workload)

    def replaced_file_is_cut_off(self, workload, book):
        os.truncate(workload.file(self.bad), os.path.getsize(workload.file(self.bad)) // 2)

    def replaced_file_has_zeros(self, workload, book):
        with open(workload.file(self.bad), "r+b") as file:
            file.write(bytes(min(100, os.path.getsize(workload.file(self.bad)))))

    def replaced_not_there(self, workload, book):
        os.unlink(workload.file(self.bad))

    def names_file_is_lost(self, workload, book):
        os.unlink(os.path.join(workload.path(self.bad), os.listdir(workload.path(self.bad))[0]))
        return self.all_kept(workload)

    def names_file_is_empty(self, workload, book):
        path = workload.path(self.bad)
        os.truncate(next(os.path.join(path, name) for name in os.listdir(path) if os.path.getsize(os.path.join(path, name))), 0)

    def names_unlinked_file_is_back(self, workload, book):
        created = {}
        for change in book.begun:
            if change.kind == "create":
                created[change.values[0]] = change
        name = next(name for name in created if not os.path.exists(os.path.join(workload.path(self.bad), name)))
        with open(os.path.join(workload.path(self.bad), name), "wb") as file:
            file.write(stamp(workload.name, created[name].number, created[name].values[1]))
        return self.all_kept(workload)

    def names_nobody_made(self, workload, book):
        with open(os.path.join(workload.path(self.bad), "foreign"), "wb"):
            pass

    def newest(self, workload):
        return os.path.join(workload.path(self.bad), str(max(int(name) for name in os.listdir(workload.path(self.bad)))))

    def directories_one_is_lost(self, workload, book):
        shutil.rmtree(self.newest(workload))
        return self.all_kept(workload)

    def directories_removed_one_is_back(self, workload, book):
        os.rename(self.newest(workload), os.path.join(workload.path(self.bad), "1"))
        return self.all_kept(workload)

    def directories_file_is_lost(self, workload, book):
        os.unlink(os.path.join(self.newest(workload), "deep/three"))

    # Databases.
    def database(self, workload, *statements):
        connection = sqlite3.connect(os.path.join(workload.path(self.bad), "db"))
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    def database_last_transaction_is_lost(self, workload, book):
        committed = [change.number for change in book.begun if change.kind == "commit"]
        self.database(workload, f"UPDATE last SET number = {committed[-2]}")
        return self.all_kept(workload)

    def database_half_a_transaction(self, workload, book):
        self.database(workload, "DELETE FROM cell WHERE id = (SELECT min(id) FROM cell)")

    def database_of_nobody(self, workload, book):
        self.database(workload, "UPDATE last SET number = 1000000")

    def database_is_damaged(self, workload, book):
        self.database(workload, "PRAGMA wal_checkpoint(TRUNCATE)")
        with open(os.path.join(workload.path(self.bad), "db"), "r+b") as file:
            file.seek(PAGE)
            file.write(random.Random(1).randbytes(PAGE))
