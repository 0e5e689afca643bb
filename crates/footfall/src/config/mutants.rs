//! Configurations that nobody wrote: each is right, or its mistakes are told.

use std::path::Path;

use footfall_tests::for_mutants;

use super::{Config, DEFAULTS, Mistakes};

const OWN: &str = "[ingest]\nbody_bytes_max = '2MiB'\n[log]\npartitions = 3\n[[key]]\nsite = 's'\nsha256 = \
                   '2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b'\n[[need]]\nname = 'n'\n\
                   raised_by = 'a'\nfound_by = 'b'\nwithin = '3s'\nmax_clicks = 2\n";

#[test]
fn any_text_is_a_configuration_or_has_mistakes() {
    for_mutants(&[OWN.as_bytes(), OWN.as_bytes(), DEFAULTS.as_bytes()], |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let file = Some((Path::new("f.toml"), text));
        let read = Config::read(file, &[], &[], &|_| Ok(()), Mistakes::default());
        if let Err(mistakes) = read {
            assert!(!mistakes.to_string().is_empty(), "a mistake that is not told");
        }
    });
}

#[test]
fn of_a_file_that_is_something_else_the_first_mistakes_are_told() {
    let text = "no line of this is TOML\n".repeat(100_000);
    let file = Some((Path::new("f.toml"), text.as_str()));
    let read = Config::read(file, &[], &[], &|_| Ok(()), Mistakes::default());
    let told = read.err().map(|mistakes| mistakes.to_string()).unwrap_or_default();
    assert!(told.starts_with("f.toml:1: ") && told.lines().count() == 101, "{told}");
}
