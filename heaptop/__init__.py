"""heaptop: an interactive inspector and debugger of Linux DMA-BUF heaps."""
