//! Messages of one partition gathered into records that share one allocation.
//! When a batch is handed on is left to the reader.

use bytes::{Bytes, BytesMut};
use footfall_event::{Micros, Offset};
use rdkafka::message::{BorrowedMessage, Message};

use crate::kafka::client;
use crate::{Kind, Record};

pub struct Batch {
    payloads: BytesMut,
    heads: Vec<Head>,
}

struct Head {
    offset: Offset,
    append_time: Micros,
    kind: Kind,
    payload_bytes: usize,
}

impl Batch {
    pub fn new() -> Self {
        Self { payloads: BytesMut::new(), heads: Vec::new() }
    }

    pub fn push(&mut self, message: &BorrowedMessage<'_>, kind: Kind) {
        let payload = message.payload().unwrap_or_default();
        self.payloads.extend_from_slice(payload);
        self.heads.push(Head {
            offset: Offset(message.offset()),
            append_time: client::append_time(message),
            kind,
            payload_bytes: payload.len(),
        });
    }

    /// The records so far, in order; the batch is empty after it.
    pub fn take(&mut self) -> Vec<Record> {
        let mut payloads = std::mem::take(&mut self.payloads).freeze();
        let record = |head: Head| {
            let payload: Bytes = payloads.split_to(head.payload_bytes);
            let Head { offset, append_time, kind, .. } = head;
            Record { offset, append_time, kind, payload }
        };
        self.heads.drain(..).map(record).collect()
    }
}
