//! The campaign that a page's address names, and the advertisement's click.

use footfall_event::{Event, Text};

use crate::redaction::Redaction;

/// Parameters of campaigns, and their columns.
const CAMPAIGN: [(&str, Text); 5] = [
    ("utm_source", Text::UtmSource),
    ("utm_medium", Text::UtmMedium),
    ("utm_campaign", Text::UtmCampaign),
    ("utm_term", Text::UtmTerm),
    ("utm_content", Text::UtmContent),
];

/// What an advertiser's click id says of where a visit came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Click {
    pub source: &'static str,
    pub medium: &'static str,
}

/// Parameters that hold click ids. Meta gives one to every link out of its pages, be it paid for or not; the others
/// stand for advertisements.
const CLICKS: [(&str, Click); 13] = [
    ("gclid", Click { source: "google", medium: "cpc" }),
    ("gbraid", Click { source: "google", medium: "cpc" }),
    ("wbraid", Click { source: "google", medium: "cpc" }),
    ("dclid", Click { source: "dv360", medium: "cpm" }),
    ("msclkid", Click { source: "bing", medium: "cpc" }),
    ("yclid", Click { source: "yandex", medium: "cpc" }),
    ("ttclid", Click { source: "tiktok", medium: "cpc" }),
    ("twclid", Click { source: "twitter", medium: "cpc" }),
    ("li_fat_id", Click { source: "linkedin", medium: "cpc" }),
    ("rdt_cid", Click { source: "reddit", medium: "cpc" }),
    ("epik", Click { source: "pinterest", medium: "cpc" }),
    ("ScCid", Click { source: "snapchat", medium: "cpc" }),
    ("fbclid", Click { source: "facebook", medium: "referral" }),
];

/// Fills campaign and click id from the page's address where the client left them open, but for what is not to be kept;
/// gives what the click tells.
pub fn fill(event: &mut Event<'_>, redaction: &Redaction) -> Option<Click> {
    let query = event.text(Text::PageUrl)?.split_once('?')?.1;
    let query = query.split('#').next().unwrap_or_default();
    let (mut found, mut click) = (Vec::new(), None);
    let pairs = query.split('&').filter(|pair| may_tell(pair));
    for (name, value) in pairs.flat_map(|pair| form_urlencoded::parse(pair.as_bytes())) {
        let campaign = CAMPAIGN.iter().find(|(known, _)| name == *known).map(|(_, column)| *column);
        let clicked = CLICKS.iter().find(|(known, _)| name == *known).map(|(_, click)| *click);
        click = click.or(clicked.filter(|_| !value.is_empty()));
        if let Some(column) = campaign.or(clicked.map(|_| Text::ClickId))
            && event.text(column).is_none()
            && !value.is_empty()
            && value.len() <= VALUE_BYTES_MAX
            && !redaction.is_secret(&name, &value)
        {
            found.push((column, value.into_owned()));
        }
    }
    // Of two for one column the first counts.
    for (column, value) in found.into_iter().rev() {
        event.set_text(column, value);
    }
    click
}

/// Whether a parameter, as it is written, can be one of those that are looked for. Most are not, and need not be decoded.
fn may_tell(pair: &str) -> bool {
    let name = pair.split_once('=').map_or(pair, |(name, _)| name);
    name.bytes().any(|byte| matches!(byte, b'%' | b'+'))
        || CAMPAIGN.iter().any(|(known, _)| name == *known)
        || CLICKS.iter().any(|(known, _)| name == *known)
}

/// A longer value is no name.
const VALUE_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn event(url: &str) -> Event<'_> {
        let mut event = Event::default();
        event.set_text(Text::PageUrl, url);
        event
    }

    #[test]
    fn an_address_names_its_campaign() {
        let mut event = event(
            "https://shop.example/?a=b&utm_source=news%20letter&utm_medium=email&utm_campaign=&utm_source=second#utm_term=t",
        );
        event.set_text(Text::UtmMedium, "told");
        assert_eq!(fill(&mut event, &Redaction::default()), None);
        let told = CAMPAIGN.map(|(_, column)| event.text(column));
        assert_eq!(told, [Some("news letter"), Some("told"), None, None, None]);
        assert_eq!(event.text(Text::ClickId), None);
    }

    #[test]
    fn a_name_may_be_written_otherwise() {
        let mut told = event("https://shop.example/?x&utm%5Fsource=news&%67clid=abc&=&&utm_term");
        let click = fill(&mut told, &Redaction::default());
        assert_eq!(click.map(|click| click.source), Some("google"));
        assert_eq!((told.text(Text::UtmSource), told.text(Text::UtmTerm)), (Some("news"), None));
    }

    #[test]
    fn a_click_id_tells_who_advertised() {
        let mut clicked = event("https://shop.example/p?fbclid=&msclkid=abc&gclid=def");
        assert_eq!(
            fill(&mut clicked, &Redaction::default()),
            Some(Click { source: "bing", medium: "cpc" })
        );
        assert_eq!(clicked.text(Text::ClickId), Some("abc"));
        assert_eq!(fill(&mut event("https://shop.example/"), &Redaction::default()), None);
        assert_eq!(fill(&mut Event::default(), &Redaction::default()), None);
    }

    #[test]
    fn what_an_address_must_not_tell_its_campaign_does_not() {
        let url = "https://shop.example/?utm_source=news&utm_content=me%40mail.example&gclid=abc";
        let redaction = Redaction::new(&["gclid".to_owned()]);
        let mut event = event(url);
        assert_eq!(fill(&mut event, &redaction), Some(Click { source: "google", medium: "cpc" }));
        let told =
            [Text::UtmSource, Text::UtmContent, Text::ClickId].map(|column| event.text(column));
        assert_eq!(told, [Some("news"), None, None]);
    }
}
