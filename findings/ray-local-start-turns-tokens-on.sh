#!/usr/bin/env bash
# ray 2.60.0: one local `ray.init()` decides how every later cluster of that user authenticates.
#
# A cluster that a program starts for itself (`ray.init(address="local")`) has token authentication
# and, where there is none, writes ~/.ray/auth_token, which stays behind.  From then on the mere
# presence of that file turns authentication on for a cluster that is started by hand, `ray start
# --head`, which had none before; machines whose users never called `ray.init()` have no such file and
# cannot join it.  The remedy is to copy the file to all machines, or RAY_AUTH_MODE=disabled.
#
# Seen: in an empty home folder the step that `ray start --head` takes first finds no token and asks
# for none; after one local start and stop it demands one.
#
# Exits 0 while that is so.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q ray==2.60.0
export HOME="$work/home" RAY_USAGE_STATS_ENABLED=0; mkdir "$HOME"
unset RAY_AUTH_MODE RAY_AUTH_TOKEN RAY_AUTH_TOKEN_PATH
head_asks() {  # does what `ray start --head` does before it starts anything
  "$work/venv/bin/python" - <<'PY'
from ray._private.authentication import authentication_token_setup as setup
print(setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False))
PY
}
before=$(head_asks 2>/dev/null)
"$work/venv/bin/python" - >/dev/null 2>&1 <<'PY'
import ray
ray.init(address="local", num_cpus=1, include_dashboard=False, _node_ip_address="127.0.0.1")
ray.shutdown()
PY
after=$(head_asks 2>/dev/null)
echo "token demanded before: $before, after: $after; $(ls "$HOME/.ray")"
[[ "$before" == False && "$after" == True && -s "$HOME/.ray/auth_token" ]]
