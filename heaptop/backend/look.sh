# Tells what a Linux or Android device's own files say of dma-bufs: for a POSIX shell with grep, xargs, sed, ls, tr and stat,
# be they GNU's, busybox's or toybox's. Only reads. MARK, set before, begins every line that is no file's; ROOT is where
# proc, sys and dev are (/).
#
# Files come as grep -H prints them, `PATH:LINE`, so that no line of a file, whatever it holds, can pass for another file's.
LC_ALL=C
export LC_ALL
cd "${ROOT:-/}" || exit

each() { # the lines of the files named on stdin
    xargs grep -Hs '' /dev/null
}

denied() { # what is there, but not for this user
    for file in "$@"; do
        [ ! -e "$file" ] || [ -r "$file" ] || echo "$MARK denied $file"
    done
}

look() {
    for tool in grep xargs sed ls tr sort; do
        command -v $tool >/dev/null || echo "$MARK lacks $tool"
    done
    debug=sys/kernel/debug
    echo proc/version proc/sys/kernel/osrelease proc/sys/kernel/random/boot_id proc/meminfo proc/vmstat \
        proc/self/status sys/kernel/dma_heap/total_pools_kb $debug/dma_buf/bufinfo | each
    denied $debug $debug/dma_buf/bufinfo
    echo sys/class/dma_heap/*/dev sys/kernel/mm/cma/*/* | each
    echo $debug/cma/*/count $debug/cma/*/used $debug/cma/*/maxchunk $debug/cma/*/order_per_bit $debug/cma/*/base_pfn \
        $debug/cma/*/bitmap $debug/cma/*/ranges/*/base_pfn $debug/cma/*/ranges/*/bitmap | each
    echo sys/kernel/dmabuf/buffers/*/size sys/kernel/dmabuf/buffers/*/exporter_name | each
    [ ! -d dev/dma_heap ] || ls -ln dev/dma_heap | sed "s/^/$MARK dev /"

    processes=$(echo proc/[0-9]*)
    held=$(echo proc/[0-9]*/fdinfo/* | xargs grep -ls '^exp_name:' /dev/null)
    mapped=$(echo proc/[0-9]*/maps | xargs grep -ls ' /dmabuf:' /dev/null)
    echo $held | each
    # Kernels before 5.14 have no inode number in fdinfo.
    [ -z "$held" ] || echo $held | sed 's#/fdinfo/#/fd/#g' | xargs stat -L -c "$MARK stat %n %i %s %h %b %f %t %T %d" 2>/dev/null
    echo $mapped | each
    pids=$(echo $held $mapped | tr ' ' '\n' | sed -n 's#^\(proc/[0-9]*\)/.*#\1#p' | sort -u)
    for process in $pids; do
        echo $process/comm $process/stat $process/status $process/statm $process/cgroup $process/oom_score_adj
    done | each
    for process in $pids; do
        [ -r $process/cmdline ] && { echo "$MARK cmdline $process"; tr '\0' '\n' <$process/cmdline; echo; echo "$MARK end"; }
    done
    for process in $processes; do
        [ ! -d $process/fd ] || [ -r $process/fd ] || echo "$MARK denied $process/fd"
    done
    set -- $processes
    echo "$MARK seen $#"
}
