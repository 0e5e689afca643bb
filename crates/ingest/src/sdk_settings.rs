//! What browser SDKs ask for before they send anything: where to send it, and that nothing else is to be loaded.

use hyper::StatusCode;
use serde_json::json;

use crate::answer::{self, Answer};

/// Whose SDK asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// analytics.js 2: `GET /v1/projects/KEY/settings`.
    Segment,
    /// RudderStack's: `GET /sourceConfig/?writeKey=KEY`.
    RudderStack,
}

/// The key in the path by which Segment's SDK asks; `None` for any other path.
pub fn segment_key(path: &str) -> Option<&str> {
    let key = path.strip_prefix("/v1/projects/")?.strip_suffix("/settings")?;
    (!key.is_empty() && !key.contains('/')).then_some(key)
}

/// The settings of a source that has no destination but this collector, which the request reached by `host`.
pub fn of(sdk: Sdk, key: &str, host: Option<&str>) -> Answer {
    let settings = match sdk {
        Sdk::Segment => {
            let mut segment = json!({"apiKey": key});
            if let Some(host) = host {
                segment["apiHost"] = json!(format!("{host}/v1"));
            }
            // Else the SDK tells Segment how it fares.
            let metrics = json!({"sampleRate": 0});
            json!({"integrations": {"Segment.io": segment}, "plan": {}, "metrics": metrics})
        }
        Sdk::RudderStack => {
            let off = json!({"enabled": false});
            json!({"source": {
                "id": "footfall", "name": "footfall", "writeKey": key, "enabled": true,
                "workspaceId": "footfall", "destinations": [], "connections": [],
                "config": {"statsCollection": {"errors": off, "metrics": off}},
            }})
        }
    };
    answer::json(StatusCode::OK, settings.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_path_holds_the_key() {
        assert_eq!(segment_key("/v1/projects/k1/settings"), Some("k1"));
        for other in [
            "/v1/projects//settings",
            "/v1/projects/settings",
            "/v1/projects/a/b/settings",
            "/v1/projects/k1/settings/",
            "/v1/projects/k1",
        ] {
            assert_eq!(segment_key(other), None, "{other}");
        }
    }
}
