//! Heap: keeps glibc from giving the memory of a download back to the system between two of its parts.
//!
//! A download allocates and frees parts of some 256 KiB. By default glibc returns such memory to the
//! kernel again and again, and each part is paid for a second time in page faults: half of a fast
//! download's CPU time. No allocator is replaced here and no setting of the program's own is overridden.

use std::hint::black_box;
use std::sync::Once;

/// More than all parts and buffers of one download that are alive at a time, and still too little to be
/// missed: up to twice as much stays with the process.
const LARGEST_FREED: usize = 1024 * 1024;

/// Lets the C library learn that blocks of some size come and go in this process. Done once, on the first
/// large download.
///
/// glibc adapts by itself (mallopt(3), `M_MMAP_THRESHOLD`): when a block that was mapped on its own is
/// freed, blocks up to its size are taken from the heap from then on, and the heap keeps twice as much
/// free memory. So one block that is allocated and freed, and never written to, is all that it takes.
/// Programs that have set the thresholds keep theirs; other C libraries see nothing but the one block.
pub fn expect_large_blocks() {
    static LEARN: Once = Once::new();
    LEARN.call_once(|| {
        drop(black_box(Vec::<u8>::with_capacity(black_box(
            LARGEST_FREED,
        ))))
    });
}
