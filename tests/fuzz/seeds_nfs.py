#!/usr/bin/env python3
"""Writes the seeds of fuzz_nfs: calls of every procedure, on the tree that the driver makes and with the handles of its
key, which is all zeros.

    tests/fuzz/seeds_nfs.py tests/fuzz/corpus/nfs
"""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
from lib_nfs import *

MASK = (1 << 64) - 1


def siphash(data, key=(0, 0)):
    """SipHash-2-4."""
    v = [key[0] ^ 0x736F6D6570736575, key[1] ^ 0x646F72616E646F6D, key[0] ^ 0x6C7967656E657261, key[1] ^ 0x7465646279746573]

    def turn(value, bits):
        return (value << bits | value >> (64 - bits)) & MASK

    def rounds(count):
        for _ in range(count):
            v[0] = (v[0] + v[1]) & MASK
            v[1] = turn(v[1], 13) ^ v[0]
            v[0] = turn(v[0], 32)
            v[2] = (v[2] + v[3]) & MASK
            v[3] = turn(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & MASK
            v[3] = turn(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & MASK
            v[1] = turn(v[1], 17) ^ v[2]
            v[2] = turn(v[2], 32)

    end = len(data) - len(data) % 8
    for word in [*struct.unpack(f"<{end // 8}Q", data[:end]),
                 int.from_bytes(data[end:], "little") | (len(data) & 255) << 56]:
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return struct.pack("<Q", v[0] ^ v[1] ^ v[2] ^ v[3])


def handle(number=None):
    own = b"" if number is None else struct.pack("<Q", number)
    sealed = bytes([1, len(own)]) + bytes(4) + own
    return sealed + siphash(sealed)


class Messages(Client):
    """Only makes them."""

    def __init__(self):
        self.user, self.group, self.groups = 1000, 1000, [4, 24]


root, directory, nested, file, link = handle(), *map(handle, range(2, 6))
NOBODY, READ_ONLY = 1, 2  # bits of the xid
call = Messages().message
attributes = settable(mode=0o640, user=1, group=2, size=3000, atime=SERVER_TIME, mtime=1_600_000_000_000_000_005)
calls = {
    "null": call(NULL),
    "getattr": call(GETATTR, opaque(file)),
    "setattr": call(SETATTR, opaque(file) + attributes + u32(0)),
    "setattr_guard": call(SETATTR, opaque(nested) + settable(mode=0o600) + u32(1) + time_of(0)),
    "lookup": call(LOOKUP, where(directory, b"file")),
    "lookup_parent": call(LOOKUP, where(root, b"..")),
    "access": call(ACCESS, opaque(file) + u32(63)),
    "readlink": call(READLINK, opaque(link)),
    "read": call(READ, opaque(file) + u64(0) + u32(100)),
    "write": call(WRITE, opaque(nested) + u64(100) + u32(5, UNSTABLE) + opaque(b"bytes")),
    "write_stable": call(WRITE, opaque(nested) + u64((1 << 63) - 10) + u32(5, FILE_SYNC) + opaque(b"bytes")),
    "create": call(CREATE, where(directory, b"new") + u32(UNCHECKED) + attributes),
    "create_guarded": call(CREATE, where(directory, b"file") + u32(GUARDED) + settable()),
    "create_exclusive": call(CREATE, where(directory, b"new") + u32(EXCLUSIVE) + b"verifier"),
    "mkdir": call(MKDIR, where(directory, b"new") + settable(mode=0o755)),
    "symlink": call(SYMLINK, where(directory, b"new") + settable() + opaque(b"target")),
    "mknod": call(MKNOD, where(directory, b"new") + u32(FIFO) + settable()),
    "mknod_device": call(MKNOD, where(directory, b"new") + u32(CHARACTER) + settable() + u32(1, 3)),
    "remove": call(REMOVE, where(directory, b"file")),
    "rmdir": call(RMDIR, where(root, b"directory")),
    "rename": call(RENAME, where(directory, b"file") + where(directory, b"other")),
    "link": call(LINK, opaque(nested) + where(directory, b"other")),
    "readdir": call(READDIR, opaque(root) + u64(0) + bytes(8) + u32(4096)),
    "readdirplus": call(READDIRPLUS, opaque(root) + u64(0) + bytes(8) + u32(512, 4096)),
    "readdirplus_rest": call(READDIRPLUS, opaque(root) + u64(2) + bytes(8) + u32(8192, 1 << 20)),
    "fsstat": call(FSSTAT, opaque(root)),
    "fsinfo": call(FSINFO, opaque(root)),
    "pathconf": call(PATHCONF, opaque(root)),
    "commit": call(COMMIT, opaque(nested) + u64(0) + u32(0)),
    "mount": call(1, opaque(b"/directory"), program=MOUNT),
    "dump": call(2, program=MOUNT),
    "unmount": call(3, opaque(b"/directory"), program=MOUNT),
    "unmount_all": call(4, program=MOUNT),
    "exports": call(5, program=MOUNT),
    "no_credential": call(GETATTR, opaque(root), cred=credential(AUTH_NONE)),
    "other_credential": call(GETATTR, opaque(root), cred=credential(6, b"gss")),
    "too_many_groups": call(GETATTR, opaque(root), cred=credential(AUTH_SYS, u32(0) + opaque(b"m") + u32(0, 0, 17, *range(17)))),
    "other_version": call(NULL, version=4),
    "other_rpc": call(NULL, rpc_version=3),
    "forged": call(GETATTR, opaque(root[:-1] + b"x")),
}
# The same numbers each time.
calls = {name: u32(number * 4) + message[4:] for number, (name, message) in enumerate(calls.items())}
several = {
    "written_and_removed": ["create", "write", "read", "commit", "readdirplus", "readdirplus", "remove", "write"],
    "made_and_listed": ["mkdir", "symlink", "link", "mknod", "readdir", "readdir", "rename", "readdirplus"],
    "mounted": ["mount", "dump", "unmount", "dump"],
}
folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)
for name, message in calls.items():
    with open(os.path.join(folder, name), "wb") as seed:
        seed.write(record(message))
for name, parts in several.items():
    with open(os.path.join(folder, name), "wb") as seed:
        seed.write(b"".join(record(calls[part]) for part in parts))
for name, bit in (("nobody", NOBODY), ("read_only", READ_ONLY)):
    with open(os.path.join(folder, name), "wb") as seed:
        for message in calls.values():
            seed.write(record(u32(struct.unpack(">I", message[:4])[0] | bit) + message[4:]))
