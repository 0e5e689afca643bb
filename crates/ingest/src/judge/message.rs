//! Judges messages of another system's topic, each into a record of the log. What a message means is a reader's to
//! say; reading the topic, and the log, are left to the bridge.

use bytes::Bytes;
use footfall_event::{BadField, Event, Micros, Text, Whole};

use super::door::{AgentMemo, Door, Facts};
use super::{Head, Unfit, Verdicts, names_of, settle, too_large_event};
use crate::IngestSettings;
use crate::protocol::Names;
use crate::refusal::Payload;

/// Fills events from messages.
pub trait MessageReader: Send + Sync {
    /// Fills `event`, which is empty, and names its site where message or reader tell it.
    ///
    /// # Errors
    /// The first thing that does not fit. What was filled by then stays.
    fn read<'a>(&'a self, value: &'a [u8], event: &mut Event<'a>) -> Result<(), BadField>;
}

/// A message, and what its topic says of it.
pub struct Message {
    pub value: Bytes,
    /// Of an event that has none of its own: the same however often the message is read.
    pub id: String,
    /// When it was sent, where the topic tells.
    pub time: Option<Micros>,
    /// Its place in its partition: among events of one time it decides the order.
    pub offset: i64,
}

/// Judges messages, in their order.
pub fn judge_messages(
    settings: &IngestSettings,
    head: &Head,
    reader: &dyn MessageReader,
    messages: &[Message],
) -> Verdicts {
    let door = Door::new(settings, head);
    let facts = Facts::with_capacity(1);
    let mut agents = AgentMemo::new(&facts, messages.len());
    let mut verdicts = Verdicts::new(head);
    verdicts.expect(messages.len(), messages.iter().map(|message| message.value.len()).sum());
    for message in messages {
        judge_message(&door, reader, message, &mut agents, &mut verdicts);
    }
    verdicts
}

fn judge_message<'a>(
    door: &'a Door<'_>,
    reader: &'a dyn MessageReader,
    message: &'a Message,
    agents: &mut AgentMemo<'a>,
    verdicts: &mut Verdicts,
) {
    let (bytes, max) = (message.value.len(), door.settings.event_bytes_max);
    let payload = Payload::whole(&message.value);
    if bytes > max {
        let names = Names { event_id: Some(message.id.as_str().into()), ..Names::default() };
        let bad = too_large_event(bytes, max);
        verdicts.reject(door, bad, payload, names, door.consent_of_unread(&message.value));
        return;
    }
    let mut event = Event::default();
    let read = reader.read(&message.value, &mut event);
    if event.text(Text::EventId).is_none() {
        event.set_text(Text::EventId, message.id.as_str());
    }
    // How long a message was on its way tells nothing of a client's clock.
    event.client.sent_at = None;
    event.client.timestamp = event.client.timestamp.or(message.time);
    if event.whole(Whole::Seq).is_none() {
        event.set_whole(Whole::Seq, message.offset);
    }
    let settled = match read {
        Ok(()) => settle(door, &mut event, agents, verdicts),
        Err(bad) => {
            let consent = door.consent(&event).min(door.consent_of_unread(&message.value));
            Err(Unfit { bad, consent })
        }
    };
    match settled {
        Ok(times) => {
            // Without a time of its own it is of each moment at which it is read: nothing else tells that it was read before.
            event.is_replayed |= event.client.timestamp.is_none();
            verdicts.accept(&event, times);
        }
        Err(Unfit { bad, consent }) => {
            verdicts.reject(door, bad, payload, names_of(&event), consent);
        }
    }
}

#[cfg(test)]
mod tests {
    use footfall_event::parse_event;
    use footfall_log::Kind;
    use serde_json::Value;

    use super::*;
    use crate::protocol::Dialect;

    const RECEIVED: Micros = Micros(1_795_348_800_000_000);

    /// Messages are Footfall's own events.
    struct Own;

    impl MessageReader for Own {
        fn read<'a>(&'a self, value: &'a [u8], event: &mut Event<'a>) -> Result<(), BadField> {
            let text = std::str::from_utf8(value).unwrap();
            *event = parse_event(text)?;
            Ok(())
        }
    }

    fn records(settings: &IngestSettings, values: &[&str]) -> Vec<(Kind, Value)> {
        records_of(settings, values, Some(Micros(RECEIVED.0 - 1_000_000)))
    }

    fn records_of(
        settings: &IngestSettings,
        values: &[&str],
        time: Option<Micros>,
    ) -> Vec<(Kind, Value)> {
        let head = Head::of_no_request(Dialect::Bridge, RECEIVED, 1);
        let message = |(offset, value): (usize, &&str)| Message {
            value: Bytes::from((*value).to_owned()),
            id: format!("b/0/{offset}@0"),
            time,
            offset: offset as i64,
        };
        let messages: Vec<Message> = values.iter().enumerate().map(message).collect();
        let records = judge_messages(settings, &head, &Own, &messages).take_records();
        let json = |record: footfall_log::NewRecord| {
            (record.kind, serde_json::from_slice(&record.payload).unwrap())
        };
        records.into_iter().map(json).collect()
    }

    #[test]
    fn what_a_message_lacks_its_topic_tells() {
        let own = r#"{"event_id":"e","seq":7,"visitor_id":"v","event_name":"a","timestamp":"2026-11-22T11:00:00Z","sent_at":"2026-11-22T13:00:00Z"}"#;
        let bare = r#"{"visitor_id":"v","event_name":"a"}"#;
        let records = records(&IngestSettings::default(), &[own, bare]);
        let told = |at: usize, key: &str| records[at].1[key].clone();
        assert_eq!(records[0].0, Kind::Event);
        assert_eq!((told(0, "event_id"), told(0, "seq")), ("e".into(), 7.into()));
        assert_eq!(told(0, "event_time"), told(0, "client_time"), "sent_at corrects nothing");
        assert_eq!((told(1, "event_id"), told(1, "seq")), ("b/0/1@0".into(), 1.into()));
        assert_eq!(told(1, "event_time"), Value::from(RECEIVED.0 - 1_000_000));
    }

    /// It may be read again at any time, and would be taken for an event of then.
    #[test]
    fn what_has_no_time_is_looked_up() {
        let timed = r#"{"visitor_id":"v","event_name":"a","timestamp":"2026-11-22T11:00:00Z"}"#;
        let bare = r#"{"visitor_id":"v","event_name":"a"}"#;
        let settings = IngestSettings::default();
        let replayed = |time| {
            let records = records_of(&settings, &[timed, bare], time);
            records.iter().map(|(_, record)| record["replayed"] == true).collect::<Vec<_>>()
        };
        assert_eq!(replayed(Some(RECEIVED)), [false, false]);
        assert_eq!(replayed(None), [false, true]);
    }

    #[test]
    fn how_fast_a_topic_is_read_tells_nothing_of_a_visitor() {
        let bare = r#"{"visitor_id":"v","event_name":"a"}"#;
        let records = records(&IngestSettings::default(), &[bare; 2_000]);
        assert!(records.iter().all(|(_, event)| event["bot"].is_null()));
    }

    #[test]
    fn what_is_refused_is_kept_by_its_id() {
        let long = format!(r#"{{"event_name":"{}"}}"#, "x".repeat(70_000));
        let denied = r#"{"visitor_id":"v","event_name":"a","consent":"denied"}"#;
        let records = records(&IngestSettings::default(), &["no JSON", "{}", &long, denied]);
        for (at, reason, payload) in [
            (0, "bad_json", "no JSON"),
            (1, "missing", "{}"),
            (2, "too_large", &long[..16_384]),
            (3, "no_consent", ""),
        ] {
            let (kind, row) = &records[at];
            assert_eq!((*kind, row["reason"].as_str()), (Kind::Rejected, Some(reason)));
            assert_eq!(row["payload"].as_str(), Some(payload));
            assert_eq!(row["id"], Value::from(format!("b/0/{at}@0")));
            assert!(row["visitor_id"].is_null());
        }
    }
}
