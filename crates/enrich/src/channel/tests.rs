//! GA4's rules, one case for each, and the hosts that lists hold.

use super::*;

fn default() -> Channels {
    Channels::read(None).unwrap()
}

#[track_caller]
fn check(channels: &Channels, source: &str, medium: &str, campaign: &str, expected: Option<&str>) {
    let origin = Origin { source: source.into(), medium: medium.into(), campaign: campaign.into() };
    assert_eq!(channels.channel(&origin), expected, "{source} / {medium} / {campaign}");
}

#[test]
fn each_rule_of_ga4_has_its_case() {
    let channels = default();
    for (source, medium, campaign, expected) in [
        ("(direct)", "(none)", "", "Direct"),
        ("(direct)", "(not set)", "", "Direct"),
        ("google", "cpc", "x cross-network y", "Cross-network"),
        ("amazon", "cpc", "", "Paid Shopping"),
        ("anywhere", "ppc", "spring shopping", "Paid Shopping"),
        ("anywhere", "cpc", "shop", "Paid Shopping"),
        ("anywhere", "cpc", "workshop", "Paid Other"),
        ("google", "cpc", "", "Paid Search"),
        ("google", "retargeting", "", "Paid Search"),
        ("facebook", "paid-social", "", "Paid Social"),
        ("youtube.com", "cpv", "", "Paid Video"),
        ("anywhere", "banner", "", "Display"),
        ("anywhere", "cpa", "", "Paid Other"),
        ("chatgpt.com", "referral", "", "AI Assistants"),
        ("gemini.google.com", "referral", "", "AI Assistants"),
        ("ebay.de", "referral", "", "Organic Shopping"),
        ("anywhere", "x", "eshop", "Organic Shopping"),
        ("l.facebook.com", "referral", "", "Organic Social"),
        ("anywhere", "sm", "", "Organic Social"),
        ("m.youtube.com", "referral", "", "Organic Video"),
        ("anywhere", "some video", "", "Organic Video"),
        ("www.google.co.uk", "organic", "", "Organic Search"),
        ("anywhere", "organic", "", "Organic Search"),
        ("blog.example", "referral", "", "Referral"),
        ("mail.google.com", "referral", "", "Referral"),
        ("e-mail", "x", "", "Email"),
        ("news", "email", "", "Email"),
        ("partner", "affiliate", "", "Affiliates"),
        ("podcast", "audio", "", "Audio"),
        ("sms", "x", "", "SMS"),
        ("x", "sms", "", "SMS"),
        ("x", "web push", "", "Mobile Push Notifications"),
        ("firebase", "x", "", "Mobile Push Notifications"),
        ("x", "y", "", "Unassigned"),
    ] {
        check(&channels, source, medium, campaign, Some(expected));
    }
}

#[test]
fn hosts_are_told_by_their_domain() {
    for (host, name) in [
        ("google.com", Some("google")),
        ("www.google.co.uk", Some("google")),
        ("google.com.br", Some("google")),
        ("images.google.de", Some("google")),
        ("t.co", Some("t")),
        ("www.t.co", Some("www")),
        ("localhost", None),
    ] {
        assert_eq!(domain_of(host), name, "{host}");
    }
    let hosts = [
        "https://User@Shop.Example:8443/p?q",
        "//shop.example",
        "shop.example/x",
        "https://[::1]:80/",
    ];
    let told = hosts.map(|url| host_of(url).unwrap().into_owned());
    assert_eq!(told, ["shop.example", "shop.example", "shop.example", "::1"]);
    assert_eq!(host_of("/p/1"), None);
    assert!(is_same_site("www.shop.example", "shop.example"));
    assert!(is_same_site("checkout.shop.example", "www.shop.example"));
    assert!(!is_same_site("myshop.example", "shop.example"));
}

/// What an event says, and its channel.
#[track_caller]
fn of_event(texts: &[(Text, &str)], click: Option<Click>, expected: Option<&str>) {
    let (channels, mut event) = (default(), Event::default());
    for (column, text) in texts {
        event.set_text(*column, text.to_string());
    }
    channels.fill(&mut event, click);
    assert_eq!(event.text(Text::Channel), expected, "{texts:?}");
}

#[test]
fn an_event_tells_where_its_visit_came_from() {
    let page = (Text::PageUrl, "https://www.shop.example/p/1");
    let view = (Text::EventName, "page_view");
    let from = |referrer| (Text::Referrer, referrer);
    of_event(&[page, view], None, Some("Direct"));
    of_event(&[page], None, None);
    of_event(&[view], None, None);
    of_event(&[page, view, from("https://shop.example/")], None, None);
    of_event(&[page, from("https://www.google.de/")], None, Some("Organic Search"));
    of_event(
        &[page, from("android-app://com.google.android.googlequicksearchbox/")],
        None,
        Some("Organic Search"),
    );
    of_event(&[page, from("https://chatgpt.com/c/1")], None, Some("AI Assistants"));
    of_event(&[page, from("https://blog.example/a")], None, Some("Referral"));
    let campaign = (Text::UtmSource, "Newsletter");
    of_event(&[page, campaign, (Text::UtmMedium, "E-Mail")], None, Some("Email"));
    of_event(&[campaign], None, Some("Unassigned"));
    let click = Some(Click { source: "google", medium: "cpc" });
    of_event(&[page, from("https://www.google.de/")], click, Some("Paid Search"));
    of_event(&[page, campaign], click, Some("Paid Other"));
    of_event(&[page, (Text::UtmSource, "google")], click, Some("Paid Search"));
    let display = Some(Click { source: "dv360", medium: "cpm" });
    of_event(&[page], display, Some("Display"));
    of_event(&[page, view, (Text::Channel, "Mine")], None, Some("Mine"));
}

#[test]
fn a_page_of_the_same_origin_tells_nothing_of_a_visit() {
    let check = |page, referrer, expected| {
        let view = (Text::EventName, "page_view");
        of_event(&[(Text::PageUrl, page), (Text::Referrer, referrer), view], None, expected);
    };
    check("https://shop.example/p?a", "https://shop.example/", None);
    check("https://shop.example?q", "https://shop.example", None);
    check("https://shop.example#top", "https://shop.example/p#x", None);
    check("https://shop.example:8080/", "https://shop.example/", None);
    check("https://user@shop.example/", "https://shop.example/", None);
    check("https://shop.example.evil/", "https://shop.example", Some("Referral"));
    check("https://shop.example/", "https://shop.exam", Some("Referral"));
    check("https:///a", "https:///b", None);
}

#[test]
fn a_file_of_ones_own_replaces_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = |text: &str| {
        let path = folder.path().join("channels.toml");
        std::fs::write(&path, text).unwrap();
        Channels::read(Some(&path)).map_err(|error| error.to_string())
    };
    let own = file(
        "[lists]\nours = [\"Partner.example\"]\n[[channel]]\nname = \"Partners\"\nsource_list = \"ours\"\n",
    )
    .unwrap();
    check(&own, "www.partner.example", "referral", "", Some("Partners"));
    check(&own, "google", "organic", "", None);
    for (text, why) in [
        (
            "[[channel]]\nname = \"A\"\nsource_list = \"none\"\n",
            "channel `A`: there is no list `none`",
        ),
        ("[[channel]]\nname = \"A\"\nmedium_matches = \"(\"\n", "channel `A`: regex parse error"),
        ("[[channel]]\nname = \"A\"\nmedia = []\n", "unknown field `media`"),
    ] {
        let told = file(text).err().unwrap();
        assert!(told.contains(why) && told.contains("channels.toml"), "{told}");
    }
    let missing = Channels::read(Some(&folder.path().join("none.toml"))).err().unwrap();
    assert!(missing.to_string().contains("none.toml: No such file"), "{missing}");
}
