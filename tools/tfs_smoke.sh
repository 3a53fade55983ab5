#!/usr/bin/env bash
# The conformance vectors and an export's golden inputs against the real TensorFlow Serving, in one command:
#
#     tools/tfs_smoke.sh CONFORMANCE [EXPORT]
#
# CONFORMANCE is the folder with make_models.py, run_rest.py, run_grpc.py and server_config.json. EXPORT is a version
# folder, such as saved_models/photos/1; the newest one of `make demo` when left out. Needs docker and this
# repository's Python (PYTHON=...). IMAGE, REST_PORT, GRPC_PORT and WAIT (seconds) can be set too.
# Exits with 0 when everything agrees, 1 when something does not, 2 when it cannot be tried.
set -euo pipefail

fail() {
  printf 'error: %s\n' "$1" >&2
  exit 2
}

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
image=${IMAGE:-tensorflow/serving:2.21.0}
rest=${REST_PORT:-18501}
grpc=${GRPC_PORT:-18500}
wait_seconds=${WAIT:-300}
python=${PYTHON:-$repository/.venv/bin/python}

[[ $# -eq 1 || $# -eq 2 ]] || fail "usage: tools/tfs_smoke.sh CONFORMANCE [EXPORT]"
[[ -x $python ]] || fail "there is no $python; run \`make setup\`, or set PYTHON"
for file in make_models.py run_rest.py run_grpc.py rest_vectors.json grpc_vectors.json server_config.json; do
  [[ -f $1/$file ]] || fail "$1 has no $file; it is not the folder of conformance vectors"
done
conformance=$(cd "$1" && pwd -P)
if [[ $# -eq 2 ]]; then
  export_path=$2
else
  export_path=$(find "$repository/demo" -path '*/saved_models/*/saved_model.pb' 2>/dev/null | sort -V | tail -n 1)
  export_path=${export_path%/saved_model.pb}
  [[ -n $export_path ]] || fail "there is no demo export; run \`make demo\`, or name an export"
fi
[[ -f $export_path/saved_model.pb ]] || fail "$export_path is not a version folder: it has no saved_model.pb"
[[ -f $export_path/manifest.json ]] || fail "$export_path has no manifest.json, and so no golden inputs; name an export of tlkit"
export_path=$(cd "$export_path" && pwd -P)
base=$(dirname "$export_path")

command -v docker >/dev/null || fail "docker is not installed: the real server was NOT tried"
docker version --format '{{.Server.Version}}' >/dev/null 2>&1 ||
  fail "docker cannot reach its daemon: the real server was NOT tried"

scratch=$(mktemp -d)
container=tlkit-smoke-$$
clean_up() {
  docker stop --time 10 "$container" >/dev/null 2>&1 || true
  docker rm --force "$container" >/dev/null 2>&1 || true
  rm -rf "$scratch"
}
trap clean_up EXIT

export PYTHONPATH=$repository${PYTHONPATH:+:$PYTHONPATH}
export CUDA_VISIBLE_DEVICES=-1
"$python" "$conformance/make_models.py" "$scratch/models"
mkdir "$scratch/config"
"$python" "$repository/tools/models_config.py" "$conformance/server_config.json" "$scratch/models" \
  --add "$(basename "$base")=$base" >"$scratch/config/models.config"
printf 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }\n' >"$scratch/config/monitoring.config"

# The folders keep their paths in the container, so that one models.config fits both sides.
docker run --detach --init --name "$container" --user "$(id -u):$(id -g)" \
  --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
  --publish "127.0.0.1:$rest:8501" --publish "127.0.0.1:$grpc:8500" \
  --mount "type=bind,\"source=$conformance\",\"target=$conformance\",readonly" \
  --mount "type=bind,\"source=$scratch\",\"target=$scratch\",readonly" \
  --mount "type=bind,\"source=$base\",\"target=$base\",readonly" \
  --entrypoint /usr/bin/tensorflow_model_server "$image" \
  --port=8500 --rest_api_port=8501 --model_config_file="$scratch/config/models.config" \
  --monitoring_config_file="$scratch/config/monitoring.config" \
  --allow_version_labels_for_unavailable_models=true >/dev/null

# The REST interface is up when every model has been loaded.
asked="import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5).read()"
name=$("$python" -c 'import sys, urllib.parse; print(urllib.parse.quote(sys.argv[1], safe=""))' "$(basename "$base")")
address=http://127.0.0.1:$rest
for ((second = 0; ; second++)); do
  "$python" -c "$asked" "$address/v1/models/$name/metadata" >/dev/null 2>&1 && break
  if [[ $(docker inspect --format '{{.State.Running}}' "$container" 2>/dev/null) != true ]] || ((second >= wait_seconds)); then
    docker logs --tail 40 "$container" >&2 || true
    printf 'error: the server did not become ready; its last lines are above\n' >&2
    exit 1
  fi
  sleep 1
done

failed=0
attempt() {
  printf '== %s\n' "$1"
  shift
  "$@" || failed=1
}
attempt "REST vectors" "$python" "$conformance/run_rest.py" "$address" "$conformance/rest_vectors.json"
attempt "gRPC vectors" "$python" "$conformance/run_grpc.py" "127.0.0.1:$grpc" "$conformance/grpc_vectors.json"
attempt "golden inputs of $export_path" "$python" -m tlkit verify --server "$address" "$export_path"
if ((failed)); then
  docker logs --tail 40 "$container" >&2 || true
  printf 'FAILED: %s does not answer as expected\n' "$image"
  exit 1
fi
printf 'passed: %s answers as expected\n' "$image"
