"""What a script finds in the guest: the NFS mount, the line to the host, and an end that is told.

    from lib_guest import meet, mount, options, unmount
    mount("/mnt", port=options["port"])
    meet("written")               # the host looks at the backing meanwhile

The line is a second serial port. The guest writes "reached NAME" and waits for the host's "NAME"; its last line is "ended 0"
or "ended 1". The kernel's and the script's own words go to the console, which the host shows when something is wrong.
"""
import ctypes
import os
import sys
import traceback
import tty

HOST = "10.0.2.2"  # so qemu's user network calls the host's loopback
LIBC = ctypes.CDLL(None, use_errno=True)
options = dict(word.split("=", 1) for word in open("/proc/cmdline").read().split() if "=" in word)  # guest.port=2049 ...
options = {name[6:]: value for name, value in options.items() if name.startswith("guest.")}
line = None


def check(result):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def mount(where, port, path="/", more=""):
    """The kernel itself asks the MOUNT service, since it is told where that is."""
    os.makedirs(where, exist_ok=True)
    words = f"vers=3,proto=tcp,port={port},mountport={port},mountproto=tcp,mountaddr={HOST},addr={HOST},nolock{more}"
    check(LIBC.mount(f"{HOST}:{path}".encode(), where.encode(), b"nfs", 0, words.encode()))


def unmount(where):
    check(LIBC.umount2(where.encode(), 0))


def meet(name):
    """Tells the host that this point is reached, and waits until it says to go on."""
    tell(f"reached {name}")
    answer = line.readline().decode().strip()
    assert answer == name, f"at {name} the host says {answer!r}"


def tell(text):
    line.write(text.encode() + b"\n")


def main():
    global line
    sys.modules["lib_guest"] = sys.modules["__main__"]
    line = open("/dev/ttyS1", "r+b", buffering=0)
    tty.setraw(line)
    status = 1
    try:
        with open(sys.argv[1], encoding="utf-8") as file:
            exec(compile(file.read(), sys.argv[1], "exec"), {"__name__": "__main__"})
        status = 0
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
    tell(f"ended {status}")


main()
