//! Memory for what a training writes and reads thousands of times a second.

use memmap2::MmapMut;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// Zeroed numbers on large pages, where the system has them.
///
/// Small pages lie scattered in the memory, and those that the processor's second cache puts into the same places drive
/// one another out: a step of training took 10 to 15 % longer, and another time in each process (`benches/README.md`).
pub(super) struct Memory {
    map: MmapMut,
    /// Where the numbers begin: at a large page.
    start: usize,
    values: usize,
}

/// Size of a large page. Unit: bytes.
const PAGE: usize = 2 << 20;

impl Memory {
    /// Room for so many values.
    pub(super) fn zeroed(values: usize) -> Self {
        let bytes = Self::bytes(values) as usize;
        let map = MmapMut::map_anon(bytes + PAGE).unwrap_or_else(|error| panic!("no {bytes} bytes of memory: {error}"));
        let start = map.as_ptr().align_offset(PAGE);
        #[cfg(target_os = "linux")]
        if let Err(error) = map.advise_range(memmap2::Advice::HugePage, start, bytes) {
            // a kernel without them: slower, nothing else
            tracing::debug!("no large pages: {error}");
        }
        Self { map, start, values }
    }

    /// What [`Self::zeroed`] takes of the memory. Unit: bytes.
    pub(super) fn bytes(values: usize) -> u64 {
        (4 * values.max(1)).next_multiple_of(PAGE) as u64
    }
}

impl Deref for Memory {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        bytemuck::cast_slice(&self.map[self.start..self.start + 4 * self.values])
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.map[self.start..self.start + 4 * self.values])
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory of {} values", self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zeroed_aligned_and_as_long_as_asked() {
        for values in [0, 1, 1000, PAGE / 4 + 1] {
            let mut memory = Memory::zeroed(values);
            assert_eq!((memory.len(), memory.as_ptr() as usize % PAGE), (values, 0));
            assert!(memory.iter().all(|&value| value == 0.0));
            memory.fill(1.0);
            assert!(memory.iter().all(|&value| value == 1.0));
            assert!(4 * values as u64 <= Memory::bytes(values));
        }
    }
}
