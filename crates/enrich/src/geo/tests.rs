//! Databases of two forms (data/places.py makes them), and a file that changes.

use super::*;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/geo").join(name)
}

fn told(geo: &Geo, address: &str) -> [String; 2] {
    let place = geo.look_up(address.parse().unwrap()).unwrap();
    [place.country, place.region].map(Option::unwrap_or_default)
}

#[test]
fn an_address_tells_country_and_region() {
    let maxmind = Geo::open(&path("maxmind.mmdb")).unwrap();
    assert_eq!(told(&maxmind, "192.0.2.7"), ["DE", "DE-BE"]);
    assert_eq!(told(&maxmind, "2001:db8::1"), ["MC", ""]);
    for unknown in ["198.51.100.1", "203.0.113.1", "::1"] {
        assert_eq!(told(&maxmind, unknown), ["", ""], "{unknown}");
    }
    let flat = Geo::open(&path("flat.mmdb")).unwrap();
    assert_eq!(told(&flat, "192.0.2.7"), ["DE", ""]);
    assert_eq!(told(&flat, "198.51.100.1"), ["MC", ""]);
    assert_eq!(told(&flat, "203.0.113.1"), ["CA", ""], "a name is no code");
    assert_eq!(told(&flat, "2001:db8::1"), ["", ""], "it has none of IPv6");
}

#[test]
fn a_file_that_is_none_is_told_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.mmdb");
    std::fs::write(&broken, "no database").unwrap();
    for path in [broken, folder.path().join("missing.mmdb")] {
        let told = Geo::open(&path).err().unwrap().to_string();
        assert!(told.starts_with(&format!("{}: ", path.display())), "{told}");
    }
}

/// Until it has, and where it is broken then, the one that was read before is asked.
#[test]
fn a_file_that_changes_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("places.mmdb");
    std::fs::copy(path("flat.mmdb"), &file).unwrap();
    let geo = Geo::open(&file).unwrap();
    let change = |bytes: Vec<u8>, seconds: u64| {
        std::fs::write(&file, bytes).unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(at).unwrap();
    };
    let later = |minutes: u32| Instant::now() + LOOKED_AT_EVERY * minutes;
    let wait = || {
        while geo.0.is_reading.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
    };
    change(std::fs::read(path("maxmind.mmdb")).unwrap(), 1);
    geo.follow(Instant::now());
    assert_eq!(told(&geo, "192.0.2.7"), ["DE", ""], "it was looked at just before");
    geo.follow(later(1));
    wait();
    assert_eq!(told(&geo, "192.0.2.7"), ["DE", "DE-BE"]);
    change(b"no database".to_vec(), 2);
    geo.follow(later(3));
    wait();
    assert_eq!(told(&geo, "192.0.2.7"), ["DE", "DE-BE"]);
}
