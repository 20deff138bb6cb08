// Waits for a byte below some twenty frames: of its own, of a library, of libstdc++ and of the C library.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

extern "C" long shared_wait(int fd);

namespace deep {
struct Base {
  virtual long wait(int fd) = 0;
  virtual ~Base() = default;
};
struct Waiter : Base {
  static inline long inlined(int fd) { return shared_wait(fd) + 1; }  // INLINED
  __attribute__((noinline)) long descend(int depth, int fd) {
    char *room = static_cast<char *>(alloca(16 * (depth + 1)));
    memset(room, depth, 16);
    long got = depth == 0 ? inlined(fd) : descend(depth - 1, fd);  // DESCEND
    asm volatile("" ::"r"(room) : "memory");
    return got;
  }
  long wait(int fd) override { return descend(8, fd) + 1; }
};
}  // namespace deep

static int given;
static int compare(const void *left, const void *right) {
  static std::once_flag once;
  std::call_once(once, [] {
    std::unique_ptr<deep::Base> waiter(new deep::Waiter);
    std::function<long(int)> call = [&](int fd) { return waiter->wait(fd); };
    call(given);
  });
  return *static_cast<const int *>(left) - *static_cast<const int *>(right);
}

int main(int, char **arguments) {
  given = atoi(arguments[1]);
  std::thread([] {
    std::vector<int> numbers{3, 1, 2};
    qsort(numbers.data(), numbers.size(), sizeof(int), compare);
  }).join();
}
