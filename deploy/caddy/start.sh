#!/bin/sh
# Start Caddy with small buffers for each WebSocket, if this Caddy can have them: older ones know only 32 KiB.
config=${1:-/etc/caddy/Caddyfile}
export NEUROONE_STREAM_BUFFER='stream_buffer_size 4KiB'
caddy adapt --config "$config" --adapter caddyfile >/dev/null 2>&1 || NEUROONE_STREAM_BUFFER=
exec caddy run --config "$config" --adapter caddyfile
