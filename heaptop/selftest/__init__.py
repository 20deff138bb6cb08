"""The dma-heap ABI, test by test, on a heap of this machine: `heaptop selftest`.

probe     a heap under test: raw ioctls with any arguments, and all descriptors that a test makes
harness   runs the tests, each with nothing left behind
requests  ALLOC: what it takes, what it refuses, and with which errno
buffers   what it gave: mappings, SYNC, names, sync files, import

A test is a function of a Probe; its docstring says what holds. It raises `Failed`, `Skipped` or, where kernels are
known to differ, `KnownError`. Facts: drivers/dma-buf/dma-heap.c and dma-buf.c from RFC v4 and 5.6 to 7.3.
"""
