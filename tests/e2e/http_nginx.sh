#!/bin/bash
# nginx as a caching proxy in front: it keeps what --http-cache-control allows, asks again with conditions, slices files into
# ranges, and passes directories through.
source "$(dirname "$0")/lib.sh"
need nginx

readonly kSize=$(((10 << 20) + 77))

free_port() { run_python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

mkdir -p "$WORK/source/dir" "$WORK/nginx"
run_python "$E2E/lib_pattern.py" make "$WORK/source/file" "$kSize" 3
echo small >"$WORK/source/dir/small"
touch -d 2020-01-01 "$WORK/source/dir/small" "$WORK/source/file"
chmod -R a+rX "$WORK/source"
start_serve --http-cache-control 'public, max-age=1' "$WORK/source"
PORT=$(free_port)
PROXY=http://127.0.0.1:$PORT
cat >"$WORK/nginx/nginx.conf" <<CONF
daemon off;
master_process off;
pid $WORK/nginx/pid;
error_log $WORK/nginx/error.log;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path $WORK/nginx/body;
  proxy_temp_path $WORK/nginx/temp;
  fastcgi_temp_path $WORK/nginx/f;
  uwsgi_temp_path $WORK/nginx/u;
  scgi_temp_path $WORK/nginx/s;
  proxy_cache_path $WORK/nginx/cache keys_zone=zone:1m;
  server {
    listen 127.0.0.1:$PORT;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_cache zone;
    proxy_cache_revalidate on;
    add_header X-Cache \$upstream_cache_status;
    location / { proxy_pass $HTTP; }
    location /sliced/ {
      slice 1m;
      proxy_cache_key \$uri\$slice_range;
      proxy_set_header Range \$slice_range;
      proxy_cache_valid 206 1h;
      proxy_pass $HTTP/;
    }
  }
}
CONF
background nginx -p "$WORK/nginx" -c "$WORK/nginx/nginx.conf" -e "$WORK/nginx/error.log"
proxy_answers() { [[ $(http_code "$PROXY/dir/small" 2>/dev/null) == 200 ]]; }
wait_until 10 proxy_answers || skip "nginx does not start: $(tail -n 1 "$WORK/nginx/error.log")"

cached() { http_header X-Cache "$PROXY/dir/small"; }
is_revalidated() { [[ $(cached) == REVALIDATED ]]; }
before=$(status http.responses_3xx)
wait_until 10 is_revalidated || fail "nginx never asks again with conditions"
at_least "answers that nothing changed" "$(status http.responses_3xx)" $((before + 1))
equal "what the cache says right after" "$(cached)" HIT
curl -sS -o "$WORK/got" "$PROXY/file"
same_bytes "$WORK/got" "$WORK/source/file"
curl -sS -o "$WORK/sliced" "$PROXY/sliced/file"
same_bytes "$WORK/sliced" "$WORK/source/file"
equal "range of a sliced file" "$(curl -sS -r 3000000-3000099 "$PROXY/sliced/file" | sha256sum)" \
  "$(tail -c +3000001 "$WORK/source/file" | head -c 100 | sha256sum)"
[[ $(curl -sS "$PROXY/dir/") == *'href="small"'* ]] || fail "no page of a directory through the proxy"
equal "status of a directory without its slash" "$(http_code "$PROXY/dir")" 301
equal "failures of the server" "$(status http.responses_5xx)" 0
stop_gateway
