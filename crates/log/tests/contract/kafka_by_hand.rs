//! A record that no client of Kafka can be made to send: the request that brings it to a broker, byte by byte.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Buf, BufMut};

const PRODUCE: i16 = 0;
const PRODUCE_VERSION: i16 = 3;
const CORRELATION: i32 = 7;
const ALL_IN_SYNC: i16 = -1;
const TIMEOUT_MS: i32 = 30_000;
/// Of a text that is not there, and of a producer that is not idempotent.
const NONE: i8 = -1;
const MAGIC: i8 = 2;

/// Appends a record with one header to a partition that this broker leads, and waits until it is kept.
pub fn send(broker: &str, topic: &str, partition: i32, payload: &[u8], header: (&[u8], &[u8])) {
    let batch = batch(&record(payload, header));
    let mut body = Vec::new();
    body.put_i16(PRODUCE);
    body.put_i16(PRODUCE_VERSION);
    body.put_i32(CORRELATION);
    // Neither a client's name nor a transaction's.
    body.put_i16(NONE.into());
    body.put_i16(NONE.into());
    body.put_i16(ALL_IN_SYNC);
    body.put_i32(TIMEOUT_MS);
    body.put_i32(1);
    body.put_i16(topic.len() as i16);
    body.extend_from_slice(topic.as_bytes());
    body.put_i32(1);
    body.put_i32(partition);
    put_sized(&mut body, &batch);
    let mut request = Vec::new();
    put_sized(&mut request, &body);

    let mut socket = TcpStream::connect(broker).unwrap();
    socket.write_all(&request).unwrap();
    let mut size = [0; 4];
    socket.read_exact(&mut size).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(size) as usize];
    socket.read_exact(&mut answer).unwrap();
    let mut answer = &answer[..];
    assert_eq!(answer.get_i32(), CORRELATION);
    // One topic by its name, and one partition by its number, stand before what became of it.
    answer.advance(4 + 2 + topic.len() + 4 + 4);
    assert_eq!(answer.get_i16(), 0, "Kafka's error code");
}

fn record(payload: &[u8], (key, value): (&[u8], &[u8])) -> Vec<u8> {
    let mut record = Vec::new();
    // Attributes, and how far time and offset lie from the batch's.
    record.extend_from_slice(&[0, 0, 0]);
    put_varint(&mut record, NONE.into());
    put_varint(&mut record, payload.len() as i64);
    record.extend_from_slice(payload);
    put_varint(&mut record, 1);
    for part in [key, value] {
        put_varint(&mut record, part.len() as i64);
        record.extend_from_slice(part);
    }
    let mut sized = Vec::new();
    put_varint(&mut sized, record.len() as i64);
    sized.extend_from_slice(&record);
    sized
}

fn batch(record: &[u8]) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let mut checked = Vec::new();
    // Attributes, and the last record's place in the batch.
    checked.put_i16(0);
    checked.put_i32(0);
    checked.put_i64(now);
    checked.put_i64(now);
    // Which producer, its epoch, and its first number.
    checked.put_i64(NONE.into());
    checked.put_i16(NONE.into());
    checked.put_i32(NONE.into());
    checked.put_i32(1);
    checked.extend_from_slice(record);

    let mut rest = Vec::new();
    // The leader's epoch.
    rest.put_i32(NONE.into());
    rest.put_i8(MAGIC);
    rest.put_u32(crc32c(&checked));
    rest.extend_from_slice(&checked);
    let mut batch = Vec::new();
    // The offset, which is the broker's to give.
    batch.put_i64(0);
    put_sized(&mut batch, &rest);
    batch
}

fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_i32(bytes.len() as i32);
    out.extend_from_slice(bytes);
}

/// Zigzag, seven bits a byte.
fn put_varint(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Castagnoli's.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
