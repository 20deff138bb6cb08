// A library's function to allocate with.
#include <fcntl.h>
#include <linux/types.h>
#include <sys/ioctl.h>

struct Request {
  __u64 len;
  __u32 fd, fd_flags;
  __u64 heap_flags;
};

int heap_open() { return open("/dev/dma_heap/system", O_RDONLY | O_CLOEXEC); }

__attribute__((noinline)) int heap_alloc(int heap, unsigned long size) {
  Request request{};
  request.len = size;
  request.fd_flags = O_RDWR | O_CLOEXEC;
  int failed = ioctl(heap, _IOWR('H', 0, Request), &request);  // ALLOC
  return failed ? -1 : static_cast<int>(request.fd);
}
