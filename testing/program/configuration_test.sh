#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# configuration_test.sh SERVER
#
# Checks how the standalone server reads its flags, and what --version, --help and
# --check_config print. Each claim_... below is a test.

set -uo pipefail

server=$(realpath "$1")
version=$(sed -n 's/^ *version = "\(.*\)",$/\1/p' MODULE.bazel | head -n 1)
# A command that takes longer, in seconds, hangs.
readonly server version timeout=30
# A short path, because the path of a unix socket is limited.
scratch=$(mktemp -d /tmp/brood.XXXXXX)
claim='' pid='' port='' output=''

clean_up() {
  [[ -z ${pid} ]] || kill -KILL "${pid}" 2>/dev/null
  rm -rf "${scratch}"
}
trap clean_up EXIT

fail() {
  {
    echo "FAILED: ${claim//_/ }: $*"
    head -n 20 "${scratch}/out" "${scratch}/error"
  } >&2
  exit 1
}

# Reports whether the file "$1" has exactly the text "$2" and a newline.
holds() {
  [[ "$(<"$1")" == "$2" && $(wc -l <"$1") == "$(wc -l <<<"$2")" ]]
}

# run FLAG...: runs the server to its end, and sets `code`.
run() {
  timeout "${timeout}" "${server}" "$@" >"${scratch}/out" 2>"${scratch}/error"
  code=$?
}

# prints TEXT FLAG...: the server prints exactly TEXT on standard output, and ends with 0.
prints() {
  run "${@:2}"
  ((code == 0)) || fail "${*:2}: exit code ${code}"
  [[ ! -s ${scratch}/error ]] || fail "${*:2}: standard error is not empty"
  holds "${scratch}/out" "$1" || fail "${*:2}: does not print '$1'"
}

# refuses TEXT FLAG...: the server prints exactly TEXT on standard error, and ends with
# 100.
refuses() {
  run "${@:2}"
  ((code == 100)) || fail "${*:2}: exit code ${code}"
  [[ ! -s ${scratch}/out ]] || fail "${*:2}: standard output is not empty"
  holds "${scratch}/error" "brood: $1" || fail "${*:2}: does not say '$1'"
}

# refuses_file CONTENTS ERROR: a flagfile with CONTENTS, a format of printf, is refused
# with "FILE:ERROR".
refuses_file() {
  # shellcheck disable=SC2059
  printf -- "$1" >"${scratch}/flags"
  refuses "${scratch}/flags:$2" --listen=127.0.0.1:0 "--flagfile=${scratch}/flags"
}

# start FLAG...: starts the server, and sets its $pid and $port.
start() {
  local line
  exec {output}< <(exec "${server}" --listen=127.0.0.1:0 "$@" 2>"${scratch}/error")
  pid=$!
  read -r -t "${timeout}" -u "${output}" line || fail "the server does not start"
  port=${line##*:}
}

stop() {
  kill -TERM "${pid}"
  wait "${pid}"
  local code=$?
  pid=''
  exec {output}<&-
  ((code == 0)) || fail "the server ends with ${code}"
}

readonly valid='brood: the configuration is valid'
readonly lists='; --help lists what is allowed'
readonly forms=' is not a flag, which is written --NAME=VALUE, nor a comment (#)'

claim_version_is_that_of_the_module() {
  [[ -n ${version} ]] || fail "MODULE.bazel has no version"
  prints "brood ${version}" --version
  prints "brood ${version}" -version
  refuses '--version=true: takes no value' --version=true
}

claim_help_has_80_columns_and_the_commands() {
  run --help
  ((code == 0)) || fail "exit code ${code}"
  [[ -s ${scratch}/out && ! -s ${scratch}/error ]] || fail "it is not on standard output"
  ! grep -nE '^.{81}' "${scratch}/out" >&2 || fail "a line is too long"
  local form
  for form in --flagfile=PATH --check_config --version --help; do
    grep -q "^  ${form}\$" "${scratch}/out" || fail "${form} is not listed"
  done
}

# sshd -V and haproxy -v do the same.
claim_help_and_version_end_the_reading() {
  prints "brood ${version}" --listen=nonsense --version --no_such_flag --flagfile=/no/such
  prints "brood ${version}" --check_config --max_connections=0 --version --help
  run --help --version --no_such_flag
  ((code == 0)) || fail "--help --version --no_such_flag: exit code ${code}"
  grep -q '^usage: ' "${scratch}/out" || fail "--help has no effect before --version"
  refuses "--no_such_flag is not a flag${lists}" --no_such_flag --version
  refuses '--flagfile=/no/such: cannot be opened: No such file or directory' \
    --flagfile=/no/such --help
}

claim_an_output_that_is_full_is_an_error() {
  timeout "${timeout}" "${server}" --version >/dev/full 2>"${scratch}/error"
  local code=$?
  ((code == 111)) || fail "exit code ${code}"
  holds "${scratch}/error" 'brood: standard output: No space left on device' ||
    fail "the error is not reported"
}

claim_check_config_binds_nothing() {
  start
  prints "${valid}" --check_config "--listen=127.0.0.1:${port}"
  prints "${valid}" "--listen=127.0.0.1:${port}" -check-config
  # An address of another machine, a port for root only, a missing directory.
  prints "${valid}" --check_config --listen=192.0.2.1:1,unix:/no/such/socket
  prints "${valid}" --check_config "--listen=unix:${scratch}/socket"
  [[ ! -e ${scratch}/socket ]] || fail "there is a socket file"
  stop
}

# The listener is passed as systemd does, with LISTEN_PID.
claim_check_config_leaves_inherited_descriptors_alone() {
  prints "${valid}" --check_config --listen=fd:3,inherited
  timeout "${timeout}" python3 -c '
import os, socket, subprocess, sys
listener = socket.create_server(("127.0.0.1", 0))
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(sys.argv[2])
manager.setblocking(False)
os.environ["NOTIFY_SOCKET"] = sys.argv[2]
os.environ["LISTEN_FDS"] = "1"
def prepare():
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.dup2(listener.fileno(), 3)
checked = subprocess.run([sys.argv[1], "--check_config"], preexec_fn=prepare,
                         close_fds=False, check=True)
try:
    sys.exit("notified: %r" % manager.recv(100))
except BlockingIOError:
    pass
with socket.create_connection(listener.getsockname(), 5) as client:
    listener.accept()[0].close()
    assert client.recv(1) == b""
' "${server}" "${scratch}/notify" >"${scratch}/out" 2>"${scratch}/error" || fail "exit code $?"
  holds "${scratch}/out" "${valid}" || fail "it is not reported to be valid"
}

claim_check_config_refuses_what_a_start_refuses() {
  local flag error
  for flag in --listen=nonsense --listen= --max_connections=0 --max_connections=many \
    --strategy=threads --unix_mode=8 --max_spares=1 --idle_timeout=5 --log_name= \
    --init=perhaps --no_such_flag --flagfile=/no/such 7000; do
    run --listen=127.0.0.1:0 "${flag}"
    error=$(<"${scratch}/error")
    ((code == 100)) || fail "${flag}: exit code ${code}"
    refuses "${error#brood: }" --check_config "${flag}"
  done
  printf -- '# limits\n--max_spares=1\n' >"${scratch}/flags"
  refuses "${scratch}/flags:2: --max_spares=1: must be 4 to 100000" \
    --check_config "--flagfile=${scratch}/flags"
  refuses '--idle_timeout=5s: must be 0 with unix:/x, since the kernel does not report when '`
    `'bytes moved on a unix socket; there is --connection_timeout, which '`
    `'unix_deadlines=connection_only leaves to unix sockets' \
    --check_config --listen=unix:/x --idle_timeout=5s
}

claim_check_config_warns_of_limits() {
  (
    ulimit -i 100
    prints "${valid}" --check_config --max_connections=100
    run --check_config --max_connections=101
    ((code == 0)) || fail "exit code ${code}"
    holds "${scratch}/out" "${valid}" || fail "it is not reported to be valid"
    grep -qE '^brood: warning: .*ulimit -Hi 100.* 101 children' "${scratch}/error" ||
      fail "there is no warning"
  ) || exit 1
}

claim_check_config_warns_of_too_few_descriptors() {
  (
    ulimit -n 100
    prints "${valid}" --check_config
    run --check_config --strategy=pool --workers=100
    ((code == 0)) || fail "exit code ${code}"
    holds "${scratch}/out" "${valid}" || fail "it is not reported to be valid"
    grep -qE '^brood: warning: .*ulimit -Hn 100.* \(200 for workers, ' "${scratch}/error" ||
      fail "it does not warn"
  ) || exit 1
  (
    ulimit -Sn 41
    prints "${valid}" --check_config --strategy=pool --workers=100
  ) || exit 1
}

# The row O5, and other lines that editors and other formats leave in a file.
claim_a_line_that_is_not_a_flag_is_refused_with_file_and_line() {
  refuses_file '\xef\xbb\xbf--max_connections=5\n' \
    '1: the file begins with a byte order mark; save it as UTF-8 without one'
  refuses_file '\xff\xfe-\0-\0' \
    '1: the file is UTF-16; save it as UTF-8 without a byte order mark'
  refuses_file '--max_connections=5\nmax_connections=6\n' "2: \"max_connections=6\"${forms}"
  refuses_file '[server]\n--max_connections=5\n' "1: \"[server]\"${forms}"
  refuses_file '\n\n; why\n' "3: \"; why\"${forms}"
  refuses_file 'server*\n--max_connections=5\n' "1: \"server*\"${forms}"
  refuses_file 'max_connections: 5\n' "1: \"max_connections: 5\"${forms}"
  refuses_file '--max_connections 5\n' "1: --max_connections 5 is not a flag${lists}"
  refuses_file '--init\0\n' '1: the line holds a NUL'
  refuses_file '# why\r--init\n' '1: a carriage return is not at the end of a line'
  refuses_file '--init=maybe\n' '1: --init=maybe: must be true or false'
  refuses_file '--log_name=a # b\n' '1: --log_name=a # b: a comment must have a line of its own'
  refuses_file '--fromenv=listen\n' '1: --fromenv: is not supported; flags are read from the '`
    `'command line and from files (--flagfile)'
  refuses_file '--check_config\n' '1: --check_config: is allowed on the command line only'
  refuses_file '--max_connections=5 5\n' '1: --max_connections=5 5: must be a whole number below 2^31'
  refuses_file "--flagfile=${scratch}/flags\\n" "1: --flagfile=${scratch}/flags: a file must not name "`
    `'itself, directly or through others'
}

claim_the_last_flag_counts_also_across_files() {
  printf -- '--max_connections=0\n' >"${scratch}/wrong"
  printf -- '\r\n  --max_connections=5 \t\r\n# more\r\n' >"${scratch}/right"
  prints "${valid}" --check_config "--flagfile=${scratch}/wrong,${scratch}/right"
  prints "${valid}" --check_config "--flagfile=${scratch}/wrong" --max_connections=5
  refuses "${scratch}/wrong:1: --max_connections=0: must be 1 to 1000000" \
    --check_config --max_connections=5 "--flagfile=${scratch}/right" "--flagfile=${scratch}/wrong"
  refuses "--max_connections=0: must be 1 to 1000000" \
    --check_config "--flagfile=${scratch}/right" --max_connections=0
}

claim_flags_are_read_from_a_pipe() {
  local error='1: --max_connections=0: must be 1 to 1000000'
  run --check_config --flagfile=<(echo --max_connections=0)
  ((code == 100)) || fail "exit code ${code}"
  [[ $(<"${scratch}/error") == "brood: /dev/fd/"*":${error}" ]] || fail "<(...) is not read"
  refuses "/dev/stdin:${error}" --flagfile=/dev/stdin < <(echo --max_connections=0)
  refuses "/dev/stdin:${error}" --flagfile /dev/stdin <<<--max_connections=0
  mkfifo "${scratch}/pipe"
  echo --max_connections=0 >"${scratch}/pipe" &
  refuses "${scratch}/pipe:${error}" "--flagfile=${scratch}/pipe"
  start --flagfile=<(echo --log_level=off)
  stop
  [[ ! -s ${scratch}/error ]] || fail "it logs"
}

claim_a_server_that_waits_for_the_writer_of_a_pipe_can_be_interrupted() {
  mkfifo "${scratch}/fifo"
  "${server}" "--flagfile=${scratch}/fifo" >"${scratch}/out" 2>"${scratch}/error" &
  pid=$!
  # This open() returns when the server has opened the other end.
  exec {output}>"${scratch}/fifo"
  kill -TERM "${pid}"
  wait "${pid}"
  local code=$?
  pid=''
  exec {output}>&-
  ((code == 128 + 15)) || fail "it ends with ${code}"
}

claims=$(declare -F | sed -n 's/^declare -f claim_//p')
for claim in ${claims}; do
  : >"${scratch}/out"
  : >"${scratch}/error"
  "claim_${claim}"
  echo "ok: ${claim//_/ }"
done
