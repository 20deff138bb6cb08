// A ring of frames in C++: RAII, exceptions, std::thread.
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <deque>
#include <iostream>
#include <memory>
#include <string>
#include <system_error>
#include <thread>

class Frame {
public:
    Frame(int heap, std::size_t size, const std::string &name) : size_(size) {
        dma_heap_allocation_data data{};
        data.len = size;
        data.fd_flags = O_RDWR | O_CLOEXEC;
        if (ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data) < 0)
            throw std::system_error(errno, std::generic_category(), name);
        fd_ = static_cast<int>(data.fd);
        ioctl(fd_, DMA_BUF_SET_NAME_B, name.c_str());
        at_ = static_cast<std::uint8_t *>(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0));
        if (at_ == MAP_FAILED)
            throw std::system_error(errno, std::generic_category(), "mmap");
    }
    Frame(const Frame &) = delete;
    Frame &operator=(const Frame &) = delete;
    ~Frame() {
        munmap(at_, size_);
        close(fd_);
    }
    bool is_zero() const { return std::all_of(at_, at_ + size_, [](std::uint8_t byte) { return byte == 0; }); }
    void fill() {
        dma_buf_sync sync{DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE};
        if (ioctl(fd_, DMA_BUF_IOCTL_SYNC, &sync) < 0)
            throw std::system_error(errno, std::generic_category(), "sync");
        std::fill(at_, at_ + size_, 0xff);
        sync.flags |= DMA_BUF_SYNC_END;
        ioctl(fd_, DMA_BUF_IOCTL_SYNC, &sync);
    }

private:
    int fd_ = -1;
    std::size_t size_;
    std::uint8_t *at_ = nullptr;
};

int main() {
    int heap = open("/dev/dma_heap/reserved", O_RDONLY | O_CLOEXEC);
    bool zero = true;
    std::thread camera([&] {
        std::deque<std::unique_ptr<Frame>> ring;
        for (int number = 0; number < 20; number++) {
            ring.push_back(std::make_unique<Frame>(heap, 640 * 480 * 3 / 2, "frame " + std::to_string(number)));
            zero = zero && ring.back()->is_zero();
            ring.back()->fill();
            if (ring.size() > 3)
                ring.pop_front();
        }
    });
    camera.join();
    try {
        Frame too_large(heap, std::size_t{1} << 40, "everything");
    } catch (const std::system_error &error) {
        std::cout << (zero ? "zero" : "dirty") << ' ' << error.code().value() << '\n';
        return 0;
    }
    return 1;
}
