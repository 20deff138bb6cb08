// A library with a function of its own to wait in, as libraries have one to allocate with.
#include <unistd.h>
extern "C" __attribute__((noinline)) long shared_wait(int fd) {
  char byte;
  long got = read(fd, &byte, 1);  // WAIT
  asm volatile("" ::: "memory");
  return got;
}
