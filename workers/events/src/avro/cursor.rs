//! Reads Avro's binary encoding from a borrowed slice: no allocation, no panic, every fault with its position.

use super::error::{DecodeError, Fault};

pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    length: usize,
    /// Items of arrays and maps so far.
    items: u64,
    /// The field being read, for errors.
    pub(super) field: &'static str,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { rest: body, length: body.len(), items: 0, field: "" }
    }

    #[cold]
    pub(super) fn fault(&self, fault: Fault) -> DecodeError {
        DecodeError::Body { field: self.field, at: self.length - self.rest.len(), fault }
    }

    /// Zig-zag varint of up to ten bytes. A number that does not fit 64 bits is a fault.
    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, DecodeError> {
        let mut value = 0_u64;
        for (i, byte) in self.rest.iter().enumerate().take(10) {
            if i == 9 && *byte > 1 {
                return Err(self.fault(Fault::Number));
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[i + 1..];
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(self.fault(Fault::Truncated))
    }

    #[inline]
    pub(super) fn int(&mut self) -> Result<i32, DecodeError> {
        let value = self.long()?;
        i32::try_from(value).map_err(|_| self.fault(Fault::Number))
    }

    pub(super) fn double(&mut self) -> Result<f64, DecodeError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or_else(|| self.fault(Fault::Truncated))?;
        self.rest = rest;
        Ok(f64::from_le_bytes(*bytes))
    }

    pub(super) fn boolean(&mut self) -> Result<bool, DecodeError> {
        match self.take(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(self.fault(Fault::Boolean)),
        }
    }

    #[inline]
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.fault(Fault::Truncated))?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.long()?;
        // A length beyond the address space is also beyond the input's end.
        let length = usize::try_from(length)
            .map_err(|_| self.fault(if length < 0 { Fault::Length } else { Fault::Truncated }))?;
        self.take(length)
    }

    #[inline]
    pub(crate) fn string(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.fault(Fault::Utf8))
    }

    /// The branch of a union of `[null, T]`: whether a value follows.
    #[inline]
    pub(super) fn present(&mut self) -> Result<bool, DecodeError> {
        // As every writer writes it: one byte.
        if let [branch @ (0 | 2), rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(*branch == 2);
        }
        match self.long()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.fault(Fault::Branch)),
        }
    }

    /// Reads an array's or a map's blocks, item by item. A block that claims more items than there are bytes left is a
    /// fault, so that a few bytes cannot cost a long loop or a large allocation; and so are more items than bytes altogether, because
    /// items without bytes may come in any number of blocks.
    pub(crate) fn blocks(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                // The block's size in bytes, for readers that skip whole blocks.
                self.long()?;
            }
            self.items = self.items.saturating_add(count.unsigned_abs());
            if count.unsigned_abs() > self.rest.len() as u64 || self.items > self.length as u64 {
                return Err(self.fault(Fault::Truncated));
            }
            for _ in 0..count.unsigned_abs() {
                item(self)?;
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.rest.len())) }
    }
}
