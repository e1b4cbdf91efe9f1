#!/bin/sh
# The health check of the proxy's container: healthcheck.sh COMMAND-THAT-ENDS-THE-PROXY
#
# It asks on a port that only the container has. As that of the broker (deploy/mosquitto/healthcheck.sh), it ends a proxy
# that has not answered for about two minutes, since Docker restarts only what ends.
failures=${TMPDIR:-/tmp}/unanswered
failures_max=15 # one every eight seconds: 5 s between checks, 3 s of waiting
port=8088

if command -v wget >/dev/null; then # of Alpine's images
  ask() { wget -q -T 3 -O /dev/null "http://127.0.0.1:$port/"; }
else # of Debian's
  # shellcheck disable=SC2016
  ask() { timeout 3 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0"; printf "GET / HTTP/1.0\r\n\r\n" >&3; head -n 1 <&3' $port | grep -q " 200 "; }
fi

if ask; then
  rm -f "$failures"
  exit 0
fi
echo . >>"$failures"
if [ "$(wc -l <"$failures")" -ge $failures_max ]; then
  rm -f "$failures"
  "$@"
fi
exit 1
