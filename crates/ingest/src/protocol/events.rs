//! Footfall's own protocol: one event, an array of events, or JSON lines.

use footfall_event::BadField;
use serde_json::value::RawValue;

use super::pieces::{self, too_many};
use super::{Piece, Split, text_of};

const HOLDER: &str = "body";

/// What a body is, is told by the body alone: `[` begins an array; a body of which a line is a whole
/// object by itself is lines, unless the whole body is one value; anything else is one event.
///
/// # Errors
/// When it is not JSON, or holds more than `events_max` events.
pub fn split(body: &[u8], events_max: usize) -> Result<Split<'_>, BadField> {
    let text = match text_of(body) {
        Ok(text) => text,
        Err(_) if is_lines(body) => return lines(body, events_max),
        Err(bad) => return Err(bad),
    };
    let pieces = match text.as_bytes().first() {
        None => Vec::new(),
        Some(b'[') => pieces::of_array(text, HOLDER, events_max)?,
        Some(_) if is_one(text) => vec![Ok(text)],
        Some(_) => return lines(text.as_bytes(), events_max),
    };
    Ok(Split::of(pieces, HOLDER, text.starts_with('[')))
}

fn is_one(text: &str) -> bool {
    !text.contains('\n')
        || serde_json::from_str::<&RawValue>(text).is_ok()
        || !is_lines(text.as_bytes())
}

fn is_lines(body: &[u8]) -> bool {
    let is_object =
        |line: &[u8]| line.starts_with(b"{") && serde_json::from_slice::<&RawValue>(line).is_ok();
    body.contains(&b'\n') && lines_of(body).any(is_object)
}

fn lines(body: &[u8], events_max: usize) -> Result<Split<'_>, BadField> {
    let piece = |line| std::str::from_utf8(line).map_err(|_| line);
    let pieces: Vec<Piece<'_>> = lines_of(body).map(piece).take(events_max + 1).collect();
    if pieces.len() > events_max {
        return Err(too_many(HOLDER, events_max));
    }
    Ok(Split::of(pieces, HOLDER, true))
}

/// The lines that hold something.
fn lines_of(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, is_batch: bool, expected: &[&str]) {
        let split = split(body.as_bytes(), 3).unwrap();
        let pieces: Vec<&str> = split.pieces.into_iter().map(Result::unwrap).collect();
        assert_eq!((split.is_batch, pieces.as_slice()), (is_batch, expected), "{body}");
    }

    #[test]
    fn a_body_tells_what_it_is() {
        check(r#"{"a":1}"#, false, &[r#"{"a":1}"#]);
        check("\u{feff} {\"a\":1}\n", false, &[r#"{"a":1}"#]);
        check("{\n \"a\": 1\n}", false, &["{\n \"a\": 1\n}"]);
        check("{\n \"a\": 1,\n", false, &["{\n \"a\": 1,"]);
        check("nonsense\nnonsense", false, &["nonsense\nnonsense"]);
        check("[{}]", true, &["{}"]);
        check(" [ {\"a\":[1, 2]} ,\n3] ", true, &[r#"{"a":[1, 2]}"#, "3"]);
        check("{\"a\":1}\n{\"a\":2}", true, &[r#"{"a":1}"#, r#"{"a":2}"#]);
        check("{\"a\":1\r\n\r\n{\"a\":2}\r\n", true, &[r#"{"a":1"#, r#"{"a":2}"#]);
        check("nonsense\n{}\n{}", true, &["nonsense", "{}", "{}"]);
    }

    #[test]
    fn a_body_without_an_event_is_empty() {
        for body in ["", " \n", "[]", "[ ]", "\u{feff}"] {
            assert!(
                split(body.as_bytes(), 3).is_ok_and(|split| split.pieces.is_empty()),
                "{body:?}"
            );
        }
    }

    #[test]
    fn a_bad_body_is_told_by_its_place() {
        #[track_caller]
        fn check(body: &[u8], expected: &str) {
            let Err(bad) = split(body, 3) else { panic!("{body:?} is not bad") };
            assert_eq!(format!("{} {bad}", bad.reason.code()), expected);
        }
        check(b"[1,", "bad_json body: EOF while parsing a value at line 1 column 3");
        check(b"[1] 2", "bad_json body: trailing characters at line 1 column 5");
        check(b"{\"a\":\"\xff\"}", "bad_json body: is not UTF-8 from byte 6 on");
        let many = "body: holds more than 3 events; send them in smaller batches";
        check(b"[1,2,3,4]", &format!("too_many {many}"));
        check(b"{}\n{}\n{}\n{}", &format!("too_many {many}"));
    }

    #[test]
    fn a_line_that_is_not_utf8_spoils_no_other() {
        let split = split(b"{\"a\":1}\n{\"a\":\"\xff\"}\n{}", 3).unwrap();
        assert_eq!(split.pieces, [Ok("{\"a\":1}"), Err(b"{\"a\":\"\xff\"}".as_slice()), Ok("{}")]);
    }
}
