// Leaks one buffer of two, through libstdc++ and a library; says so, and waits for its standard input to end.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#include <unistd.h>

int heap_open();
int heap_alloc(int heap, unsigned long size);

namespace player {
struct Decoder {
  int heap = heap_open();
  __attribute__((noinline)) int keep() {
    int fd = heap_alloc(heap, 64 << 10);  // LEAK
    asm volatile("" ::: "memory");
    return fd;
  }
  __attribute__((noinline)) void use() {
    int fd = heap_alloc(heap, 1 << 20);
    asm volatile("" ::: "memory");
    close(fd);
  }
};
}  // namespace player

int main(int, char **arguments) {
  std::thread([&] {
    player::Decoder decoder;
    std::vector<int> numbers(atoi(arguments[1]));
    std::function<void(int)> decode = [&](int) {
      decoder.use();
      decoder.keep();
    };
    std::for_each(numbers.begin(), numbers.end(), decode);
    puts("ready");
    fflush(stdout);
    getchar();
  }).join();
}
