"""Running a command with its dma-heap calls answered, or observed.

front        the process that the user started: signals, the terminal, the exit status
supervisor   its child, the command's parent: answers, and ends when nobody is left to answer
launch       the command's process until exec: private /dev, filter
seccomp      the filter, and the listener that tells of each call it stops
memory       reading and writing the command's memory

emulate      answers from an emulator's heaps
observe      lets the kernel answer, and tells what it did
"""
