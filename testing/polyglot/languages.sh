# SPDX-License-Identifier: Apache-2.0
#
# shellcheck shell=bash
# languages.sh: how the client in each language is run. To be sourced by a test
# that has defined `fail`.
#
#   require LANGUAGE           fails, and names the package, if it is not installed
#   compile LANGUAGE FOLDER    compiles the client, for a test that runs it often
#   run_client LANGUAGE PORT CONTRACT DEADLINE_SECONDS
#
# LANGUAGE is bash, python, perl or java.

clients=$(dirname "${BASH_SOURCE[0]}")
java_client=("$clients/Client.java")  # as its source, until it is compiled
java_home=${JAVA_HOME:+$JAVA_HOME/bin/}

# Fast to start, and without a file in /tmp that is named by the pid: sandboxes share that
# folder and have the same pids, and a JVM that finds the file taken prints that on stdout.
java_flags=(-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData)

require() {
  case $1 in
    bash) [[ $(nc -h 2>&1) == *OpenBSD* ]] || lacks "OpenBSD's netcat as nc" netcat-openbsd ;;
    python) command -v python3 >/dev/null || lacks python3 python3 ;;
    perl) command -v perl >/dev/null || lacks perl perl ;;
    java)
      [[ $("${java_home}java" "${java_flags[@]}" --list-modules 2>/dev/null) == *jdk.compiler* ]] ||
        lacks "a JDK (11 or later, in JAVA_HOME or on the PATH)" openjdk-17-jdk-headless
      ;;
    *) fail "there is no client in $1" ;;
  esac
}

lacks() {
  fail "this machine lacks $1 that the test needs (Debian: apt-get install $2; PATH is $PATH)"
}

compile() {
  [[ $1 == java ]] || return 0
  "${java_home}javac" "${java_flags[@]/#/-J}" -d "$2" "$clients/Client.java" || fail "the client in $1 cannot be compiled"
  java_client=(-cp "$2" Client)
}

run_client() {
  local language=$1
  shift
  case $language in
    bash) bash "$clients/client.sh" "$@" ;;
    python) python3 "$clients/client.py" "$@" ;;
    perl) perl "$clients/client.pl" "$@" ;;
    java) "${java_home}java" "${java_flags[@]}" "${java_client[@]}" "$@" ;;
  esac
}
