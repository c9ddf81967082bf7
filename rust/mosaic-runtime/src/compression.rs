//! LZ4 for whole payloads, whose length goes before the block. Pure; any thread runs it.
//!
//! `COMPRESSION-1`: what a payload claims to grow to is believed only as far as LZ4 can: memory is taken after that.

use lz4_flex::block;

/// The longest payload in bytes: its length is written as 32 bits.
pub const LONGEST: usize = u32::MAX as usize;

/// A byte of a block stands for this many at most: a length is continued with bytes that add 255 each.
const GROWTH: usize = 255;

const PREFIX: usize = 4;

/// Why bytes are not what [`compress`] made, or cannot become it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressionError {
    /// The length does not fit into the prefix.
    #[error("{0} bytes are more than one block can hold")]
    TooLong(usize),
    /// They were cut, changed, or made by something else.
    #[error("the compressed bytes are damaged: {0}")]
    Damaged(String),
}

/// Compress a payload.
pub fn compress(payload: &[u8]) -> Result<Vec<u8>, CompressionError> {
    if payload.len() > LONGEST {
        return Err(CompressionError::TooLong(payload.len()));
    }
    Ok(block::compress_prepend_size(payload))
}

/// Give back what [`compress`] was given.
pub fn decompress(packed: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let damaged = |reason: &dyn std::fmt::Display| CompressionError::Damaged(reason.to_string());
    let (claimed, _) = block::uncompressed_size(packed).map_err(|error| damaged(&error))?;
    if claimed > (packed.len() - PREFIX).saturating_mul(GROWTH) {
        return Err(damaged(&format_args!(
            "{} bytes cannot hold the {claimed} that they claim",
            packed.len()
        )));
    }
    let payload = block::decompress_size_prepended(packed).map_err(|error| damaged(&error))?;
    if payload.len() == claimed {
        Ok(payload)
    } else {
        Err(damaged(&format_args!(
            "{} bytes where {claimed} were claimed",
            payload.len()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn payloads_come_back(payload in proptest::collection::vec(0_u8..4, 0..5_000)) {
            let packed = compress(&payload).expect("short enough");
            prop_assert_eq!(decompress(&packed).expect("undamaged"), payload);
        }

        #[test]
        fn anything_else_is_an_error_or_bytes_and_no_panic(packed in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(payload) = decompress(&packed) {
                prop_assert!(payload.len() <= packed.len() * GROWTH);
            }
        }
    }

    #[test]
    fn the_most_that_lz4_can_do_is_believed() {
        let payload = vec![0; 10_000_000];
        let packed = compress(&payload).expect("short enough");
        assert!(packed.len() < 40_000);
        assert_eq!(decompress(&packed).expect("undamaged"), payload);
    }

    /// `COMPRESSION-1`
    #[test]
    fn a_claim_beyond_that_takes_no_memory() {
        let mut packed = compress(b"abc").expect("short enough");
        packed[..PREFIX].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = decompress(&packed).expect_err("cannot be");
        assert!(error.to_string().contains("claim"), "{error}");
    }
}
