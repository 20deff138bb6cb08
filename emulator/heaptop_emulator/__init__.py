"""The emulator: a machine with dma-heaps, in user space. It stands alone and knows nothing of what looks at it.

layout       how a machine is made: RAM, CMA areas, heaps
layout_text  the same as text: presets, words, TOML
machine      RAM with its watermark, areas, carve-outs and page pools, over the compiled _buddy and _cma
cma_area     a CMA area: its ranges, and the movable pages that borrow it or are pinned there
heap         the system heap and the CMA heap: which pages a buffer gets
others       the heaps that RFC v4 left in ION, and Android's
framework    the alloc ioctl's checks, names, and buffers as sealed memfds
inotify      tells the moment of a buffer's last release
text         the kernel's text about buffers
text_machine the kernel's files about the machine
wire         the protocol, and a client of it
server       the process that all of it lives in, for its clients
shared       reach, start and end the emulator that all of a user's programs share
folder       where these find it
daemon       the process of the shared emulator
door         lets clients of this user in; clients: what each has there
keeper       holds the watches on buffers, so that they outlive a killed emulator
journal      what a restart needs to know; recovery: the restart
actor        what a process of a scenario can do
scenarios    the scenarios: real processes that use the heaps
"""
