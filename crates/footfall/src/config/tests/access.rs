//! Who may come in: keys, tokens, TLS and what is not shown of them.

use super::{HASH, Over, check, right};

#[test]
fn a_public_listener_needs_a_key() {
    let keys = format!("[[key]]\nsite = 'shop'\nsha256 = '{HASH}'\n");
    for listen in ["0.0.0.0:8080", "192.0.2.1:0", "[::]:8080", "[::ffff:192.0.2.1]:80"] {
        let file = format!("[ingest]\nlisten = '{listen}'\n");
        let wish = "must be on the loopback, such as 127.0.0.1:8080, or posts need a `key`";
        check(
            &file,
            &[&format!("f.toml:2: `ingest.listen` is `\"{listen}\"`: {wish}, which is `[]`")],
        );
        check(&format!("{file}{keys}"), &[]);
    }
    for listen in ["127.0.0.2:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "ingest.internal:80"] {
        check(&format!("[ingest]\nlisten = '{listen}'\n"), &[]);
    }
    // A key that is wrong by itself is not missing.
    check(
        "[ingest]\nlisten = '0.0.0.0:80'\n[[key]]\nsite = 'shop'\nsha256 = 'x'\n",
        &["f.toml:5: `sha256` in key 1 must be the SHA-256 of a key: 64 hex digits"],
    );
}

#[test]
fn a_public_listener_of_data_needs_a_token_and_tls() {
    let token = format!("[[token]]\nname = 'grafana'\nsha256 = '{HASH}'\n");
    let tls = "tls_certificate = 'c.pem'\ntls_key = 'k.pem'\n";
    for (section, what) in [("query", "SQL needs"), ("pipeline", "signals need")] {
        let file = format!("[{section}]\nlisten = '0.0.0.0:80'\n");
        let told = format!("f.toml:2: `{section}.listen` is `\"0.0.0.0:80\"`");
        let wish = format!("must be on the loopback, such as 127.0.0.1:8081, or {what}");
        let no_token = format!("{told}: {wish} a `token`, which is `[]`");
        let no_tls = format!("{told}: {wish} TLS by `{section}.tls_certificate`, which is `\"\"`");
        check(&file, &[&no_token, &no_tls]);
        check(&format!("{file}{token}"), &[&no_tls]);
        check(&format!("{file}{tls}"), &[&no_token]);
        check(&format!("{file}{tls}{token}"), &[]);
    }
    check(
        "[ingest]\ntls_key = 'k.pem'\n",
        &[
            "f.toml:2: `ingest.tls_certificate` is `\"\"`: must be given together with `ingest.tls_key`, which is `\"k.pem\"`",
        ],
    );
}

#[test]
fn origins_are_as_browsers_send_them() {
    let key = format!("[[key]]\nsite = 'shop'\nsha256 = '{HASH}'\n");
    let wish = "must be as browsers send it:";
    check(
        &format!(
            "{key}origins = ['https://shop.example/', 'shop.example', 'https://SHOP.example:443', 5]\n"
        ),
        &[
            &format!(
                "f.toml:4: `origins` in key 1 is `\"https://shop.example/\"`: {wish} \"https://shop.example\""
            ),
            "f.toml:4: `origins` in key 1 is `\"shop.example\"`: must be an origin such as \"https://shop.example\", or \"*\"",
            &format!(
                "f.toml:4: `origins` in key 1 is `\"https://SHOP.example:443\"`: {wish} \"https://shop.example\""
            ),
            "f.toml:4: `origins` in key 1 is `5`: must be a text in quotes",
        ],
    );
    let file = format!("{key}origins = ['http://localhost:3000', '*']\n");
    let config = right(&file, &Over::default());
    assert_eq!(config.keys[0].origins, ["http://localhost:3000", "*"]);
    let shown = "origins = [\"http://localhost:3000\", \"*\"]  # f.toml:4";
    assert!(config.show().contains(shown), "{}", config.show());
}

#[test]
fn a_secret_is_told_of_and_not_shown() {
    let told = "is a secret in plain text: keep its SHA-256 alone, as `sha256`;";
    let plain =
        "[[key]]\nsite = 'shop'\nkey = 'topsecret'\n[[token]]\nname = 'x'\nkey = 'topsecret'\n";
    check(
        plain,
        &[
            &format!("f.toml:3: `key` in key 1 {told} `footfall key new` makes a new one"),
            &format!("f.toml:6: `key` in token `x` {told} `footfall token new` makes a new one"),
        ],
    );
    let must = "holds a user, a password or parameters: credentials must be in the environment, as their store's variables such as AWS_SECRET_ACCESS_KEY";
    for url in ["s3://key:topsecret@lake", "s3://lake/x?sig=topsecret", "s3://topsecret@lake"] {
        let file = format!("[lake]\nurl = '{url}'\n");
        check(&file, &[&format!("f.toml:2: `url` in `[lake]` {must}")]);
    }
    let must = "is no URL that can be read: it may hold credentials, which must be in the environment, or characters that must be escaped";
    let file = "[lake]\nurl = 's3://key:top/secret@lake'\n";
    check(file, &[&format!("f.toml:2: `url` in `[lake]` {must}")]);
    for url in ["s3://lake/shop", "/var/lake", "lake?odd", "file:///var/lake"] {
        check(&format!("[lake]\nurl = '{url}'\n"), &[]);
    }
    let lists = format!(
        "[[key]]\nsite = 'shop'\nsha256 = '{HASH}'\n[[token]]\nname = 'x'\nsha256 = '{HASH}'\n"
    );
    let config = right(&lists, &Over::default());
    for shown in [config.show(), format!("{config:?}")] {
        assert!(!shown.contains(&HASH[..16]), "{shown}");
    }
}
