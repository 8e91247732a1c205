#!/bin/bash
# Files without a name (O_TMPFILE): as on the backing, they belong to who makes them, get a name by linkat(2) unless
# they were made with O_EXCL, and leave nothing behind when they get none. And birth times are the backing's. What
# libfuse is too old for says so, and nothing else.
source "$(dirname "$0")/lib.sh"
need_root

HAS=$("$SLUICE" --version | tail -n 1)  # libfuse 3.17.2 +tmpfile -statx
mkdir -m 777 "$WORK/source" "$WORK/mount"
chmod 777 "$WORK/source"

as_the_backing_does() {  # OPTION...
  start_mount --cache-size 16M "$@" "$WORK/source" "$WORK/mount"
  run_python - "$WORK/mount" "$WORK/source" "$HAS" <<'PYTHON' || fail "$*: see above"
import ctypes, errno, os, sys, stat

mount, source, has = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH = -100, 0x400, 0x1000

def link(fd, name):  # 0 or the errno
    path = f"/proc/self/fd/{fd}".encode()
    return 0 if libc.linkat(AT_FDCWD, path, AT_FDCWD, name.encode(), AT_SYMLINK_FOLLOW) == 0 else ctypes.get_errno()

def nameless(flags=0, mode=0o640, root=mount):
    return os.open(root, os.O_TMPFILE | os.O_RDWR | flags, mode)

def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: {got!r}, expected {wanted!r}")

def as_user(uid, call):
    child = os.fork()
    if child == 0:
        try:
            os.setgid(uid), os.setuid(uid), os.umask(0o027)
            call()
            os._exit(0)
        except SystemExit as end:
            print(end, file=sys.stderr)
        finally:
            os._exit(1)
    expect(f"as user {uid}", os.waitpid(child, 0)[1], 0)

def use_one():
    content = os.urandom(100001)
    fd = nameless(mode=0o666)
    os.pwrite(fd, content, 0)
    expect("what was written", os.pread(fd, 1 << 20, 0), content)
    status = os.fstat(fd)
    expect("links, owner, mode, size", (status.st_nlink, status.st_uid, oct(status.st_mode), status.st_size),
           (0, 1234, oct(stat.S_IFREG | 0o640), len(content)))
    expect("names", os.listdir(mount), [])
    expect("linkat", link(fd, f"{mount}/named"), 0)
    expect("the name on the backing", open(f"{source}/named", "rb").read(), content)
    there, here = os.stat(f"{mount}/named"), os.fstat(fd)
    expect("the file of the name", (there.st_ino, there.st_nlink), (here.st_ino, 1))
    os.pwrite(fd, b"after", 3)
    expect("by its name", open(f"{mount}/named", "rb").read(), content[:3] + b"after" + content[8:])
    expect("linkat to a name that is there", link(fd, f"{mount}/named"), errno.EEXIST)
    expect("a second name", link(fd, f"{mount}/second"), 0)
    expect("links", os.fstat(fd).st_nlink, 2)
    os.close(fd)
    expect("when it is closed", os.stat(f"{mount}/second").st_ino, here.st_ino)
    os.unlink(f"{mount}/named"), os.unlink(f"{mount}/second")

    exclusive = nameless(os.O_EXCL)
    os.write(exclusive, b"x")
    expect("linkat after O_EXCL", link(exclusive, f"{mount}/never"), link(nameless(os.O_EXCL, root=source), f"{source}/never"))
    os.close(exclusive)

def execute_one():
    fd = nameless(mode=0o755)
    os.write(fd, b"#!/bin/sh\nexit 7\n")
    expect("linkat of a program", link(fd, f"{mount}/program"), 0)
    os.close(fd)
    for root in (mount, source):
        expect(f"a program in {root}", os.waitstatus_to_exitcode(os.system(f"{root}/program")), 7)
    os.unlink(f"{mount}/program")

if "+tmpfile" in has:
    as_user(1234, use_one)
    as_user(1234, execute_one)
    os.mkdir(f"{source}/private", 0o755)
    def refused():
        try:
            nameless(root=f"{mount}/private")
        except PermissionError:
            return
        sys.exit("a file in a directory of somebody else")
    as_user(1234, refused)
    os.rmdir(f"{source}/private")
else:
    try:
        nameless()
        sys.exit("O_TMPFILE is done by a libfuse that does not have it")
    except OSError as error:
        expect("O_TMPFILE", error.errno, errno.EOPNOTSUPP)
expect("what is left", os.listdir(source), [])
PYTHON
}

born() { stat -c %W "$1"; }
birth_times() {
  touch "$WORK/mount/file"
  mkdir "$WORK/mount/directory"
  local name
  for name in file directory .; do
    if [[ $HAS == *+statx* ]]; then
      equal "birth time of $name" "$(stat -c %w "$WORK/mount/$name")" "$(stat -c %w "$WORK/source/$name")"
    else
      equal "birth time of $name" "$(born "$WORK/mount/$name")" 0
    fi
    equal "attributes of $name" "$(stat -c '%s %U %a %h %Y %Z' "$WORK/mount/$name")" "$(stat -c '%s %U %a %h %Y %Z' "$WORK/source/$name")"
  done
  rm -r "$WORK/mount/file" "$WORK/mount/directory"
}

as_the_backing_does
birth_times
stop_gateway
start_mount --cache-size 16M --uid 77 --umask 077 "$WORK/source" "$WORK/mount"
if [[ $HAS == *+statx* ]]; then
  touch "$WORK/source/file"
  different "a birth time" "$(born "$WORK/mount/file")" 0
  equal "the owner that is shown" "$(stat -c '%u %a' "$WORK/mount/file")" "77 700"
fi
stop_gateway
[[ $HAS == *+tmpfile* ]] || skip "there is only what libfuse is too old for: $HAS"
