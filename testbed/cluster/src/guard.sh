# Runs one part of the control plane and sees to it that it does not outlive whoever holds the other end of this script's
# standard input: a pipe closes however its holder dies, SIGKILL included.
#
# Usage: sh -c SCRIPT sh DATA LOG COMMAND...
# When the input ends, the part is killed; DATA, where it is not empty, is removed then. When the part ends by itself, so does
# the script, with the part's status.
data=$1
log=$2
shift 2
exec 3<&0
"$@" >>"$log" 2>&1 </dev/null 3<&- &
part=$!
trap '' HUP
(
  read -r _ <&3
  kill -s KILL "$part"
  if [ -n "$data" ]; then
    for _ in 1 2 3 4 5 6 7 8 9 10; do # other parts may still be dying, and writing
      rm -rf -- "$data" && break
      sleep 0.2
    done
  fi
) 2>/dev/null &
guard=$!
wait "$part"
status=$?
kill -s TERM "$guard"
exit "$status"
