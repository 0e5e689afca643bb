//! Which ways of keeping a table are read: those in which its files' rows are its rows, under its
//! columns' names. What else there is, is refused by its name, never read wrongly.

use deltalake_core::kernel::{Add, Metadata, Protocol};
use footfall_event::schema::Table;
use serde_json::Value;

use crate::LakeError;

/// Features that change nothing for who reads the files that the log names.
const READ: [&str; 4] =
    ["timestampNtz", "timestampWithoutTimezone", "v2Checkpoint", "vacuumProtocolCheck"];
const DELETION_VECTORS: &str = "deletionVectors";
const COLUMN_MAPPING: &str = "columnMapping";
const COLUMN_MAPPING_MODE: &str = "delta.columnMapping.mode";

/// Whether the table can be read.
///
/// # Errors
/// `Unfit` with the feature that stands against it.
pub(super) fn check(
    table: Table,
    protocol: &Protocol,
    metadata: &Metadata,
) -> Result<(), LakeError> {
    match unread(&json(protocol), &json(metadata)) {
        Some(feature) => Err(LakeError::Unfit { table, feature }),
        None => Ok(()),
    }
}

/// Whether the file's rows are the table's, and the file is the table's own.
///
/// # Errors
/// As [`check`].
pub(super) fn check_file(table: Table, add: &Add) -> Result<(), LakeError> {
    let unfit = |feature: &str| Err(LakeError::Unfit { table, feature: feature.to_owned() });
    match add {
        _ if add.deletion_vector.is_some() => unfit(DELETION_VECTORS),
        _ if add.path.contains("://") || add.path.starts_with('/') => {
            unfit("files outside its folder")
        }
        _ => Ok(()),
    }
}

/// The parts of both are not public, but their JSON is Delta's own.
fn json(action: &impl serde::Serialize) -> Value {
    serde_json::to_value(action).unwrap_or_default()
}

fn unread(protocol: &Value, metadata: &Value) -> Option<String> {
    let mode = metadata["configuration"][COLUMN_MAPPING_MODE].as_str();
    if mode.is_some_and(|mode| mode != "none") {
        return Some(COLUMN_MAPPING.to_owned());
    }
    let features = protocol["readerFeatures"].as_array().into_iter().flatten();
    let mut features = features.filter_map(Value::as_str);
    // A table of an older protocol maps columns when it says so above, and not before.
    features
        .find(|feature| !READ.contains(feature) && *feature != COLUMN_MAPPING)
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(protocol: Value, configuration: Value, unread_feature: Option<&str>) {
        let found = unread(&protocol, &json!({"configuration": configuration}));
        assert_eq!(found.as_deref(), unread_feature);
    }

    #[test]
    fn what_changes_the_rows_of_a_file_is_refused_by_name() {
        let features = |features: &[&str]| json!({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features});
        check(json!({"minReaderVersion": 1, "minWriterVersion": 2}), json!({}), None);
        check(features(&["timestampNtz", "v2Checkpoint"]), json!({}), None);
        check(features(&["deletionVectors"]), json!({}), Some("deletionVectors"));
        check(features(&["timestampNtz", "variantType"]), json!({}), Some("variantType"));
        let mapped = json!({"delta.columnMapping.mode": "name"});
        check(json!({"minReaderVersion": 2}), mapped.clone(), Some("columnMapping"));
        check(features(&["columnMapping"]), mapped, Some("columnMapping"));
        check(features(&["columnMapping"]), json!({"delta.columnMapping.mode": "none"}), None);
    }
}
