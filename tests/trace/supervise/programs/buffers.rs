// Buffers in Rust, without any crate: the ioctl by its C declaration.
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::raw::{c_int, c_ulong, c_void};
use std::sync::Arc;
use std::thread;

extern "C" {
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn mmap(at: *mut c_void, length: usize, protection: c_int, flags: c_int, fd: c_int, offset: i64) -> *mut c_void;
    fn munmap(at: *mut c_void, length: usize) -> c_int;
}

const ALLOC: c_ulong = 0xc018_4800;
const RDWR_CLOEXEC: u32 = 0o2000002;

#[repr(C)]
struct Data {
    len: u64,
    fd: u32,
    fd_flags: u32,
    heap_flags: u64,
}

fn allocate(heap: &File, len: u64) -> io::Result<OwnedFd> {
    let mut data = Data { len, fd: 0, fd_flags: RDWR_CLOEXEC, heap_flags: 0 };
    if unsafe { ioctl(heap.as_raw_fd(), ALLOC, &mut data) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(unsafe { OwnedFd::from_raw_fd(data.fd as c_int) })
}

fn sum_after_fill(buffer: &OwnedFd, length: usize) -> u64 {
    unsafe {
        let at = mmap(std::ptr::null_mut(), length, 3, 1, buffer.as_raw_fd(), 0) as *mut u8;
        let bytes = std::slice::from_raw_parts_mut(at, length);
        bytes.fill(3);
        let sum = bytes.iter().map(|byte| u64::from(*byte)).sum();
        munmap(at as *mut c_void, length);
        sum
    }
}

fn main() -> io::Result<()> {
    let heap = Arc::new(File::open("/dev/dma_heap/system")?);
    let workers: Vec<_> = (1..=4)
        .map(|pages| {
            let heap = Arc::clone(&heap);
            thread::spawn(move || {
                let buffer = allocate(&heap, pages * 4096).expect("a buffer");
                sum_after_fill(&buffer, pages as usize * 4096)
            })
        })
        .collect();
    let sums: Vec<u64> = workers.into_iter().map(|worker| worker.join().expect("a sum")).collect();
    println!("{sums:?} {:?}", allocate(&heap, 0).map_err(|error| error.raw_os_error()).err());
    Ok(())
}
