#!/bin/bash
# A client that sends each call when it has the reply of the last, served by one thread from the socket to the socket, which
# must not show but in the status: among such calls come others, several at once, in pieces, of other users and too long for
# that thread, the connection is lost, and the gateway ends. What was answered is in the backing then.
source "$(dirname "$0")/lib.sh"
source "$E2E/lib_nfs.sh"
need_root

mkdir "$WORK/source"
choose_nfs_port
start_nfs_server --nfs-squash none "$WORK/source" "$NFS_PORT"
cat >"$WORK/clients.py" <<'PYTHON'
import os, random, sys, threading, time
from lib_nfs import *

port, source, seed, seconds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
SIZE = 200_000

class Writer:
    """Writes to a file of its own, and knows what it must hold."""

    def __init__(self, number):
        self.random = random.Random(seed * 100 + number)
        self.name = b"file%d" % number
        self.number = number
        self.model = bytearray(SIZE)
        self.names = 0
        self.connect()
        self.root = expect(self.client.mount("/"), "OK").handle
        self.file = expect(self.client.create(self.root, self.name, UNCHECKED, mode=0o666), "OK").handle
        self.write(0, bytes(SIZE))

    def connect(self):
        self.client = Client(port)

    def write_body(self, offset, data):
        return opaque(self.file) + u64(offset) + u32(len(data), FILE_SYNC) + opaque(data)

    def write(self, offset, data):
        reply = expect(self.client.write(self.file, offset, data, FILE_SYNC), "OK")
        assert reply.count == len(data) and reply.committed == FILE_SYNC
        self.model[offset:offset + len(data)] = data

    def some_write(self, longest=6000):
        data = self.random.randbytes(self.random.randrange(1, longest))
        return self.random.randrange(SIZE - len(data)), data

    def one_by_one(self):
        for _ in range(self.random.randrange(5, 40)):
            self.write(*self.some_write())

    def check_read(self):
        offset, count = self.random.randrange(SIZE), self.random.randrange(1, 50_000)
        reply = expect(self.client.read(self.file, offset, count), "OK")
        assert reply.data == self.model[offset:offset + count], f"{self.name} reads wrong at {offset}"

    def several_at_once(self):
        """In one segment; their order is nobody's promise, so they do not overlap."""
        messages, part = {}, SIZE // 8
        for i in range(8):
            data = self.random.randbytes(self.random.randrange(1, 3000))
            offset = i * part + self.random.randrange(part - len(data))
            message = self.client.message(WRITE, self.write_body(offset, data))
            messages[message[:4]] = (message, offset, data)
        self.client.send(b"".join(record(message) for message, _, _ in messages.values()))
        for _ in range(len(messages)):
            reply = self.client.receive()
            _, offset, data = messages.pop(reply[:4])
            assert results_of(reply).status() == "OK"
            self.model[offset:offset + len(data)] = data

    def in_pieces(self):
        offset, data = self.some_write()
        call = record(self.client.message(WRITE, self.write_body(offset, data)))
        cuts = sorted(self.random.randrange(len(call)) for _ in range(self.random.randrange(1, 4)))
        for start, end in zip([0] + cuts, cuts + [len(call)]):
            self.client.send(call[start:end])
            time.sleep(self.random.choice([0, 0, 0.0005, 0.003]))
        assert results_of(self.client.receive()).status() == "OK"
        self.model[offset:offset + len(data)] = data

    def long_one(self):
        self.write(*self.some_write(longest=SIZE))

    def as_somebody_else(self):
        self.client.user, self.client.group = 1000, 1000
        self.one_by_one()
        expect(self.client.setattr(self.file, mode=0o600), "PERM")
        self.client.user, self.client.group = 0, 0

    def names_of_files(self):
        for _ in range(self.random.randrange(3, 12)):
            name = b"name%d.%d" % (self.number, self.names)
            self.names += 1
            expect(self.client.create(self.root, name, EXCLUSIVE, verifier=self.random.randbytes(8)), "OK")
            expect(self.client.lookup(self.root, name), "OK")
            expect(self.client.remove(self.root, name), "OK")
            expect(self.client.lookup(self.root, name), "NOENT")

    def small_things(self):
        self.client.null()
        assert expect(self.client.getattr(self.file), "OK").attributes.size == SIZE
        assert self.client.exports()
        expect(self.client.commit(self.file), "OK")

    def new_connection(self):
        """A call whose reply nobody takes: it is made again, on the next connection, under its old name."""
        name = b"again%d.%d" % (self.number, self.names)
        self.names += 1
        message = self.client.message(CREATE, where(self.root, name) + u32(GUARDED) + settable(mode=0o644))
        self.client.send(record(message))
        self.client.close()
        self.connect()
        assert results_of(self.client.exchange(message)).status() in ("OK", "EXIST")
        expect(self.client.remove(self.root, name), "OK")

    def run(self, until):
        others = [self.check_read, self.several_at_once, self.in_pieces, self.long_one, self.as_somebody_else,
                  self.names_of_files, self.small_things, self.new_connection, lambda: time.sleep(0.005)]
        while time.monotonic() < until:
            self.one_by_one()
            self.random.choice(others)()

    def check_backing(self, unanswered=None):
        with open(os.path.join(source.encode(), self.name), "rb") as file:
            found = file.read()
        if unanswered is not None:  # may be there or not
            offset, data = unanswered
            self.model[offset:offset + len(data)] = found[offset:offset + len(data)]
        assert found == self.model, f"{self.name} holds wrong bytes in the backing"

failures = []
def in_thread(writer, until):
    try:
        writer.run(until)
        writer.check_backing()
    except BaseException:
        failures.append(writer.name)
        traceback.print_exc()

if seconds > 0:
    writers = [Writer(number) for number in range(3)]
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=in_thread, args=(writer, until)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.exit(f"wrong: {failures}" if failures else 0)

# Until the gateway ends.
writer = Writer(9)
print("writing", flush=True)
while True:
    under_way = writer.some_write()
    try:
        writer.write(*under_way)
    except Closed:
        writer.check_backing(under_way)
        sys.exit(0)
PYTHON

SECONDS_OF_CLIENTS=${SECONDS_OF_CLIENTS:-6}
SEED=${SLUICE_SEED:-$RANDOM}
echo "SLUICE_SEED=$SEED"
run_python "$WORK/clients.py" "$NFS_PORT" "$WORK/source" "$SEED" "$SECONDS_OF_CLIENTS" || fail "see above"
(($(status nfs.direct_calls) > 100)) || fail "no thread received calls: $(status nfs.direct_calls)"

for signal in TERM KILL; do
  run_python "$WORK/clients.py" "$NFS_PORT" "$WORK/source" "$SEED" 0 >"$WORK/writing" &
  CLIENT=$!
  wait_until 10 grep -q writing "$WORK/writing" || fail "the client does not write"
  sleep "0.$((RANDOM % 3 + 1))"
  if [[ $signal == TERM ]]; then
    kill -TERM "$GATEWAY"
    await_end "$GATEWAY" || fail "the gateway ended with $?"
  else
    kill_nfs_server
  fi
  wait "$CLIENT" || fail "after SIG$signal: see above"
  [[ $signal == KILL ]] || start_nfs_server --nfs-squash none "$WORK/source" "$NFS_PORT"
done
