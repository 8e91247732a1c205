#!/bin/bash
# Directories over HTTP: redirects, indexes, pages for people and for programs, names of every kind, and a directory of
# many entries whose page is neither built in memory nor read ahead of its client.
source "$(dirname "$0")/lib.sh"
need_root

ENTRIES=100000

get() { curl -sS "$@"; }
code() { equal "status of ${*:2}" "$(http_code "${@:2}")" "$1"; }        # STATUS CURL-ARGUMENT...
header() { equal "$1 of ${*:3}" "$(http_header "$1" "${@:3}")" "$2"; }   # NAME VALUE CURL-ARGUMENT...

make_source() {
  run_python - "$1" <<'PYTHON'
import os, sys
os.chdir(sys.argv[1])
names = [b"plain", b"a b", b"<img src=x onerror=alert(1)>", b"quote\"'&", b"100%", b"q?r#s", b"javascript:x", b"\xff\xfe",
         b"line\nfeed", "\u20ac\U0001f600".encode(), b"back\\slash", b"+plus", b"n" * 255]
os.mkdir("names")
for i, name in enumerate(names):
    with open(b"names/" + name, "wb") as file:
        file.write(b"content of " + name)
    os.utime(b"names/" + name, (1600000000 + i, 1600000000 + i))
os.makedirs("site/sub")
with open("site/index.html", "w") as file:
    file.write("the index")
os.mkdir("closed", 0o700)
os.mkdir("links")
os.symlink("../names/plain", "links/inside")
os.symlink("/etc/hostname", "links/outside")
os.symlink("nothing", "links/dangling")
os.symlink("../names", "links/directory")
PYTHON
}

check_ways() {
  code 301 "$HTTP/names"
  header Location /names/ "$HTTP/names"
  header Location '/names/?sort=size' "$HTTP/names?sort=size"
  equal "page behind the redirect" "$(get -L "$HTTP/names")" "$(get "$HTTP/names/")"
  code 403 "$HTTP/closed/"
  code 404 "$HTTP/nothing/"
  equal "index" "$(get "$HTTP/site/")" "the index"
  header Content-Type "application/json" -H 'Accept: application/json' "$HTTP/names/"
  header Content-Type "text/html; charset=utf-8" "$HTTP/names/"
  equal "links" "$(get -H 'Accept: application/json' "$HTTP/links/" | run_python -c '
import json, sys
print(*(entry["name"] for entry in json.load(sys.stdin)))')" "directory inside"
}

# Every name leads to its file, from the HTML and from the JSON, and nothing of a name is markup.
check_names() {
  run_python - "$HTTP" "$WORK/source/names" <<'PYTHON'
import html.parser, json, os, sys, urllib.parse, urllib.request
base = sys.argv[1] + "/names/"
directory = os.fsencode(sys.argv[2])
def get(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
        return answer.read()
class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.tags, self.text = [], set(), []
    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name == "href"]
    def handle_data(self, data):
        self.text.append(data)
names = sorted(os.listdir(directory))
page = Page()
page.feed(get(base).decode("utf-8"))
assert "img" not in page.tags, page.tags
assert "<img src=x onerror=alert(1)>" in page.text
links = [link for link in page.links if not link.startswith("?") and link not in ("../", "./")]
assert sorted(urllib.parse.unquote_to_bytes(link) for link in links) == names, links
entries = json.loads(get(base, Accept="application/json"))
assert [urllib.parse.unquote_to_bytes(entry["href"]) for entry in entries] == names
for entry, name in zip(entries, names):
    path = os.path.join(directory, name)
    assert entry["type"] == "file" and entry["size"] == os.path.getsize(path), entry
    assert entry["mtime"].startswith("2020-09-13T12:26:"), entry
    assert entry["name"] == "".join(
        "\ufffd" if 0xdc80 <= ord(c) <= 0xdcff else c for c in name.decode("utf-8", "surrogateescape")), entry
for link in links + [entry["href"] for entry in entries]:
    name = urllib.parse.unquote_to_bytes(link)
    assert get(urllib.parse.urljoin(base, link)) == b"content of " + name, link
by_date = json.loads(get(base + "?sort=date&order=desc", Accept="application/json"))
assert [entry["mtime"] for entry in by_date] == sorted((entry["mtime"] for entry in entries), reverse=True)
by_size = json.loads(get(base + "?sort=size", Accept="application/json"))
assert [entry["size"] for entry in by_size] == sorted(entry["size"] for entry in entries)
PYTHON
}

check_many() {
  local before peak
  before=$(memory_kib)
  get "$HTTP/many/" >"$WORK/page"
  equal "entries of the page" "$(grep -c '<tr><td><a href="f' "$WORK/page")" "$ENTRIES"
  equal "its end" "$(tail -n 1 "$WORK/page")" "</html>"
  equal "entries of the JSON" "$(get -H 'Accept: application/json' "$HTTP/many/" | run_python -c '
import json, sys
print(len({entry["name"] for entry in json.load(sys.stdin)}))')" "$ENTRIES"
  equal "entries for HTTP/1.0" "$(get -0 "$HTTP/many/" | grep -c '<tr><td><a href="f')" "$ENTRIES"
  peak=$(memory_kib)
  at_most "KiB more after pages of $(stat -c %s "$WORK/page") bytes" $((peak - before)) 12288
}
memory_kib() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$GATEWAY/status"; }

# Clients that stop reading hold a page each, and nobody up.
check_stuck() {
  run_python - "$HTTP/many/" <<'PYTHON'
import sys, time, urllib.request
import lib_http
stuck = [lib_http.Response(sys.argv[1], receive_buffer=4096) for _ in range(12)]
started = time.monotonic()
for _ in range(20):
    with urllib.request.urlopen(sys.argv[1].replace("many", "names")) as page:
        assert b"</html>" in page.read()
assert time.monotonic() - started < 5, "other pages wait for clients that stopped reading"
PYTHON
}

mkdir "$WORK/source"
make_source "$WORK/source"
start_serve --cache-size 32M "$WORK/source"
check_ways
check_names
equal "failures of the server" "$(status http.responses_5xx)" 0
stop_gateway
start_serve --cache-size 32M --http-listing off --http-index off "$WORK/source"
code 403 "$HTTP/names/"
code 403 "$HTTP/site/"
code 200 "$HTTP/site/index.html"
stop_gateway

own_disk "$WORK/disk" 1G
mkdir -p "$WORK/disk/many" "$WORK/disk/names"
chmod 755 "$WORK/disk"
run_python -c '
import os, sys
os.chdir(sys.argv[1])
for i in range(int(sys.argv[2])):
    os.close(os.open(f"f{i:07}", os.O_CREAT | os.O_WRONLY, 0o644))' "$WORK/disk/many" "$ENTRIES"
start_serve --cache-size 32M "$WORK/disk"
check_many
check_stuck
equal "failures of the server" "$(status http.responses_5xx)" 0
stop_gateway
