//! Round trips and rejections of every persisted value.

use super::*;

fn chunk() -> Bytes {
    let mut chunk = ChunkBuilder::new(Micros(77), 0);
    chunk.push(Kind::Event, b"one");
    chunk.push(Kind::Tick, b"");
    chunk.push(Kind::Rejected, b"three");
    chunk.finish(&mut Packer::default())
}

fn decode(value: Bytes, from: i64) -> Result<Vec<Record>, Malformed> {
    let mut records = Vec::new();
    decode_chunk(Offset(10), value, Offset(from), &mut records).map(|()| records)
}

#[test]
fn chunk_round_trip() {
    let records = decode(chunk(), 0).unwrap();
    let read: Vec<_> = records.iter().map(|r| (r.offset.0, r.kind, &r.payload[..])).collect();
    let expected: [(i64, Kind, &[u8]); 3] =
        [(10, Kind::Event, b"one"), (11, Kind::Tick, b""), (12, Kind::Rejected, b"three")];
    assert_eq!(read, expected);
    assert!(records.iter().all(|r| r.append_time == Micros(77)));
    let header = ChunkHeader { append_time: Micros(77), count: 3, bytes: 3 * 5 + 8 };
    assert_eq!(chunk_header(&chunk()), Ok(header));
}

/// Records that are alike, as events are.
fn large_chunk() -> Bytes {
    let mut chunk = ChunkBuilder::new(Micros(77), 0);
    for number in 0..100 {
        chunk.push(Kind::Event, alike(number).as_bytes());
    }
    chunk.finish(&mut Packer::default())
}

fn alike(number: usize) -> String {
    format!("{{\"event_id\":\"{number}\",\"event_name\":\"page_view\"}}")
}

#[test]
fn a_large_chunk_is_packed_and_read_back() {
    let chunk = large_chunk();
    let frames: usize = (0..100).map(|number| FRAME_HEADER_BYTES + alike(number).len()).sum();
    assert_eq!((chunk[0], chunk.len() < frames / 4), (VERSION_PACKED, true), "{}", chunk.len());
    let header = ChunkHeader { append_time: Micros(77), count: 100, bytes: frames };
    assert_eq!(chunk_header(&chunk), Ok(header));
    let records = decode(chunk, 13).unwrap();
    let read: Vec<_> = records.iter().map(|r| (r.offset.0, r.payload.to_vec())).collect();
    let expected = (3..100).map(|number| (10 + number as i64, alike(number).into_bytes()));
    assert_eq!(read, expected.collect::<Vec<_>>());
}

/// The room of a larger one before it leaves nothing in it.
#[test]
fn a_chunk_is_packed_alike_whatever_came_before() {
    let mut packer = Packer::default();
    let of = |count: usize, packer: &mut Packer| {
        let mut chunk = ChunkBuilder::new(Micros(77), 0);
        (0..count).for_each(|number| chunk.push(Kind::Event, alike(number).as_bytes()));
        chunk.finish(packer)
    };
    of(5_000, &mut packer);
    assert_eq!(of(100, &mut packer), large_chunk());
}

#[test]
fn what_packing_does_not_make_smaller_is_kept_as_it_is() {
    let mut noise = vec![0; 1_000];
    rand::fill(&mut noise[..]);
    let mut chunk = ChunkBuilder::new(Micros(77), 0);
    chunk.push(Kind::Event, &noise);
    let chunk = chunk.finish(&mut Packer::default());
    assert_eq!(chunk[0], VERSION);
    assert_eq!(decode(chunk, 0).unwrap()[0].payload, noise);
}

#[test]
fn a_packed_chunk_is_refused_at_every_cut_and_for_a_wrong_length() {
    let whole = large_chunk();
    for bytes in 0..whole.len() {
        assert!(decode(whole.slice(..bytes), 0).is_err(), "cut at {bytes}");
    }
    let of_length = |length: u32| {
        let mut chunk = whole.to_vec();
        chunk[CHUNK_HEADER_BYTES..CHUNK_HEADER_BYTES + 4].copy_from_slice(&length.to_be_bytes());
        decode(chunk.into(), 0)
    };
    let frames = chunk_header(&whole).unwrap().bytes as u32;
    assert!(of_length(frames).is_ok());
    for length in [0, frames - 1, frames + 1] {
        assert!(of_length(length).is_err(), "{length}");
    }
    // For which no memory is asked.
    assert_eq!(of_length(u32::MAX), Err(LARGER_THAN_ITS_BYTES));
}

#[test]
fn chunk_from_the_middle() {
    let offsets = |from| decode(chunk(), from).unwrap().iter().map(|r| r.offset.0).collect();
    let middle: Vec<_> = offsets(11);
    assert_eq!(middle, [11, 12]);
    let past: Vec<_> = offsets(13);
    assert!(past.is_empty());
}

#[test]
fn chunk_is_refused_at_every_cut() {
    let whole = chunk();
    for bytes in 0..whole.len() {
        assert!(decode(whole.slice(..bytes), 0).is_err(), "cut at {bytes}");
    }
    let longer = [&whole[..], b"x"].concat();
    assert!(decode(longer.into(), 0).is_err());
}

#[test]
fn chunk_of_another_version_or_kind_is_refused() {
    let mut version = chunk().to_vec();
    version[0] = 9;
    assert!(decode(version.into(), 0).is_err());
    let mut kind = chunk().to_vec();
    kind[CHUNK_HEADER_BYTES] = 200;
    assert_eq!(decode(kind.into(), 0), Err(UNKNOWN_KIND));
}

#[test]
fn format_round_trip_and_rejection() {
    let format = Format { partitions: 12, topic: "events".to_owned() };
    assert_eq!(Format::decode(&format.encode()), Ok(format));
    assert!(Format::decode(b"").is_err());
    assert!(Format::decode(&[VERSION, 0, 0]).is_err());
    assert!(Format::decode(&[7, 0, 0, 0, 1]).is_err());
}

#[test]
fn starts_round_trip_and_rejection() {
    let tail = |next, time| Tail { next: Offset(next), append_time: Micros(time) };
    let tails = BTreeMap::from([
        (Lane::Partition(Partition(0)), tail(5, 50)),
        (Lane::Partition(Partition(7)), tail(6, 60)),
        (Lane::Side("signals".to_owned()), tail(1, 10)),
    ]);
    let starts = Starts { opened_at: Micros(99), tails };
    let value = starts.encode();
    assert_eq!(Starts::decode(&value), Ok(starts));
    let whole_entries = [9, 9 + 21, 9 + 42];
    for bytes in 0..value.len() {
        let refused = Starts::decode(&value[..bytes]).is_err();
        assert_eq!(refused, !whole_entries.contains(&bytes), "cut at {bytes}");
    }
}

#[test]
fn released_round_trip_and_rejection() {
    let released = [Offset(3), Offset(0), Offset(i64::MAX)];
    let value = encode_released(&released);
    assert_eq!(decode_released(&value, 3).as_deref(), Ok(&released[..]));
    assert!(decode_released(&value, 2).is_err());
    assert!(decode_released(&value[1..], 3).is_err());
}

#[test]
fn chunk_keys_ascend_with_offsets_and_lanes_do_not_mix() {
    let lane = |p| Lane::Partition(Partition(p));
    let side = Lane::Side("a".to_owned());
    let keys = [
        lane(0).chunk_key(Offset(0)),
        lane(0).chunk_key(Offset(255)),
        lane(0).chunk_key(Offset(256)),
        lane(0).chunk_key(Offset(i64::MAX)),
        lane(1).chunk_key(Offset(0)),
        side.chunk_key(Offset(0)),
        side.chunk_key(Offset(1)),
    ];
    assert!(keys.is_sorted());
    assert_eq!(chunk_first(&keys[2]), Ok(Offset(256)));
    assert!(chunk_first(b"short").is_err());
}
