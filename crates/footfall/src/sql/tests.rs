//! What a terminal shows of a mistake, asked of the lake and of a server.

use std::sync::Arc;

use footfall_query::{QuerySettings, serve};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;

const STATEMENT: &str = "SELECT 1,\n  evnt_name\nFROM events";
const REPORT: &str = "\
line 2, column 3: there is no column `evnt_name`
  evnt_name
  ^
hint: did you mean `event_name`?";

fn engine(folder: &tempfile::TempDir, registry: &Registry) -> Engine {
    let lake = Lake::at(folder.path().to_str().unwrap(), Vec::new()).unwrap();
    let settings = QuerySettings { threads: 1, ..QuerySettings::default() };
    Engine::open(lake, settings, Metrics::new(registry).unwrap()).unwrap()
}

#[tokio::test]
async fn a_mistake_is_shown_with_its_place_and_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(&folder, &Registry::new());
    let source = Source::Lake(engine);
    let error = source.ask(STATEMENT, SqlFormat::Table, &mut Vec::new()).await.unwrap_err();
    assert_eq!(error.to_string(), REPORT);
}

#[tokio::test]
async fn a_servers_error_is_shown_like_the_lakes() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new();
    let engine = Arc::new(engine(&folder, &registry));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}/", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let guard = footfall_guard::Guard::default();
    let served = tokio::spawn(serve(listener, engine, guard, registry, shutdown.clone()));

    let source = Source::Server { client: Client::new(), server, token_file: None };
    let error = source.ask(STATEMENT, SqlFormat::Csv, &mut Vec::new()).await.unwrap_err();
    assert_eq!(error.to_string(), REPORT);
    let error = source.ask("-- nothing", SqlFormat::Csv, &mut Vec::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no statement");

    shutdown.cancel();
    served.await.unwrap();
}

#[test]
fn what_no_server_of_ours_says_is_shown_as_it_came() {
    assert_eq!(refusal(b"<h1>Bad gateway</h1>\n"), "<h1>Bad gateway</h1>");
    assert_eq!(refusal(br#"{"error": "no"}"#), r#"{"error": "no"}"#);
}
