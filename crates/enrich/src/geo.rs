//! Country and region of an IP address, from a database of MaxMind's form that the user supplies. A file that changes is
//! read again.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use maxminddb::{MaxMindDbError, Reader};
use serde::Deserialize;

use crate::{EnrichError, Failure};

/// How often it is looked whether the file has changed.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(60);

type Database = Reader<Vec<u8>>;

/// ISO 3166: `DE`, and `DE-BE` of its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub country: Option<String>,
    pub region: Option<String>,
}

/// What a database holds of a network: MaxMind's fields, or the flat ones of others.
#[derive(Deserialize)]
struct Found<'d> {
    #[serde(borrow)]
    country: Option<Country<'d>>,
    country_code: Option<&'d str>,
    #[serde(default)]
    subdivisions: Vec<Named<'d>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Country<'d> {
    Code(&'d str),
    #[serde(borrow)]
    Named(Named<'d>),
}

#[derive(Deserialize)]
struct Named<'d> {
    iso_code: Option<&'d str>,
}

impl Found<'_> {
    fn place(self) -> Place {
        let country = match self.country {
            Some(Country::Named(named)) => named.iso_code,
            // Beside a code it is a name.
            Some(Country::Code(code)) => self.country_code.or(Some(code)),
            None => self.country_code,
        };
        let part = self.subdivisions.first().and_then(|part| part.iso_code);
        let region = country.zip(part).map(|(country, part)| format!("{country}-{part}"));
        Place { country: country.map(str::to_owned), region }
    }
}

/// A database.
#[derive(Clone)]
pub struct Geo(Arc<Kept>);

struct Kept {
    path: PathBuf,
    database: RwLock<Arc<Database>>,
    seen: Mutex<Seen>,
    is_reading: AtomicBool,
}

/// The file as it was looked at last.
struct Seen {
    at: Instant,
    modified: Option<SystemTime>,
}

impl Geo {
    /// # Errors
    /// `Unfit`.
    pub fn open(path: &Path) -> Result<Geo, EnrichError> {
        let unfit = |why: String| EnrichError::Unfit { path: path.display().to_string(), why };
        let seen = Seen { at: Instant::now(), modified: modified(path) };
        let database = read(path).map_err(unfit)?;
        Ok(Geo(Arc::new(Kept {
            path: path.to_owned(),
            database: RwLock::new(Arc::new(database)),
            seen: Mutex::new(seen),
            is_reading: AtomicBool::new(false),
        })))
    }

    /// Where an address is, as far as the database tells.
    ///
    /// # Errors
    /// `Geo`: the database is broken where the address is looked up.
    pub fn look_up(&self, address: IpAddr) -> Result<Place, Failure> {
        self.follow(Instant::now());
        let database = self.0.database.read().unwrap_or_else(PoisonError::into_inner).clone();
        let found = match database.lookup(address) {
            // One of IPv6, in a database of IPv4.
            Err(MaxMindDbError::InvalidInput { .. }) => return Ok(Place::default()),
            found => found.map_err(|_| Failure::Geo)?,
        };
        let found = found.decode::<Found<'_>>().map_err(|_| Failure::Geo)?;
        Ok(found.map(Found::place).unwrap_or_default())
    }

    /// Reads the file again, in a thread of its own, where it has changed.
    fn follow(&self, now: Instant) {
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(seen.at) < LOOKED_AT_EVERY {
            return;
        }
        seen.at = now;
        let found = modified(&self.0.path);
        if found == seen.modified || self.0.is_reading.swap(true, Ordering::AcqRel) {
            return;
        }
        seen.modified = found;
        let kept = self.0.clone();
        std::thread::spawn(move || {
            let path = kept.path.display();
            match read(&kept.path) {
                Ok(database) => {
                    *kept.database.write().unwrap_or_else(PoisonError::into_inner) =
                        Arc::new(database);
                    tracing::info!(%path, "the database of addresses was read again");
                }
                Err(why) => {
                    tracing::warn!(%path, why, "the database of addresses stays the one that was read before");
                }
            }
            kept.is_reading.store(false, Ordering::Release);
        });
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|file| file.modified()).ok()
}

fn read(path: &Path) -> Result<Database, String> {
    Reader::open_readfile(path).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
