"""Parsers: one pure module per kernel format, named after its file. Bytes in, frozen records out.

Texts stay the kernel's bytes (names and comms can hold anything); numbers are ints in the kernel's unit, said at the
field. Only `ParseError` is raised, for any bytes. What a function calls total never raises.

    fdinfo         /proc/P/fdinfo/N: dma-bufs in each shape from 5.3 on; position and flags of any file
    fdlink         what a link target /proc/P/fd/N refers to
    maps           /proc/P/maps: all mappings, or fast those of dma-bufs alone
    stat status statm comm cmdline cgroup oom_score_adj    /proc/P/...
    bufinfo        /sys/kernel/debug/dma_buf/bufinfo: every layout from 3.10 on
    dmabuf_sysfs   /sys/kernel/dmabuf/buffers/INODE/... (5.14 to 6.19)
    cma_debugfs    /sys/kernel/debug/cma/... in its three layouts
    cma_sysfs      /sys/kernel/mm/cma/AREA/... (5.13 on)
    meminfo vmstat pagetypeinfo    /proc/...
    dma_heap       /dev/dma_heap (as `ls -ln` has it) and /sys/class/dma_heap
    kernel         release and boot id
    text           what the others share: numbers, and errors with their line

Numbers are bounded to 20 digits (64 bits), so that no text can make a conversion slow or fail.
"""
