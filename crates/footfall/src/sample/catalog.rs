//! What the storefront sells, says and is called by: constant texts, some of them awkward on
//! purpose (quotes, backslashes, scripts of several kinds, characters beyond the basic plane).

pub(super) struct Product {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) brand: &'static str,
    pub(super) category: &'static str,
    pub(super) variant: Option<&'static str>,
    pub(super) slug: &'static str,
    pub(super) cents: i64,
}

const fn product(
    id: &'static str,
    name: &'static str,
    brand: &'static str,
    category: &'static str,
    variant: Option<&'static str>,
    slug: &'static str,
    cents: i64,
) -> Product {
    Product { id, name, brand, category, variant, slug, cents }
}

pub(super) const PRODUCTS: &[Product] = &[
    product("SKU-1001", "Trail shoe", "Nordhang", "shoes", Some("42"), "trail-shoe", 12_990),
    product("SKU-1002", "Kaffeemühle „Größe M“", "Mahlwerk", "kitchen", None, "kaffeemühle", 8_995),
    product("SKU-1003", "12\" record, 180 g \\ mono", "Rille", "music", None, "record-12in", 2_499),
    product("SKU-1004", "湯呑み セット", "有田", "kitchen", Some("藍"), "yunomi", 4_200),
    product("SKU-1005", "Mug 😀", "Nordhang", "kitchen", Some("😀"), "mug", 1_199),
    product("SKU-1006", "Plaid en laine d'été", "Tissé", "home", Some("écru"), "plaid", 7_950),
    product("SKU-1007", "قميص قطن", "نيل", "clothing", Some("L"), "cotton-shirt", 3_900),
    product("SKU-1008", "Desk lamp\twith dimmer", "Lux", "home", None, "desk-lamp", 5_450),
    product("SKU-1009", "Чайник", "Самовар", "kitchen", None, "teapot", 6_100),
    product("SKU-1010", "Gift card", "Storefront", "vouchers", None, "gift-card", 2_500),
    product("SKU-1011", "Zelt für zwei", "Nordhang", "outdoor", Some("oliv"), "zelt", 24_900),
    product("SKU-1012", "Screws 4×40, 200 pcs", "Fest", "tools", None, "screws", 799),
];

pub(super) const SEARCH_TERMS: &[&str] =
    &["shoe", "größe 42", "lamp \"warm\"", "茶碗", "tent", "чайник", "mug 😀", "c:\\tmp", "lego"];

pub(super) const LANGUAGES: &[&str] = &["de-DE", "en-GB", "en-US", "fr-FR", "ja-JP", "ar-EG"];

pub(super) const REFERRERS: &[&str] =
    &["https://www.google.com/", "https://duckduckgo.com/", "https://news.example.org/ä?q=1"];

pub(super) const AGENTS: &[&str] = &[
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
    "Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.7 Safari/605.1.15",
];

pub(super) const BOT_AGENTS: &[&str] = &[
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0.0.0 Safari/537.36",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
];

#[derive(Debug)]
pub(super) struct Campaign {
    pub(super) source: &'static str,
    pub(super) medium: &'static str,
    pub(super) name: &'static str,
    pub(super) term: Option<&'static str>,
    pub(super) content: Option<&'static str>,
}

pub(super) const CAMPAIGNS: &[Campaign] = &[
    Campaign {
        source: "google",
        medium: "cpc",
        name: "brand",
        term: Some("storefront"),
        content: Some("headline_a"),
    },
    Campaign {
        source: "newsletter",
        medium: "email",
        name: "frühling",
        term: None,
        content: Some("button"),
    },
    Campaign {
        source: "facebook",
        medium: "paid_social",
        name: "tents",
        term: None,
        content: None,
    },
    Campaign {
        source: "partner.example",
        medium: "affiliate",
        name: "a&b=1",
        term: None,
        content: None,
    },
];

pub(super) const CURRENCIES: &[&str] = &["EUR", "USD", "JPY"];

pub(super) const TARGETS: &[&str] =
    &["#add-to-cart", "#gallery", "#size-42", "#tabs .details", "a.product[href*=\"p\"]", "nav>ul"];

pub(super) const SECTIONS: &[&str] = &["hero", "teaser", "details", "reviews", "footer", "größen"];

/// Facts that no need of the shipped configuration asks for.
pub(super) const OTHER_INFO: &[&str] = &["size_table", "reviews", "stock", "payment_methods"];

pub(super) const ERRORS: &[&str] =
    &["TypeError: undefined is not a function", "HTTP 502 „cart“", "card_declined"];
