#!/bin/bash
# A part of the real /usr is the same through the mount, and 200 of its files have the same sha256 over HTTP.
source "$(dirname "$0")/lib.sh"
need_root
need rsync sha256sum

sample_of_files() {  # every directory here, 200 files that nobody is, and so HTTP, may read
  find /usr/bin /usr/include /usr/share -xdev -type f -size -4096k -perm -o=r -printf '%P\0%H/%P\0' |
    run_python -c '
import random, sys
fields = sys.stdin.buffer.read().split(b"\0")[:-1]
files = sorted(fields[1::2])
seed = random.randrange(1 << 32)
print(f"seed {seed}", file=sys.stderr)
sys.stdout.buffer.write(b"\0".join(random.Random(seed).sample(files, min(200, len(files)))) + b"\0")'
}

compare_over_http() {
  run_python - "$HTTP" "$WORK/sample" <<'PYTHON'
import hashlib, http.client, sys, urllib.parse
url, sample = sys.argv[1:]
connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)
paths = open(sample, "rb").read().split(b"\0")[:-1]
assert len(paths) == 200, f"only {len(paths)} files"
for path in paths:
    relative = path[len(b"/usr"):]
    connection.request("GET", urllib.parse.quote(relative))
    answer = connection.getresponse()
    body = answer.read()
    wanted = open(path, "rb").read()
    if answer.status != 200 or hashlib.sha256(body).digest() != hashlib.sha256(wanted).digest():
        sys.exit(f"{path}: status {answer.status}, {len(body)} bytes that are not the {len(wanted)} of the file")
PYTHON
}

mkdir "$WORK/mount"
DAEMON_PREFIX=(prlimit --nofile=1024:1024)
start_mount --cache-size 64M --http 127.0.0.1:0 /usr "$WORK/mount"
for part in bin include share/perl share/zoneinfo sbin; do
  [[ -d /usr/$part ]] || continue
  same_tree "/usr/$part" "$WORK/mount/$part"
done
sample_of_files >"$WORK/sample" 2>"$WORK/seed"
compare_over_http || fail "over HTTP, $(cat "$WORK/seed")"
stop_gateway
