"""The system calls that each stopped ioctl takes, without Python's detours: a program may make ten thousand a second.

A failure is a negative errno, so that none of these raises.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport errno
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memset

cdef extern from *:
    """
    #include <stdint.h>
    #include <sys/ioctl.h>
    #include <sys/stat.h>
    #include <sys/types.h>
    #include <sys/uio.h>

    /* uapi/linux/seccomp.h, 5.9 on; spelled out, for headers may be older than the kernel. */
    struct heaptop_notification {
        uint64_t id; uint32_t pid; uint32_t flags;
        int32_t number; uint32_t arch; uint64_t ip; uint64_t arguments[6];
    };
    struct heaptop_response { uint64_t id; int64_t value; int32_t error; uint32_t flags; };
    struct heaptop_new_fd { uint64_t id; uint32_t flags; uint32_t source; uint32_t number; uint32_t fd_flags; };
    """
    struct heaptop_notification:
        uint64_t id
        uint32_t pid
        int32_t number
        uint64_t arguments[6]

    struct heaptop_response:
        uint64_t id
        int64_t value
        int32_t error
        uint32_t flags

    struct heaptop_new_fd:
        uint64_t id
        uint32_t source
        uint32_t fd_flags

    struct iovec:
        void *iov_base
        size_t iov_len

    struct stat:
        uint64_t st_dev
        uint64_t st_ino

    int ioctl(int fd, unsigned long request, ...)
    int c_stat "stat"(const char *path, stat *found)
    ssize_t process_vm_readv(int pid, const iovec *here, unsigned long count_here, const iovec *there,
                             unsigned long count_there, unsigned long flags)
    ssize_t process_vm_writev(int pid, const iovec *here, unsigned long count_here, const iovec *there,
                              unsigned long count_there, unsigned long flags)

cdef enum:
    RECV = 0xC0502100
    SEND = 0xC0182101
    ID_VALID = 0x40082102
    ADDFD = 0x40182103
    EFAULT = 14
    PATH_BYTES = 64


def receive(int listener):
    """The next call: id, thread, the three arguments as an ioctl has them, its number, and the three as they are; a
    negative errno.
    """
    cdef heaptop_notification call
    memset(&call, 0, sizeof(call))
    if ioctl(listener, RECV, &call) < 0:
        return -errno
    return (
        call.id, call.pid, <uint32_t>call.arguments[0], <uint32_t>call.arguments[1], call.arguments[2], call.number,
        (call.arguments[0], call.arguments[1], call.arguments[2]),
    )


def send(int listener, uint64_t call, int32_t error, uint32_t flags, int64_t value):
    """End a call: 0, or a negative errno."""
    cdef heaptop_response response
    memset(&response, 0, sizeof(response))
    response.id = call
    response.value = value
    response.error = error
    response.flags = flags
    return -errno if ioctl(listener, SEND, &response) < 0 else 0


def is_waiting(int listener, uint64_t call):
    """Whether the caller still waits."""
    return ioctl(listener, ID_VALID, &call) == 0


def add_fd(int listener, uint64_t call, int fd, uint32_t flags):
    """Open a file in the caller's table: its number there."""
    cdef heaptop_new_fd new
    cdef int number
    memset(&new, 0, sizeof(new))
    new.id = call
    new.source = fd
    new.fd_flags = flags
    number = ioctl(listener, ADDFD, &new)
    return -errno if number < 0 else number


def identity(int tid, uint32_t fd):
    """Device and inode of the file that is open as `fd` in a thread's table; a negative errno."""
    cdef char path[PATH_BYTES]
    cdef stat found
    snprintf(path, PATH_BYTES, "/proc/%d/fd/%u", tid, fd)
    if c_stat(path, &found) < 0:
        return -errno
    return found.st_dev, found.st_ino


def read(int tid, uint64_t address, size_t count_bytes):
    """So many bytes of another process's memory; a negative errno, EFAULT where not all can be read."""
    cdef bytes raw = PyBytes_FromStringAndSize(NULL, count_bytes)
    cdef iovec here
    cdef iovec there
    cdef ssize_t moved
    here.iov_base = PyBytes_AS_STRING(raw)
    there.iov_base = <void *>address
    here.iov_len = there.iov_len = count_bytes
    moved = process_vm_readv(tid, &here, 1, &there, 1, 0)
    if moved < 0:
        return -errno
    return raw if moved == <ssize_t>count_bytes else -EFAULT


def write(int tid, uint64_t address, bytes raw not None):
    """Write all of it there: 0, or a negative errno as `read`."""
    cdef iovec here
    cdef iovec there
    cdef ssize_t moved
    here.iov_base = PyBytes_AS_STRING(raw)
    there.iov_base = <void *>address
    here.iov_len = there.iov_len = len(raw)
    moved = process_vm_writev(tid, &here, 1, &there, 1, 0)
    if moved < 0:
        return -errno
    return 0 if moved == <ssize_t>here.iov_len else -EFAULT
