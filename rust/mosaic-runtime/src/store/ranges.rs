//! Free ranges, of a slab or of a file: adjacent ones merge (`RANGES-1`).

use std::collections::BTreeMap;

/// Unused ranges, by offset.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    free: BTreeMap<u64, u64>,
}

impl Ranges {
    /// All of it is free.
    pub(crate) fn whole(length: u64) -> Self {
        Self {
            free: BTreeMap::from([(0, length)]),
        }
    }

    /// Offset and length of each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.free.iter().map(|(&offset, &length)| (offset, length))
    }

    /// Where the tightest range of at least that length begins.
    pub(crate) fn tightest(&self, length: u64) -> Option<u64> {
        let fitting = self.iter().filter(|(_, free)| *free >= length);
        fitting
            .min_by_key(|(_, free)| *free)
            .map(|(offset, _)| offset)
    }

    /// Take the beginning of the range at `offset`.
    pub(crate) fn take(&mut self, offset: u64, length: u64) {
        if let Some(free) = self.free.remove(&offset)
            && free > length
        {
            self.free.insert(offset + length, free - length);
        }
    }

    /// Free a range.
    pub(crate) fn put_back(&mut self, mut offset: u64, mut length: u64) {
        if let Some(next) = self.free.remove(&(offset + length)) {
            length += next;
        }
        if let Some((&before, &free)) = self.free.range(..offset).next_back()
            && before + free == offset
        {
            self.free.remove(&before);
            (offset, length) = (before, free + length);
        }
        self.free.insert(offset, length);
    }

    /// Take out the range that reaches up to `end`, if there is one; returns where it begins.
    pub(crate) fn take_last(&mut self, end: u64) -> Option<u64> {
        let (&offset, &length) = self.free.last_key_value()?;
        if offset + length != end {
            return None;
        }
        self.free.remove(&offset);
        Some(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `RANGES-1`
    #[test]
    fn ranges_1_neighbours_grow_together() {
        let mut ranges = Ranges::whole(100);
        for offset in [0, 10, 20, 30] {
            ranges.take(offset, 10);
        }
        ranges.put_back(10, 10);
        ranges.put_back(30, 10);
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [(10, 10), (30, 70)]);
        assert_eq!(
            (ranges.tightest(5), ranges.tightest(11)),
            (Some(10), Some(30))
        );
        ranges.put_back(20, 10);
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [(10, 90)]);
        assert_eq!(ranges.take_last(100), Some(10));
        assert_eq!((ranges.take_last(100), ranges.tightest(1)), (None, None));
    }
}
