//! Memory of which several threads each write a part of their own.

use std::ops::Range;

/// A slice whose parts are given out without asking who has them.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T> {
    start: *mut T,
    length: usize,
}

// SAFETY: only a pointer; `part` and `read` say what their users must see to.
unsafe impl<T: Send + Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn new(values: &mut [T]) -> Shared<T> {
        Shared { start: values.as_mut_ptr(), length: values.len() }
    }

    /// # Safety
    /// The memory is alive, and no other part that overlaps is.
    #[expect(clippy::mut_from_ref, reason = "parts are disjoint, as the caller promises")]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.length, "a part lies in its whole");
        // SAFETY: within the memory, as was checked; not shared, as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.end - range.start) }
    }

    /// # Safety
    /// The memory is alive, and nobody writes to this part of it.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(crate) unsafe fn read(&self, range: Range<usize>) -> &[T] {
        assert!(range.start <= range.end && range.end <= self.length, "a part lies in its whole");
        // SAFETY: within the memory, as was checked; only read, as the caller promises.
        unsafe { std::slice::from_raw_parts(self.start.add(range.start), range.end - range.start) }
    }
}
