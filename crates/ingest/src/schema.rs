//! JSON Schemas that sites hold their events to, as they are kept: columns by their names, and `properties`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use footfall_event::{BadField, Reason};
use jsonschema::paths::LocationSegment;
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use crate::IngestError;

/// The schemas of sites.
#[derive(Debug, Default)]
pub struct Schemas(HashMap<String, Validator>);

impl Schemas {
    /// Reads the schema of each site from its file.
    ///
    /// # Errors
    /// `Schema` for a file that cannot be read or is no JSON Schema.
    pub fn read(files: &[(String, PathBuf)]) -> Result<Schemas, IngestError> {
        let mut schemas = HashMap::new();
        for (site, path) in files {
            let validator = read(path)
                .map_err(|why| IngestError::Schema { path: path.display().to_string(), why })?;
            schemas.insert(site.clone(), validator);
        }
        Ok(Schemas(schemas))
    }

    /// Holds an event's record against the schema of its site.
    ///
    /// # Errors
    /// The first field that does not fit, by its path. What it holds is not repeated.
    pub fn check(&self, site: &str, record: impl FnOnce() -> Vec<u8>) -> Result<(), BadField> {
        let Some(validator) = self.0.get(site) else { return Ok(()) };
        let record: Value = serde_json::from_slice(&record()).map_err(|_| {
            let message = "holds a number that no schema can be held against";
            BadField::new(Reason::Schema, "event", message)
        })?;
        validator.validate(&record).map_err(|error| {
            BadField::new(Reason::Schema, path(&error), error.masked().to_string())
        })
    }
}

/// As other refusals name fields: `items[0].price`.
fn path(error: &ValidationError<'_>) -> String {
    let mut path = String::new();
    for segment in error.instance_path() {
        match segment {
            LocationSegment::Index(at) => path.push_str(&format!("[{at}]")),
            LocationSegment::Property(name) if path.is_empty() => path.push_str(&name),
            LocationSegment::Property(name) => path.extend([".", &name]),
        }
    }
    path
}

fn read(path: &Path) -> Result<Validator, String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let schema: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    jsonschema::validator_for(&schema).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schemas(text: &str) -> Result<Schemas, IngestError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.json");
        std::fs::write(&path, text).unwrap();
        Schemas::read(&[("shop".to_owned(), path)])
    }

    #[test]
    fn an_event_is_held_against_its_sites_schema() {
        let schemas = schemas(
            r#"{"required": ["page_type"], "properties": {"properties": {"properties": {"plan": {"enum": ["free", "pro"]}}},
            "items": {"items": {"properties": {"price": {"minimum": 0}}}}}}"#,
        )
        .unwrap();
        let check = |site: &str, record: &str| {
            let told = schemas.check(site, || record.as_bytes().to_vec());
            told.map_err(|bad| format!("{} {bad}", bad.reason.code()))
        };
        assert_eq!(check("shop", r#"{"page_type":"product","properties":{"plan":"pro"}}"#), Ok(()));
        assert_eq!(check("outlet", "{}"), Ok(()));
        assert!(check("shop", r#"{"properties":{"z":1e999}}"#).is_err());
        assert_eq!(
            check("shop", "{}").unwrap_err(),
            r#"schema "page_type" is a required property"#
        );
        assert_eq!(
            check("shop", r#"{"page_type":"p","properties":{"plan":"secret"}}"#).unwrap_err(),
            r#"schema properties.plan: value is not one of "free" or "pro""#
        );
        let items = r#"{"page_type":"p","items":[{"price":1},{"price":-1}]}"#;
        assert!(check("shop", items).unwrap_err().starts_with("schema items[1].price: "));
    }

    #[test]
    fn a_file_that_is_none_is_told() {
        for (text, why) in [("{", "EOF while parsing"), (r#"{"type": 5}"#, "5 is not valid")] {
            let told = schemas(text).unwrap_err().to_string();
            assert!(told.contains("shop.json: ") && told.contains(why), "{told}");
        }
        let missing = Schemas::read(&[("s".to_owned(), PathBuf::from("/none.json"))]);
        assert!(missing.unwrap_err().to_string().contains("/none.json: No such file"));
    }
}
