#!/bin/sh
# Process 1 of a container whose program is killed, or ends by a signal as uvicorn does: it passes
# SIGTERM on, and stays until the sender has sent the last numbers.
tach tach.yaml uvicorn shop:app &
program=$!
trap 'kill -TERM $program' TERM INT
wait $program
status=$?
while kill -0 $program 2>/dev/null; do # a signal has ended the wait, not the program
    wait $program
    status=$?
done
sleep 2
exit $status
