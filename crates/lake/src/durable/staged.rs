//! Files of writes that have no name yet: how they are called, and what a broken write leaves.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use object_store::Result;
use uuid::Uuid;

use super::failed_at;

/// A name that no other write has, before a crash or after it. `object_store` leaves files of the form
/// `name#digits` out of its listings.
pub fn staging_path(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(format!("#{}", Uuid::new_v4().as_u128()));
    PathBuf::from(name)
}

/// Deletes what writes below `folder` that were broken off before `before` left behind; how many files.
pub fn delete_staged(folder: &Path, before: SystemTime) -> Result<usize> {
    let failed = |source| failed_at(folder, source);
    let mut deleted = 0;
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if entry.file_type().map_err(failed)?.is_dir() {
            deleted += delete_staged(&path, before)?;
            continue;
        }
        let is_old =
            || entry.metadata().and_then(|facts| facts.modified()).is_ok_and(|at| at <= before);
        if is_staged(&path) && is_old() {
            // It may have got its name in between.
            deleted += usize::from(std::fs::remove_file(&path).is_ok());
        }
    }
    Ok(deleted)
}

/// Deletes what writes of `target` that were broken off left behind, however young; how many files.
pub fn delete_staged_of(target: &Path) -> Result<usize> {
    let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else { return Ok(0) };
    let prefix = format!("{}#", name.to_string_lossy());
    let mut deleted = 0;
    for entry in std::fs::read_dir(folder).map_err(|source| failed_at(folder, source))? {
        let path = entry.map_err(|source| failed_at(folder, source))?.path();
        let is_of = path.file_name().is_some_and(|of| of.to_string_lossy().starts_with(&prefix));
        if is_of && is_staged(&path) {
            std::fs::remove_file(&path).map_err(|source| failed_at(&path, source))?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// Whether [`staging_path`] gave it its name.
fn is_staged(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let number = name.rsplit_once('#').map(|(_, number)| number);
    number.is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}
