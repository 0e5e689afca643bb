//! Half a character in JSON: a page that cuts a title between the two escapes of one emoji sends a lone surrogate
//! (RFC 8259, 8.2), which no text can hold. One such title is no reason to lose its event.

use std::ops::RangeInclusive;

const FIRST: RangeInclusive<u16> = 0xd800..=0xdbff;
const SECOND: RangeInclusive<u16> = 0xdc00..=0xdfff;

/// `\ud800`
const ESCAPE_BYTES: usize = 6;

/// The same JSON with U+FFFD in place of each half; `None` where there is none.
pub fn mended(json: &[u8]) -> Option<Vec<u8>> {
    let mut mended = None;
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &json[at..]) {
        at += found;
        at += match (unit(json, at), unit(json, at + ESCAPE_BYTES)) {
            (Some(first), Some(second)) if FIRST.contains(&first) && SECOND.contains(&second) => {
                2 * ESCAPE_BYTES
            }
            (Some(half), _) if FIRST.contains(&half) || SECOND.contains(&half) => {
                let mended = mended.get_or_insert_with(|| json.to_vec());
                mended[at + 2..at + ESCAPE_BYTES].copy_from_slice(b"fffd");
                ESCAPE_BYTES
            }
            // Any other escape, of which two bytes are enough: the second may be a backslash.
            _ => 2,
        };
        at = at.min(json.len());
    }
    mended
}

/// The UTF-16 unit of the escape that begins here.
fn unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + ESCAPE_BYTES)?.strip_prefix(b"\\u")?;
    let digits = std::str::from_utf8(digits).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_replaced_and_all_else_stays() {
        for (json, expected) in [
            (r#"["\ud83d"]"#, Some(r#"["\ufffd"]"#)),
            (r#"["\uDE00x\uD83D"]"#, Some(r#"["\ufffdx\ufffd"]"#)),
            (r#"["\ud83d\ude00\ud83d\n"]"#, Some(r#"["\ud83d\ude00\ufffd\n"]"#)),
            (r#"["\ud83d\ud83d\ude00"]"#, Some(r#"["\ufffd\ud83d\ude00"]"#)),
            (r#"["\ud83d\ude00"]"#, None),
            (r#"["\\ud83d"]"#, None),
            (r#"["\u00e9\"\ud7ff"]"#, None),
            (r#"["\ud83"]"#, None),
            ("\\", None),
            ("", None),
        ] {
            let mended = mended(json.as_bytes()).map(|json| String::from_utf8(json).unwrap());
            assert_eq!(mended.as_deref(), expected, "{json}");
        }
    }
}
