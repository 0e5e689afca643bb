//! The rules that rows name by their `config_id`, kept beside the tables: `_footfall/rules/<id>.json`.

use footfall_lake::{Lake, LakeError};
use footfall_sessionizer::Rules;

use crate::PipelineError;

const FOLDER: &str = "_footfall/rules";

/// Keeps `rules`, before any row is written by them.
///
/// # Errors
/// `Lake`.
pub async fn keep(lake: &Lake, rules: &Rules) -> Result<(), PipelineError> {
    let json = serde_json::to_vec_pretty(rules).unwrap_or_default();
    lake.create(&format!("{FOLDER}/{}.json", rules.config_id()), json.into()).await?;
    Ok(())
}

/// All rules that were ever in force here, in the order of their ids.
///
/// # Errors
/// `Lake`; `Unreadable` for a file that holds no rules.
pub async fn all(lake: &Lake) -> Result<Vec<Rules>, PipelineError> {
    let mut all = Vec::new();
    for name in lake.list(FOLDER).await? {
        let path = format!("{FOLDER}/{name}");
        if let Some(json) = lake.read(&path).await? {
            let rules = serde_json::from_slice(&json).map_err(|error| LakeError::Unreadable {
                path: path.clone(),
                reason: error.to_string(),
            })?;
            all.push(rules);
        }
    }
    Ok(all)
}
