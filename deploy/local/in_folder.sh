#!/bin/sh
# Runs a program that lives in a folder as if that folder were the machine, with one folder of the real machine in its
# place: `in_folder.sh MACHINE FOLDER PROGRAM [ARGUMENT...]`. It stays one process, so signals reach the program, and what
# is mounted is seen by it alone and gone with it. Needs root.
set -eu
machine=$1 folder=$2
shift 2
mkdir -p "$machine$folder"
exec unshare --mount --propagation private -- sh -euc '
    machine=$1 folder=$2
    shift 2
    mount --bind /proc "$machine/proc"
    mount --bind /dev "$machine/dev"
    mount --bind "$folder" "$machine$folder"
    exec chroot "$machine" env --chdir="$folder" "$@"
' in_folder "$machine" "$folder" "$@"
