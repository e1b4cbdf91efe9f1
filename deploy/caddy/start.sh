#!/bin/sh
# Start Caddy with small buffers for each WebSocket, if this Caddy can have them: older ones know only 32 KiB.
# Addresses leave https's own port out.
[ "${NEUROONE_HTTPS_PORT:-443}" = 443 ] || export NEUROONE_HTTPS_SUFFIX=":$NEUROONE_HTTPS_PORT"
set -- --config /etc/caddy/Caddyfile --adapter caddyfile
export NEUROONE_STREAM_BUFFER='stream_buffer_size 4KiB'
caddy adapt "$@" >/dev/null 2>&1 || NEUROONE_STREAM_BUFFER=

# Where Caddy signs the certificate itself, show the gateways its authority, without the key.
show_authority() {
  domain=$(echo "$NEUROONE_DOMAIN" | tr 'A-Z:' 'a-z-')
  for _ in $(seq 120); do
    if [ -e "/data/caddy/certificates/local/$domain" ]; then
      cat /data/caddy/pki/authorities/local/root.crt >/authority/new
      chmod 644 /authority/new
      mv /authority/new /authority/root.crt
      return
    fi
    sleep 1
  done
}
if [ -d /authority ]; then
  rm -f /authority/root.crt
  (show_authority &)
fi
exec caddy run "$@"
