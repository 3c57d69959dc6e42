# Runs one broker and sees to it that the broker does not outlive whoever holds the other end of this script's standard
# input: a pipe closes however its holder dies, SIGKILL included.
#
# Usage: sh -c SCRIPT sh DATA LOG COMMAND...
# A line on standard input names a signal to pass on; it is answered by a line. When the input ends, the broker is killed
# and DATA removed. When the broker ends by itself, so does the script, with the broker's status.
data=$1
log=$2
shift 2
exec 3<&0
"$@" >>"$log" 2>&1 </dev/null 3<&- &
broker=$!
trap '' HUP # sent to a process group that loses its parent while one of its processes, a paused broker, is stopped
(
  while read -r signal <&3; do
    if kill -s "$signal" "$broker"; then echo sent; else echo gone; fi
  done
  trap '' TERM # from the last line of this script, while DATA is being removed
  kill -s KILL "$broker"
  for _ in 1 2 3 4 5 6 7 8 9 10; do # the other brokers may still be dying, and writing
    rm -rf -- "$data" && break
    sleep 0.2
  done
) 2>/dev/null &
guard=$!
wait "$broker"
status=$?
kill -s TERM "$guard"
exit "$status"
