//! Cuts a JSON body into its events as they are written: each byte is looked at once, and again when its event is parsed.

use footfall_event::{BadField, Reason};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::fields::{Fields, Text};
use super::{Piece, bad_json};

/// The elements of a JSON array, at most `events_max`.
///
/// # Errors
/// When it is no array, or a longer one.
pub fn of_array<'t>(
    text: &'t str,
    holder: &str,
    events_max: usize,
) -> Result<Vec<Piece<'t>>, BadField> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut elements = Elements { events_max, end: End::Unknown };
    let pieces = elements.deserialize(&mut json);
    let pieces = pieces.and_then(|pieces| json.end().map(|()| pieces));
    pieces.map_err(|error| elements.fault(holder, &error))
}

/// The elements of the array that is an object's field `holder`, at most `events_max`, and the other fields; `None`
/// if there is no such field. Of a repeated one the last counts, and each must be such an array.
///
/// # Errors
/// When it is no object, or the field no array, or a longer one.
pub fn of_object<'t>(
    text: &'t str,
    holder: &str,
    events_max: usize,
) -> Result<(Option<Vec<Piece<'t>>>, Fields<'t>), BadField> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut elements = Elements { events_max, end: End::Unknown };
    let object = json.deserialize_map(Holding { holder, elements: &mut elements });
    let object = object.and_then(|object| json.end().map(|()| object));
    object.map_err(|error| elements.fault(holder, &error))
}

pub fn too_many(holder: &str, events_max: usize) -> BadField {
    let message = format!("holds more than {events_max} events; send them in smaller batches");
    BadField::new(Reason::TooMany, holder, message)
}

/// An array's elements, unless there are too many.
struct Elements {
    events_max: usize,
    end: End,
}

/// How far the array was read.
enum End {
    Unknown,
    Before,
    Over,
}

impl Elements {
    fn fault(&self, holder: &str, error: &serde_json::Error) -> BadField {
        match self.end {
            End::Over => too_many(holder, self.events_max),
            End::Before if error.is_data() => {
                BadField::new(Reason::BadType, holder, "expected an array of events")
            }
            _ => bad_json(error),
        }
    }
}

impl<'de> DeserializeSeed<'de> for &mut Elements {
    type Value = Vec<Piece<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<Piece<'de>>, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &mut Elements {
    type Value = Vec<Piece<'de>>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Piece<'de>>, A::Error> {
        let mut pieces = Vec::new();
        while let Some(element) = seq.next_element::<&RawValue>()? {
            if pieces.len() == self.events_max {
                self.end = End::Over;
                return Err(A::Error::custom("too many"));
            }
            pieces.push(Ok(element.get()));
        }
        Ok(pieces)
    }
}

/// An object's fields, of which one holds the events.
struct Holding<'h> {
    holder: &'h str,
    elements: &'h mut Elements,
}

impl<'de> Visitor<'de> for Holding<'_> {
    type Value = (Option<Vec<Piece<'de>>>, Fields<'de>);

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut pieces, mut fields) = (None, Vec::new());
        while let Some(Text(key)) = map.next_key()? {
            if key == self.holder {
                self.elements.end = End::Before;
                pieces = Some(map.next_value_seed(&mut *self.elements)?);
            } else {
                fields.push((key, map.next_value::<&RawValue>()?.get()));
            }
        }
        Ok((pieces, Fields::of(fields)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let told = match of_object(text, "batch", 2) {
            Ok((pieces, fields)) => {
                let names: Vec<&str> = fields.iter().map(|(name, _)| name).collect();
                format!("{pieces:?} beside {names:?}")
            }
            Err(bad) => format!("{} {bad}", bad.reason.code()),
        };
        assert_eq!(told, expected, "{text}");
    }

    #[test]
    fn an_object_gives_the_events_of_one_field_and_the_others() {
        check(
            r#"{"a":[3],"batch":[ {"b":1} ,2],"c":{}}"#,
            r#"Some([Ok("{\"b\":1}"), Ok("2")]) beside ["a", "c"]"#,
        );
        check(r#"{"b\u0061tch":[]}"#, "Some([]) beside []");
        check(r#"{"a":1}"#, r#"None beside ["a"]"#);
        check(r#"{"batch":[1],"batch":[2]}"#, r#"Some([Ok("2")]) beside []"#);
    }

    #[test]
    fn what_is_wrong_is_told_by_its_place() {
        let no_array = "bad_type batch: expected an array of events";
        check(r#"{"batch":null}"#, no_array);
        check(r#"{"batch":[1],"batch":{}}"#, no_array);
        let many = "batch: holds more than 2 events; send them in smaller batches";
        check(r#"{"batch":[1,2,3]}"#, &format!("too_many {many}"));
        check(r#"{"batch":[1,}"#, "bad_json body: expected value at line 1 column 13");
        check(r#"{"batch":"#, "bad_json body: EOF while parsing a value at line 1 column 9");
        check(r#"{"batch":[1]} 2"#, "bad_json body: trailing characters at line 1 column 15");
        check(
            "[]",
            "bad_json body: invalid type: sequence, expected a JSON object at line 1 column 0",
        );
    }
}
