# Runs one program and ensures that it does not outlive the process at the other end of this script's standard input: a pipe
# closes however that process dies, SIGKILL included.
#
# Usage: sh -c SCRIPT sh DATA LOG COMMAND...
# A line on standard input names a signal to pass on; it is answered by a line. When the input ends, the program is killed
# and DATA, where it is not empty, removed. When the program ends by itself, so does the script, with the program's status.
data=$1
log=$2
shift 2
exec 3<&0
"$@" >>"$log" 2>&1 </dev/null 3<&- &
program=$!
trap '' HUP # sent to a process group that loses its parent while one of its processes, a paused program, is stopped
(
  while read -r signal <&3; do
    if kill -s "$signal" "$program"; then echo sent; else echo gone; fi
  done
  trap '' TERM # from the last line of this script, while DATA is being removed
  kill -s KILL "$program"
  if [ -n "$data" ]; then
    for _ in 1 2 3 4 5 6 7 8 9 10; do # others may still be dying, and writing there
      rm -rf -- "$data" && break
      sleep 0.2
    done
  fi
) 2>/dev/null &
guard=$!
wait "$program"
status=$?
kill -s TERM "$guard"
exit "$status"
