"""Makes a tree of everything a file system can hold and a copy could lose: lib_tree.py DIRECTORY SMALL_FILES"""
import os
import random
import socket
import stat
import struct
import subprocess
import sys

random.seed(7)


def write(name, data, mode=0o644):
    with open(name, "wb") as file:
        file.write(data)
    os.chmod(name, mode)


def names():
    os.mkdir(b"names")
    odd = [b"new\nline", b"tab\there", b" leading", b"trailing ", b"-dash", b"quote\"'`$(x)", b"back\\slash", b"star*?[x]",
           "\u00fc\u4e2d\U0001f30d".encode(), b"\xff\xfe not utf-8 \x80", b"n" * 255, "\u00e9".encode() * 127 + b"e", b"%41%2f", b"...",
           b"\x01\x1b[31m"]
    for name in odd:
        write(b"names/" + name, b"content of " + name)
    deep = b"names/" + b"d" * 255
    for _ in range(3):
        os.mkdir(deep)
        deep += b"/" + b"d" * 255
    write(deep[:-200], b"deep")


def links():
    os.mkdir("links")
    write("links/file", b"x" * 5000)
    for i in range(5):
        os.link("links/file", f"links/hard{i}")
    os.mkdir("links/elsewhere")
    os.link("links/file", "links/elsewhere/hard")
    for name, target in [("relative", "file"), ("up", "../names"), ("absolute", "/etc/hostname"), ("dangling", "nowhere"),
                         ("loop", "loop"), ("long", "t/" * 2000 + "t"), ("odd", b"\xff\n")]:
        os.symlink(target, os.path.join(os.fsencode("links"), os.fsencode(name)))
    os.link("links/dangling", "links/dangling2", follow_symlinks=False)


def modes():
    os.mkdir("modes")
    for mode in (0o4755, 0o2755, 0o6711, 0o1644, 0o000, 0o200, 0o444, 0o7777):
        write(f"modes/f{mode:04o}", b"m" * mode, mode)
    for mode in (0o2775, 0o1777, 0o3770, 0o700, 0o555):
        os.mkdir(f"modes/d{mode:04o}")
        os.chmod(f"modes/d{mode:04o}", mode)
    for uid, gid in ((1234, 5678), (65534, 65534), (4000000000, 1)):
        write(f"modes/owner{uid}", b"o")
        os.chown(f"modes/owner{uid}", uid, gid)
        for name, make, mode in ((f"set_ids{uid}", lambda name: write(name, b"s"), 0o6755), (f"shared{uid}", os.mkdir, 0o2775)):
            make(f"modes/{name}")
            os.chown(f"modes/{name}", uid, gid)
            os.chmod(f"modes/{name}", mode)
    os.symlink("f0444", "modes/owned_link")
    os.lchown("modes/owned_link", 1234, 5678)


def attributes():
    os.mkdir("attributes")
    write("attributes/user", b"a")
    os.setxattr("attributes/user", "user.empty", b"")
    os.setxattr("attributes/user", "user.binary", bytes(range(256)))
    os.setxattr("attributes/user", "user.long", b"v" * 1500)
    os.setxattr("attributes", "user.directory", b"d")
    os.setxattr("attributes/user", "trusted.secret", b"s")
    write("attributes/capable", b"c", 0o755)
    os.setxattr("attributes/capable", "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))
    os.symlink("user", "attributes/link")
    os.setxattr("attributes/link", "trusted.link", b"l", follow_symlinks=False)


def access_lists():
    os.mkdir("acl")
    write("acl/file", b"acl")
    run = lambda *words: subprocess.run(words, check=True)
    run("setfacl", "-m", "u:1234:rw,g:5678:r,m::rw", "acl/file")
    os.mkdir("acl/directory")
    run("setfacl", "-m", "u:1234:rwx,d:u:1234:rwx,d:g::r-x,d:o::---", "acl/directory")
    os.mkdir("acl/directory/inherits")
    write("acl/directory/made_inside", b"i")


def special():
    os.mkdir("special")
    os.mkfifo("special/fifo", 0o640)
    os.mknod("special/character", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod("special/block", 0o660 | stat.S_IFBLK, os.makedev(7, 123))
    os.mknod("special/big", 0o600 | stat.S_IFCHR, os.makedev(300, 70000))
    os.chdir("special")
    socket.socket(socket.AF_UNIX).bind("socket")
    os.chdir("..")


def sizes():
    os.mkdir("sizes")
    for size in (0, 1, 511, 512, 4095, 4096, 4097, 65535, 65536, 65537, 131072, 1048575, 1048577, 3000000):
        write(f"sizes/{size}", random.randbytes(size))
    with open("sizes/sparse", "wb") as file:
        for offset in (0, 1 << 20, (5 << 20) + 123):
            file.seek(offset)
            file.write(b"data")
        file.truncate(8 << 20)
    os.mkdir("empty")
    os.makedirs("empties/a/b/c")
    write("times", b"t")
    os.utime("times", ns=(1, 1234567890123456789))
    write("ancient", b"a")
    os.utime("ancient", ns=(0, -86400 * 10**9))


def small_files(count):
    for i in range(count):
        directory = f"many/{i % 7}/{i % 31}"
        if i < 7 * 31:
            os.makedirs(directory, exist_ok=True)
        write(f"{directory}/file_{i}", random.randbytes(random.randrange(0, 6000)))


if __name__ == "__main__":
    os.umask(0)
    os.makedirs(sys.argv[1], exist_ok=True)
    os.chdir(sys.argv[1])
    names()
    links()
    modes()
    attributes()
    access_lists()
    special()
    sizes()
    small_files(int(sys.argv[2]))
