#!/bin/sh
# Install NeuroOne on this machine without Docker, or update it to this checkout; for Debian 11+ and Ubuntu 20.04+.
#
#   sudo deploy/install.sh [--supervisor] [--lan]   install or update; under systemd, or on request under supervisor
#   sudo deploy/install.sh show             print the dashboards' address and the logins
#   sudo deploy/install.sh rollback         go back to the previous version
#   sudo deploy/install.sh uninstall [--purge]   remove it; with --purge also the recordings, the logins and the users
#
# With --lan programs on other machines reach the broker, until --no-lan; passwords travel unencrypted then.
# Programs are in /opt/neuroone, settings and logins in /etc/neuroone, recordings in /var/lib/neuroone/recordings.
set -eu

source=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
home=/opt/neuroone
config=/etc/neuroone
state=/var/lib/neuroone
services="broker broker-watch recorder gateway"
users="gateway recorder bridge"
minimum="3 11"

say() { printf '%s\n' "$*"; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
has_systemd() { [ -d /run/systemd/system ]; }
under_supervisor() { [ -e /etc/supervisor/conf.d/neuroone.conf ]; }

failed=
restart_unit() { systemctl restart "$1" || failed="$failed $1"; }

# The services that this version has.
installed() {
  for each in $services; do
    if grep -qs "program:neuroone-$each\]" /etc/supervisor/conf.d/neuroone.conf ||
      [ -e "/etc/systemd/system/neuroone-$each.service" ]; then echo "$each"; fi
  done
}

restart() {
  if under_supervisor; then
    supervisorctl pid >/dev/null 2>&1 || service supervisor start >/dev/null || fail "supervisord does not start"
    supervisorctl update >/dev/null
    for each in $(installed); do supervisorctl restart "neuroone-$each" >/dev/null; done
  elif has_systemd; then
    systemctl daemon-reload
    for each in $(installed); do systemctl enable --quiet "neuroone-$each"; restart_unit "neuroone-$each"; done
    for each in bridge forwarder; do # somebody has started these
      if systemctl --quiet is-active "neuroone-$each"; then restart_unit "neuroone-$each"; fi
    done
  else
    say "Neither systemd nor supervisor runs here: nothing was started."
  fi
}

stop() {
  if under_supervisor; then
    for each in bridge forwarder $services; do supervisorctl stop "neuroone-$each" >/dev/null 2>&1 || true; done
  elif has_systemd; then
    for each in bridge forwarder $services; do systemctl disable --quiet --now "neuroone-$each" 2>/dev/null || true; done
  fi
}

packages() {
  export DEBIAN_FRONTEND=noninteractive
  set -- mosquitto python3-venv ca-certificates
  if [ "$supervisor" = yes ]; then set -- "$@" supervisor; fi
  if ! dpkg -s "$@" >/dev/null 2>&1; then
    apt-get update -qq
    # Do not upgrade installed packages: an upgrade may undo what somebody has set up on this machine.
    apt-get install -y -qq --no-install-recommends --no-upgrade "$@" >/dev/null
  fi
  # The distribution's own service uses the port that ours needs. Disable it only if nobody has configured it.
  if has_systemd && systemctl --quiet is-active mosquitto; then
    if [ -n "$(dpkg --verify mosquitto)" ] || ls /etc/mosquitto/conf.d/*.conf >/dev/null 2>&1; then
      fail "a Mosquitto that somebody set up runs here: move it to another port or machine, then run this again"
    fi
    systemctl disable --quiet --now mosquitto 2>/dev/null
  fi
  case $(/usr/sbin/mosquitto -h | head -n 1) in
    *" version 2."*) ;;
    *) fail "Mosquitto 2 is needed; on Ubuntu 20.04 first: add-apt-repository ppa:mosquitto-dev/mosquitto-ppa" ;;
  esac
}

# Install this checkout's programs in their own directory; the link `current` points to the version in use.
programs() {
  version=$home/versions/$(date -u +%Y%m%d-%H%M%S)
  tools=$home/tools
  mkdir -p "$home/versions"
  python3 -m venv --clear "$tools"
  awk '/^[^ ]/ {take = /^uv==/} take' "$source/requirements.lock" >"$tools/uv.txt"
  "$tools/bin/pip" install --quiet --require-hashes -r "$tools/uv.txt"
  export UV_NO_CACHE=1 UV_SYSTEM_CERTS=1 UV_PYTHON_INSTALL_DIR=$home/python
  if python3 -c "import sys; sys.exit(sys.version_info < tuple(map(int, '$minimum'.split())))"; then
    "$tools/bin/uv" venv --quiet --python /usr/bin/python3 "$version"
  else
    "$tools/bin/uv" venv --quiet --managed-python --python 3.13 "$version"
  fi
  install_here() { "$tools/bin/uv" pip install --quiet --python "$version/bin/python" "$@"; }
  install_here --require-hashes -r "$source/pyproject.toml" --constraints "$source/requirements.lock" \
    --extra ws-gateway --extra ws-gateway-downloads --extra csv-recorder --extra serial-bridge
  grep -o '^hatchling==[^ ]*' "$source/requirements.lock" >"$tools/builder.txt"
  "$tools/bin/uv" venv --quiet --clear --python "$version/bin/python" "$tools/builder"
  "$tools/bin/uv" pip install --quiet --python "$tools/builder/bin/python" --require-hashes -r "$tools/builder.txt" \
    --constraints "$source/requirements.lock"
  (cd "$source" && "$tools/builder/bin/hatchling" build -t wheel -d "$tools/dist" >/dev/null 2>&1)
  install_here --no-deps "$tools"/dist/*.whl
  rm -rf "$tools"
  if [ -L $home/current ] && ! "$version/bin/neuroone" self-test >/dev/null; then
    rm -rf "$version"
    fail "the new version does not work on this machine; nothing was changed"
  fi
  # What `neuroone update` and `neuroone rollback` need of the version: its clone, and its way back.
  say "${source%/.versions/*}" >"$version/source"
  git -c safe.directory='*' -C "$source" rev-parse HEAD >"$version/commit" 2>/dev/null || rm -f "$version/commit"
  cp "$source/deploy/install.sh" "$version/"
  # Each version keeps its units: those of a newer one wait for words that an older one does not say.
  mkdir "$version/autostart"
  cp "$source"/deploy/systemd/*.service "$source/deploy/supervisor/neuroone.conf" "$version/autostart"
  if [ -L $home/current ] && [ ! -e $home/current/autostart ]; then
    mkdir $home/current/autostart
    for each in /etc/systemd/system/neuroone-*.service /etc/supervisor/conf.d/neuroone.conf; do
      if [ -e "$each" ]; then cp "$each" $home/current/autostart; fi
    done
  fi
  if [ -L $home/current ]; then ln -sfn "$(readlink $home/current)" $home/previous; fi
  ln -sfn "$version" $home/current
  for each in "$home"/versions/*; do # keep the previous one for a rollback
    case $each in "$version" | "$(readlink $home/previous 2>/dev/null || true)") ;; *) rm -rf "$each" ;; esac
  done
}

settings() {
  for each in $users; do
    getent passwd "neuroone-$each" >/dev/null ||
      adduser --system --quiet --group --no-create-home --home /nonexistent "neuroone-$each"
  done
  # The teacher's page shows what was recorded.
  if ! id -nG neuroone-gateway | grep -qw neuroone-recorder; then adduser --quiet neuroone-gateway neuroone-recorder; fi
  if ! id -nG neuroone-bridge | grep -qw dialout; then adduser --quiet neuroone-bridge dialout; fi
  install -d -m 755 $config $state
  install -d -m 700 -o mosquitto -g mosquitto $state/broker
  install -d -m 750 -o neuroone-recorder -g neuroone-recorder $state/recordings
  install -d -m 700 -o neuroone-bridge -g neuroone-bridge $state/forwarder
  if [ -z "$lan" ] && grep -qsx 'listener 1883' $config/mosquitto.conf; then lan=yes; fi
  if [ "$lan" = yes ]; then listener=1883; else listener='1883 127.0.0.1'; fi
  # nginx leads web pages to the second listener. A broker that cannot have its port would not start at all.
  pages='s|^listener 9001$|listener 9001 127.0.0.1|'
  if ! grep -qs '^listener 9001' $config/mosquitto.conf &&
    ! python3 -c 'import socket; socket.create_server(("127.0.0.1", 9001))' 2>/dev/null; then
    say "Another program has port 9001: web pages do not reach the broker."
    pages='/^listener 9001$/,$d'
  fi
  sed -e "s|^listener 1883$|listener $listener|" -e "$pages" -e "s|/secrets/|$config/|" \
    -e "s|/mosquitto/data/|$state/broker/|" "$source/deploy/mosquitto/mosquitto.conf" >$config/mosquitto.conf
  if [ ! -e $config/neuroone.env ]; then
    say "# Settings of the services, one NEUROONE_...=value per line; each program's --help lists them." >$config/neuroone.env
  fi
  secrets --broker mqtt://127.0.0.1:1883 --owner broker=mosquitto --owner ws_gateway=neuroone-gateway \
    --owner csv_recorder=neuroone-recorder --owner serial_bridge=neuroone-bridge --owner forwarder=neuroone-bridge
}

# Run `neuroone secrets` with what it prints addresses from. `localhost` stands for this machine's name, if it answers
# others by that name; if it does not, its address goes there.
secrets() {
  host=localhost
  if [ ! -S /run/avahi-daemon/socket ]; then
    host=$($home/current/bin/python -c 'from neuroone.service.local_address import local_ip; print(local_ip())')
  fi
  for each in NEUROONE_PUBLIC_URL NEUROONE_WS_PORT; do
    export "$each=$(sed -n "s/^$each=//p" $config/neuroone.env | tr -d "\"'" | tail -n 1)"
  done
  $home/current/bin/neuroone secrets --dir $config --host "$host" "$@"
}

show() {
  secrets --show
  if ! grep -qx 'listener 1883' $config/mosquitto.conf; then
    say "The broker answers programs on this machine only; deploy/install.sh --lan opens it to the network."
  fi
}

autostart() {
  if [ "$supervisor" = yes ]; then
    install -d -m 755 /var/log/neuroone
    install -d -m 700 -o neuroone-gateway -g neuroone-gateway /var/log/neuroone/gateway
    install -m 644 $home/current/autostart/neuroone.conf /etc/supervisor/conf.d/neuroone.conf
  else
    for each in /etc/systemd/system/neuroone-*.service; do # another version may have more of them
      if [ -e "$each" ] && [ ! -e "$home/current/autostart/${each##*/}" ]; then
        systemctl disable --quiet --now "${each##*/}" || true
        rm "$each"
      fi
    done
    install -m 644 $home/current/autostart/neuroone-*.service /etc/systemd/system/
  fi
}

uninstall() {
  stop
  rm -rf $home /etc/systemd/system/neuroone-*.service /etc/supervisor/conf.d/neuroone.conf
  if has_systemd; then systemctl daemon-reload; fi
  if command -v supervisorctl >/dev/null; then supervisorctl update >/dev/null 2>&1 || true; fi
  if [ "$purge" = yes ]; then
    rm -rf $config $state /var/log/neuroone
    for each in $users; do
      if getent passwd "neuroone-$each" >/dev/null; then deluser --quiet --system "neuroone-$each"; fi
    done
  else
    say "Recordings are still in $state, logins in $config."
  fi
}

command=install supervisor=no purge=no lan=
for word in "$@"; do
  case $word in
    show | rollback | uninstall) command=$word ;;
    --lan) lan=yes ;;
    --no-lan) lan=no ;;
    --supervisor) supervisor=yes ;;
    --purge) purge=yes ;;
    *) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
done
[ "$(id -u)" = 0 ] || fail "root must run this: sudo $0"
if under_supervisor; then supervisor=yes; fi

case $command in
  install)
    command -v apt-get >/dev/null || fail "this is for Debian and Ubuntu; docs/how-to/server.md has the steps for others"
    packages
    programs
    settings
    autostart
    restart
    show
    ;;
  show) show ;;
  rollback)
    [ -L $home/previous ] || fail "there is no previous version"
    previous=$(readlink $home/previous)
    ln -sfn "$(readlink $home/current)" $home/previous
    ln -sfn "$previous" $home/current
    if [ -d $home/current/autostart ]; then autostart; fi
    restart
    ;;
  uninstall) uninstall ;;
esac
[ -z "$failed" ] || fail "these do not start:$failed (journalctl -u NAME says why)"
