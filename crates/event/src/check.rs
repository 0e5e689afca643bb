//! What every event must fulfil at the door, whatever protocol it came by: required fields, bounds,
//! age. Its times are fixed here, once.

use crate::{BadField, Event, Limits, Micros, Reason, Text, Times, correct_clock};

/// Longest name of a site, in bytes.
const SITE_BYTES_MAX: usize = 128;

impl Limits {
    /// Longest text of a column, in bytes.
    pub fn bytes_max(&self, column: Text) -> usize {
        match column {
            Text::PageUrl
            | Text::PagePath
            | Text::PageTitle
            | Text::Referrer
            | Text::Target
            | Text::SearchTerm
            | Text::UserAgent
            | Text::Error
            | Text::UtmTerm
            | Text::UtmContent => self.text_bytes_max,
            // Identifiers and names.
            _ => self.id_bytes_max,
        }
    }
}

impl Event<'_> {
    /// Checks the event against `limits`, gives one known only by its user the visitor `u:<user>`,
    /// and fixes its times as received at `received`.
    ///
    /// # Errors
    /// The first field that is missing, too long, too many or too old, by its path.
    pub fn check(&mut self, limits: &Limits, received: Micros) -> Result<Times, BadField> {
        self.check_fields(limits)?;
        let event_time = correct_clock(self.client, received);
        if event_time < received - limits.max_age {
            let age = shown_span(limits.max_age);
            let message =
                format!("{event_time} is longer ago than max_age, {age}; `footfall load` takes it");
            return Err(BadField::new(Reason::TooOld, "timestamp", message));
        }
        Ok(Times { event_time, received_time: received })
    }

    /// The part of [`Event::check`] that knows no time, for history: its events are of any age.
    ///
    /// # Errors
    /// The first field that is missing, too long or too many, by its path.
    pub fn check_fields(&mut self, limits: &Limits) -> Result<(), BadField> {
        self.check_texts(limits)?;
        self.check_amounts(limits)?;
        if self.text(Text::VisitorId).is_none()
            && let Some(user) = self.text(Text::UserId)
        {
            let stand_in = format!("u:{user}");
            self.set_text(Text::VisitorId, stand_in);
        }
        Ok(())
    }

    fn check_texts(&self, limits: &Limits) -> Result<(), BadField> {
        for column in Text::ALL {
            let Some(text) = self.text(*column) else { continue };
            let max = limits.bytes_max(*column);
            if text.len() > max {
                let message = format!("{} bytes, at most {max} are taken", text.len());
                return Err(BadField::new(Reason::TooLong, column.name(), message));
            }
        }
        if self.text(Text::EventName).is_none() {
            let message = "is required, such as `page_view`";
            return Err(BadField::new(Reason::Missing, "event_name", message));
        }
        match self.text(Text::Site) {
            Some(site) => {
                check_site(site).map_err(|message| BadField::new(Reason::BadValue, "site", message))
            }
            None => Err(BadField::new(Reason::Missing, "site", "is required")),
        }
    }

    fn check_amounts(&self, limits: &Limits) -> Result<(), BadField> {
        if self.items.len() > limits.items_max {
            let (count, max) = (self.items.len(), limits.items_max);
            let message = format!("{count} items, at most {max} are taken");
            return Err(BadField::new(Reason::TooMany, "items", message));
        }
        for (i, item) in self.items.iter().enumerate() {
            let texts = [
                (&item.item_id, "item_id"),
                (&item.item_name, "item_name"),
                (&item.item_brand, "item_brand"),
                (&item.item_category, "item_category"),
                (&item.item_variant, "item_variant"),
            ];
            for (text, field) in texts {
                let (bytes, max) = (text.as_ref().map_or(0, |t| t.len()), limits.id_bytes_max);
                if bytes > max {
                    let message = format!("{bytes} bytes, at most {max} are taken");
                    let path = format!("items[{i}].{field}");
                    return Err(BadField::new(Reason::TooLong, path, message));
                }
            }
        }
        Ok(())
    }
}

/// In the largest unit that leaves a whole number, as the configuration writes it.
fn shown_span(span: Micros) -> String {
    let units = [("d", Micros::DAY), ("h", Micros::HOUR), ("m", Micros::MINUTE)];
    let fitting = units.iter().find(|(_, micros)| span.0 % micros.0 == 0);
    let (unit, micros) = fitting.unwrap_or(&("s", Micros::SECOND));
    format!("{}{unit}", span.0 as f64 / micros.0 as f64)
}

/// A site's name: 1 to 128 of `A-Z a-z 0-9 . _ -`.
///
/// # Errors
/// A sentence that says so.
pub fn check_site(site: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if site.len() <= SITE_BYTES_MAX && !site.is_empty() && site.bytes().all(is_plain) {
        return Ok(());
    }
    let shown: String = site.chars().take(40).collect();
    Err(format!("`{shown}` is not 1 to {SITE_BYTES_MAX} of A-Z a-z 0-9 . _ -"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Item;

    #[test]
    fn an_old_event_is_told_the_bound_that_it_breaks() {
        let received = Micros(3 * Micros::DAY.0);
        for (max_age, shown) in [
            (Micros(2 * Micros::DAY.0), "2d"),
            (Micros(12 * Micros::HOUR.0), "12h"),
            (Micros(90 * Micros::MINUTE.0), "90m"),
            (Micros(61 * Micros::SECOND.0), "61s"),
        ] {
            let limits = Limits { max_age, ..Limits::default() };
            let at = |age: Micros| {
                let mut event = Event::default();
                event.set_text(Text::EventName, "e");
                event.set_text(Text::Site, "s");
                event.client.timestamp = Some(received - age);
                event.check(&limits, received)
            };
            assert!(at(max_age).is_ok(), "{shown}");
            let bad = at(max_age + Micros(1)).unwrap_err();
            assert_eq!((bad.reason, bad.path.as_str()), (Reason::TooOld, "timestamp"));
            assert!(bad.message.contains(&format!("max_age, {shown};")), "{}", bad.message);
        }
    }

    fn refused(change: impl FnOnce(&mut Event<'_>)) -> Option<(Reason, String)> {
        let mut event = Event::default();
        event.set_text(Text::EventName, "e");
        event.set_text(Text::Site, "s");
        change(&mut event);
        let checked = event.check_fields(&Limits::default());
        checked.err().map(|bad| (bad.reason, bad.path))
    }

    /// As docs/semantics.md lists them.
    #[test]
    fn a_text_is_as_long_as_its_column_lets_it_be() {
        let long = ["page_url", "page_path", "page_title", "referrer", "target", "search_term"];
        let long = [&long[..], &["user_agent", "error", "utm_term", "utm_content"]].concat();
        for column in Text::ALL {
            let name = column.name();
            let (max, reason) = match name {
                "site" => (128, Reason::BadValue),
                _ if long.contains(&name) => (8_192, Reason::TooLong),
                _ => (512, Reason::TooLong),
            };
            assert_eq!(refused(|event| event.set_text(*column, "a".repeat(max))), None, "{name}");
            let told = refused(|event| event.set_text(*column, "a".repeat(max + 1)));
            assert_eq!(told, Some((reason, name.to_owned())));
        }
    }

    #[test]
    fn items_have_their_bounds() {
        let items = |count| move |event: &mut Event<'_>| event.items = vec![Item::default(); count];
        assert_eq!(refused(items(500)), None);
        assert_eq!(refused(items(501)), Some((Reason::TooMany, "items".to_owned())));
        for name in ["item_id", "item_name", "item_brand", "item_category", "item_variant"] {
            let of = |bytes: usize| {
                let mut items = vec![Item::default(); 2];
                let place = match name {
                    "item_id" => &mut items[1].item_id,
                    "item_name" => &mut items[1].item_name,
                    "item_brand" => &mut items[1].item_brand,
                    "item_category" => &mut items[1].item_category,
                    _ => &mut items[1].item_variant,
                };
                *place = Some("a".repeat(bytes).into());
                items
            };
            assert_eq!(refused(|event| event.items = of(512)), None, "{name}");
            let told = refused(|event| event.items = of(513));
            assert_eq!(told, Some((Reason::TooLong, format!("items[1].{name}"))));
        }
    }
}
