#!/bin/bash
# /metrics is what Prometheus takes (promtool, where it is installed, and a strict parser here), at an address of its own,
# and says what `sluice status` says.
source "$(dirname "$0")/lib.sh"

mkdir "$WORK/source"
echo content >"$WORK/source/file"
chmod 755 "$WORK/source"
start_serve --metrics 127.0.0.1:0 --http-prefix /metrics "$WORK/source"
METRICS=http://$(status metrics_address)/metrics
for _ in 1 2 3; do http_code "$HTTP/metrics/file" >/dev/null; done
equal "status of the export's own root" "$(http_code "$HTTP/")" 404
equal "Content-Type" "$(http_header Content-Type "$METRICS")" "text/plain; version=0.0.4; charset=utf-8"
curl -sS "$METRICS" >"$WORK/metrics"
status '' >"$WORK/status"
run_python - "$WORK/metrics" "$WORK/status" <<'PYTHON'
import json, re, sys
text, status = open(sys.argv[1]).read(), json.load(open(sys.argv[2]))
assert text.endswith("\n")
kinds, helps, samples, current = {}, {}, {}, None
sample = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (\S+)')
for line in text.splitlines():
    words = line.split(" ", 3)
    if line.startswith("# HELP "):
        assert words[2] not in helps and words[3], line
        helps[words[2]] = current = words[2]
    elif line.startswith("# TYPE "):
        assert words[2] == current and words[2] not in kinds and words[3] in ("counter", "gauge"), line
        kinds[words[2]] = words[3]
    else:
        found = sample.fullmatch(line)
        assert found and found[1] == current and (found[1], found[2]) not in samples, line
        assert (kinds[current] == "counter") == current.endswith("_total"), line
        samples[found[1], found[2]] = float(found[3])
for field, name in {"cache.misses": "cache_misses_total", "disk.reads": "disk_reads_total",
                    "http.requests": "http_requests_total", "cache.size_bytes": "cache_size_bytes"}.items():
    outer, inner = field.split(".")
    assert samples["sluice_" + name, None] == status[outer][inner], (field, samples["sluice_" + name, None])
assert samples["sluice_http_requests_total", None] == 4
assert samples["sluice_http_responses_total", '{code="2xx"}'] == 3
PYTHON
if command -v promtool >/dev/null; then promtool check metrics <"$WORK/metrics" >&2 || fail "promtool complains"; fi
refuses 1 'metrics.*in use' serve --http 127.0.0.1:0 --metrics "${HTTP#http://}" "$WORK/source"
stop_gateway
