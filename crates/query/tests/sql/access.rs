//! Read tokens: which paths ask for one, and what is answered without.

use footfall_guard::{Guard, SecretHash, Token, Tokens};
use footfall_query::QuerySettings;
use serde_json::Value;

use crate::service::Service;

const TOKEN: &str = "fr_secret";

async fn start() -> Service {
    let token = |name: &str, secret: &str| Token {
        name: name.to_owned(),
        hash: SecretHash::of(secret.as_bytes()),
        scram: None,
        may_erase: false,
    };
    let tokens = Tokens::new(vec![token("grafana", TOKEN), token("analyst", "fr_other")]);
    let settings = QuerySettings { threads: 2, ..QuerySettings::default() };
    Service::start_guarded(settings, Guard { tokens, ..Guard::default() }).await
}

/// Status, the error's code and message, and whether the scheme is named.
async fn ask(service: &Service, header: Option<(&str, &str)>) -> (u16, Value, bool) {
    let mut request = service.client.post(format!("{}/v1/sql", service.url)).body("SELECT 1 AS a");
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let is_named = response.headers().get("www-authenticate").is_some();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap(), is_named)
}

#[tokio::test]
async fn a_token_lets_in_and_nothing_else_does() {
    let service = start().await;
    for good in ["Bearer fr_secret", "bearer  fr_other "] {
        let (status, answer, _) = ask(&service, Some(("authorization", good))).await;
        assert_eq!((status, &answer["rows"][0][0]), (200, &Value::from(1)), "{answer}");
    }
    let bad =
        [None, Some("Bearer fr_wrong"), Some("Bearer"), Some("Basic ZnJfc2VjcmV0Og=="), Some("")];
    for header in bad {
        let (status, answer, is_named) = ask(&service, header.map(|h| ("authorization", h))).await;
        assert_eq!((status, is_named), (401, true), "{header:?}: {answer}");
        assert_eq!(answer["error"]["code"], "unauthorized");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("token") && !message.contains("fr_"), "{message}");
    }
    assert_eq!(service.get("/v1/tables").await.0, 401);
    for open in ["/livez", "/readyz", "/metrics"] {
        assert_ne!(service.get(open).await.0, 401, "{open}");
    }
}

/// A page runs in a browser of this machine, where whoever asks is let in.
#[tokio::test]
async fn a_page_is_refused_where_nobody_shows_a_token() {
    let service = Service::start().await;
    let (status, answer, _) = ask(&service, Some(("origin", "https://evil.example"))).await;
    assert_eq!((status, &answer["error"]["code"]), (403, &Value::from("forbidden")), "{answer}");
    assert_eq!(ask(&service, None).await.0, 200);
}
