//! The outputs of the next transaction, and the polled items deferred until after it.

use weir_log::{Item, Output, Record};

/// The outputs of the next transaction, and how many bytes they are.
pub(super) struct Outputs {
    pub(super) records: Vec<Output>,
    /// The number of records counted into `bytes`.
    counted: usize,
    bytes: usize,
    pub(super) max_bytes: usize,
}

impl Outputs {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { records: Vec::new(), counted: 0, bytes: 0, max_bytes }
    }

    /// Whether the transaction is full; counts the records added since the last call.
    #[inline]
    pub(super) fn is_full(&mut self) -> bool {
        if self.counted < self.records.len() {
            self.bytes += self.records[self.counted..].iter().map(size).sum::<usize>();
            self.counted = self.records.len();
        }
        self.bytes >= self.max_bytes
    }

    /// Takes all outputs.
    pub(super) fn take(&mut self) -> Vec<Output> {
        (self.counted, self.bytes) = (0, 0);
        std::mem::take(&mut self.records)
    }
}

fn size(output: &Output) -> usize {
    let headers = output.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    [&output.key, &output.value].into_iter().flatten().map(Vec::len).sum::<usize>() + headers
}

/// An item polled after a record whose outputs filled the transaction.
pub(super) enum Deferred {
    Record { partition: i32, offset: i64, timestamp: i64, key: Option<Vec<u8>>, value: Option<Vec<u8>> },
    End { partition: i32, offset: i64 },
    HeldBack { partition: i32, offset: i64 },
}

impl Deferred {
    pub(super) fn of(item: &Item<'_>) -> Self {
        match *item {
            Item::Record(record) => Self::Record {
                partition: record.partition,
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
            },
            Item::End { partition, offset } => Self::End { partition, offset },
            Item::HeldBack { partition, offset } => Self::HeldBack { partition, offset },
        }
    }

    pub(super) fn item(&self) -> Item<'_> {
        match self {
            Self::Record { partition, offset, timestamp, key, value } => Item::Record(Record {
                partition: *partition,
                offset: *offset,
                timestamp: *timestamp,
                key: key.as_deref(),
                value: value.as_deref(),
            }),
            &Self::End { partition, offset } => Item::End { partition, offset },
            &Self::HeldBack { partition, offset } => Item::HeldBack { partition, offset },
        }
    }
}
