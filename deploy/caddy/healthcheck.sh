#!/bin/sh
# The health check of the proxy's container: exit with 0 if it answers on a port that only the container has.
port=8088
if command -v wget >/dev/null; then # of Alpine's images
  wget -q -T 3 -O /dev/null "http://127.0.0.1:$port/"
else # of Debian's
  # shellcheck disable=SC2016
  timeout 3 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0"; printf "GET / HTTP/1.0\r\n\r\n" >&3; head -n 1 <&3' $port | grep -q " 200 "
fi
