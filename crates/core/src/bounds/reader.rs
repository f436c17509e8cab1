//! A cursor over bytes from outside: it never reads past the end and never allocates.

use super::BoundsError;

/// Reads numbers and slices from the front of bytes that nobody has checked yet.
///
/// Numbers are LEB128 in their shortest form, as automerge writes them and demands them.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// True when everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Everything that is left.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8, BoundsError> {
        let (&first, rest) = self.rest.split_first().ok_or(BoundsError::Truncated)?;
        self.rest = rest;
        Ok(first)
    }

    /// The next `len` bytes; a length that the input claims may be larger than any real one.
    pub fn take(&mut self, len: u64) -> Result<&'a [u8], BoundsError> {
        let len = usize::try_from(len).map_err(|_| BoundsError::Truncated)?;
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(BoundsError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], BoundsError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(BoundsError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A length, then as many bytes.
    pub fn prefixed(&mut self) -> Result<&'a [u8], BoundsError> {
        let len = self.unsigned()?;
        self.take(len)
    }

    /// A count of items of at least `size` bytes each, refused when the rest of the input cannot hold them.
    pub fn count(&mut self, size: usize) -> Result<usize, BoundsError> {
        let count = usize::try_from(self.unsigned()?).map_err(|_| BoundsError::Truncated)?;
        match count.checked_mul(size) {
            Some(bytes) if bytes <= self.rest.len() => Ok(count),
            _ => Err(BoundsError::Truncated),
        }
    }

    /// An unsigned LEB128 number.
    pub fn unsigned(&mut self) -> Result<u64, BoundsError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            // The tenth byte holds the one bit that is left.
            if shift == 63 && byte > 1 {
                return Err(BoundsError::Number);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return match byte == 0 && shift > 0 {
                    true => Err(BoundsError::Number),
                    false => Ok(value),
                };
            }
        }
        Err(BoundsError::Number)
    }

    /// A signed LEB128 number.
    pub fn signed(&mut self) -> Result<i64, BoundsError> {
        let mut value = 0i64;
        let mut previous = 0u8;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            // The tenth byte holds the sign alone.
            if shift == 63 && byte != 0 && byte != 0x7f {
                return Err(BoundsError::Number);
            }
            value |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let repeats_sign =
                    (byte == 0 && previous & 0x40 == 0) || (byte == 0x7f && previous & 0x40 != 0);
                if shift > 0 && repeats_sign {
                    return Err(BoundsError::Number);
                }
                if shift < 57 && byte & 0x40 != 0 {
                    value |= -1 << (shift + 7);
                }
                return Ok(value);
            }
            previous = byte;
        }
        Err(BoundsError::Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unsigned_bytes(mut value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        while value > 0x7f {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        out
    }

    fn signed_bytes(mut value: i64) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            let byte = value as u8 & 0x7f;
            value >>= 7;
            if (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0) {
                out.push(byte);
                return out;
            }
            out.push(byte | 0x80);
        }
    }

    proptest! {
        #[test]
        fn reads_what_leb128_writes(shift in 0u32..64, raw: u64) {
            let unsigned = raw >> shift;
            let signed = raw as i64 >> shift;
            prop_assert_eq!(Reader::new(&unsigned_bytes(unsigned)).unsigned().unwrap(), unsigned);
            prop_assert_eq!(Reader::new(&signed_bytes(signed)).signed().unwrap(), signed);
        }
    }

    #[test]
    fn refuses_numbers_that_are_overlong_too_large_or_cut() {
        for bytes in [&[0x81u8, 0][..], &[0xff; 10], &[0xff; 11], &[0x80]] {
            assert!(Reader::new(bytes).unsigned().is_err(), "{bytes:?}");
        }
        let too_large = [[0xff; 9].as_slice(), &[1]].concat();
        let too_small = [[0x80; 9].as_slice(), &[0x7e]].concat();
        for bytes in [
            &[0xbf, 0][..],
            &[0x81, 0xff, 0x7f],
            &too_large,
            &too_small,
            &[0x90],
        ] {
            assert!(Reader::new(bytes).signed().is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn refuses_a_count_that_the_rest_cannot_hold() {
        assert!(Reader::new(&[2, 1, 2, 3]).count(2).is_err());
        assert_eq!(Reader::new(&[2, 1, 2, 3, 4]).count(2).unwrap(), 2);
        let huge = unsigned_bytes(u64::MAX);
        assert!(Reader::new(&huge).count(32).is_err());
    }
}
