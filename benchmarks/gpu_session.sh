#!/usr/bin/env bash
# Use the minutes of a GPU that one has for a while: the tests that need one, the benchmark, and
# the queue's studies, each recorded as it ends. Needs no network.
#
#     benchmarks/gpu_session.sh MINUTES [NAME ...]     NAME: of a study of the queue; default: all
#
# WHEELS  a folder of wheels of what this Python lacks (torch-pruning and loky, say)
# IMAGES  a folder with tar archives of image folders, which are unpacked; CIFAR10_JPEG, where the
#         queue looks for photographs, is set to what was in cifar10-jpeg.tar.* among them
# PARTS   what to do, of "tests bench studies"; default: all, in this order
# BENCH   options of the benchmark, such as "--models vgg16 resnet56"
# OUT     where session.tar.gz is left, with everything that was recorded; default: out
set -uo pipefail
cd "$(dirname "$0")/.."
end=$((SECONDS + ${1:?how many minutes?} * 60 - 15))
shift
OUT=${OUT:-out}
PARTS=${PARTS:-tests bench studies}
PYTHON=${PYTHON:-python3}
kept=$(mktemp -d)
scratch=$(mktemp -d)
mkdir -p "$OUT"
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1
worst=0

part() {  # part NAME SECONDS COMMAND ...: a command's output on the screen and in a file
  local name=$1 seconds=$2
  shift 2
  echo "== $name, at most $seconds s, begun after $SECONDS s"
  timeout --signal=INT --kill-after=20 "$seconds" "$@" 2>&1 | tee "$kept/$name.log"
  local code=${PIPESTATUS[0]}
  echo "== $name ended with $code after $SECONDS s"
  [ "$code" -eq 0 ] || worst=$code
}

left() { echo $((end - SECONDS > 1 ? end - SECONDS : 1)); }

pack() { tar -czf "$OUT/session.tar.gz" -C "$kept" .; }
trap pack EXIT

if [ -n "${WHEELS:-}" ]; then
  "$PYTHON" -m pip install --quiet --no-index --no-deps --target "$scratch/site" "$WHEELS"/*.whl
  PYTHONPATH=$PYTHONPATH:$scratch/site
fi
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee "$kept/gpu.txt"
case " $PARTS " in *" tests "*)
  part tests "$(left)" "$PYTHON" -m pytest -o addopts= -p no:cacheprovider -q -rs --durations=5 \
    tests/test_gpu.py tests/test_gpu_sharing.py ;;
esac
case " $PARTS " in *" bench "*)
  part bench "$(left)" "$PYTHON" -m benchmarks.gpu --out "$kept/benchmarks" ${BENCH:-} ;;
esac
case " $PARTS " in *" studies "*)
  for archive in "${IMAGES:-/nowhere}"/*.tar*; do
    if [ -e "$archive" ]; then
      name=$(basename "$archive")
      mkdir -p "$scratch/${name%%.tar*}"
      tar -xf "$archive" -C "$scratch/${name%%.tar*}"
    fi
  done
  export CIFAR10_JPEG=${CIFAR10_JPEG:-$scratch/cifar10-jpeg}
  names=()
  for name in "$@"; do names+=(--only "$name"); done
  part studies "$(left)" "$PYTHON" -c "from rethinklab.cli import main; main()" run \
    --queue data/results/queue.toml \
    --store "$scratch/runs" --record "$kept/recorded" --time-limit "$(($(left) - 5))s" \
    ${names[@]+"${names[@]}"} ;;
esac
exit "$worst"
