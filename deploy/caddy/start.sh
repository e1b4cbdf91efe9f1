#!/bin/sh
# Start Caddy with small buffers for each WebSocket, if this Caddy can have them: older ones know only 32 KiB.
set -- --config /etc/caddy/Caddyfile --adapter caddyfile
export NEUROONE_STREAM_BUFFER='stream_buffer_size 4KiB'
caddy adapt "$@" >/dev/null 2>&1 || NEUROONE_STREAM_BUFFER=
exec caddy run "$@"
