//! Reads the lists of the configuration: keys, schemas, bridges, tokens, steps and needs. Sections are left to `sections`.

use std::collections::HashMap;
use std::path::PathBuf;

use footfall_event::Micros;
use footfall_guard::{SecretHash, Token};
use footfall_log::kafka::Start;
use footfall_sessionizer::{NEEDS_MAX, Need, STEPS_MAX, Step};

use super::layers::Layers;
use super::mistakes::Origin;
use super::show::{Place, Setting};
use super::toml_reader::{Table, Value, in_place};
use super::{Bridge, CheckSql, Key, values};

/// Characters of a hash that are shown.
const HASH_CHARS_SHOWN: usize = 8;
const CLICKS_MAX: u64 = 1_000_000;
/// In a `[[key]]` or a `[[token]]`: the secret itself, which is refused.
const PLAIN: &str = "key";

pub fn keys(layers: &mut Layers<'_>) -> Vec<Key> {
    let tables = layers.tables("key");
    let mut hashes = HashMap::new();
    let mut keys = Vec::new();
    for (number, table) in tables.into_iter().enumerate() {
        let mut entry = Entry { layers, list: "key", number, table };
        let sha256 = entry.hash("site", &["origins"], &mut hashes);
        let site = entry.read("site", values::site);
        let origins = entry.read_list("origins", values::origin);
        if let (Some(site), Some(sha256)) = (site, sha256) {
            keys.push(Key { site, sha256, origins });
        }
    }
    keys
}

/// Each site's file of a JSON Schema.
pub fn schemas(layers: &mut Layers<'_>) -> Vec<(String, PathBuf)> {
    let tables = layers.tables("schema");
    let (mut sites, mut schemas) = (HashMap::new(), Vec::new());
    for (number, table) in tables.into_iter().enumerate() {
        let mut entry = Entry { layers, list: "schema", number, table };
        entry.require_exactly(&["site", "file"]);
        let site = entry.read("site", values::site);
        let file = entry.read("file", values::some_text);
        if let Some(site) = &site {
            entry.refuse_twice("site", site.clone(), &mut sites);
        }
        if let (Some(site), Some(file)) = (site, file) {
            schemas.push((site, file.into()));
        }
    }
    schemas
}

/// Topics of other systems.
pub fn bridges(layers: &mut Layers<'_>) -> Vec<Bridge> {
    const STARTS: [(&str, Start); 2] = [("earliest", Start::Earliest), ("latest", Start::Latest)];
    let tables = layers.tables("bridge");
    let (mut names, mut bridges) = (HashMap::new(), Vec::new());
    for (number, table) in tables.into_iter().enumerate() {
        let mut entry = Entry { layers, list: "bridge", number, table };
        let needed = ["name", "brokers", "topic", "map"];
        entry.table.require(&needed, &["start"], &mut entry.layers.mistakes);
        let name = entry.read("name", values::name);
        let brokers = entry.read("brokers", values::some_addresses);
        let topic = entry.read("topic", values::topic);
        let map = entry.read("map", values::some_text);
        let start = entry.read("start", |value| values::choice(value, &STARTS));
        if let Some(name) = &name {
            entry.refuse_twice("name", name.clone(), &mut names);
        }
        if let (Some(name), Some(brokers), Some(topic), Some(map)) = (name, brokers, topic, map) {
            let (map, start) = (map.into(), start.unwrap_or_default());
            bridges.push(Bridge { name, brokers, topic, map, start });
        }
    }
    bridges
}

pub fn tokens(layers: &mut Layers<'_>) -> Vec<Token> {
    let tables = layers.tables("token");
    let (mut hashes, mut names) = (HashMap::new(), HashMap::new());
    let mut tokens = Vec::new();
    for (number, table) in tables.into_iter().enumerate() {
        let mut entry = Entry { layers, list: "token", number, table };
        let sha256 = entry.hash("name", &["may", "scram"], &mut hashes);
        let name = entry.read("name", values::name);
        if let Some(name) = &name {
            entry.refuse_twice("name", name.clone(), &mut names);
        }
        let may_erase = !entry.read_list("may", values::right).is_empty();
        let scram = entry.read("scram", values::scram);
        if let (Some(name), Some(sha256)) = (name, sha256) {
            let hash = SecretHash::new(sha256);
            tokens.push(Token { name, hash, scram, may_erase });
        }
    }
    tokens
}

pub fn steps(layers: &mut Layers<'_>, check_sql: CheckSql<'_>) -> Vec<Step> {
    let tables = layers.tables("step");
    refuse_beyond(STEPS_MAX, "steps", &tables, layers);
    let mut names = HashMap::new();
    let mut steps = Vec::new();
    for (number, table) in tables.into_iter().enumerate() {
        let mut entry = Entry { layers, list: "step", number, table };
        entry.require_exactly(&["name", "when"]);
        let name = entry.read("name", values::name);
        let when = entry.read("when", |value| values::condition(value, check_sql));

        if let Some(name) = &name {
            entry.refuse_twice("name", name.clone(), &mut names);
        }
        if let (Some(name), Some(when)) = (name, when) {
            steps.push(Step { name, when });
        }
    }
    steps
}

pub fn needs(layers: &mut Layers<'_>, check_sql: CheckSql<'_>) -> Vec<Need> {
    let tables = layers.tables("need");
    refuse_beyond(NEEDS_MAX, "needs", &tables, layers);
    let mut names = HashMap::new();
    let mut needs = Vec::new();
    for (number, table) in tables.into_iter().enumerate() {
        let mut entry = Entry { layers, list: "need", number, table };
        needs.extend(need(&mut entry, &mut names, check_sql));
    }
    needs
}

fn need(
    entry: &mut Entry<'_, '_>,
    names: &mut HashMap<String, Origin>,
    check_sql: CheckSql<'_>,
) -> Option<Need> {
    entry.require_exactly(&["name", "raised_by", "found_by", "within", "max_clicks"]);
    let name = entry.read("name", values::name);
    let raised_by = entry.read("raised_by", |value| values::condition(value, check_sql));
    let found_by = entry.read("found_by", |value| values::condition(value, check_sql));
    let within = entry.read("within", |value| values::span(value, Micros(1)..=Micros::DAY));
    let max_clicks = entry.read("max_clicks", |value| values::whole(value, 0..=CLICKS_MAX));
    if let Some(name) = &name {
        entry.refuse_twice("name", name.clone(), names);
    }
    Some(Need {
        name: name?,
        raised_by: raised_by?,
        found_by: found_by?,
        within: within?,
        max_clicks: u32::try_from(max_clicks?).unwrap_or(u32::MAX),
    })
}

fn refuse_beyond(max: usize, what: &str, tables: &[Table<'_>], layers: &mut Layers<'_>) {
    if let Some(first) = tables.get(max) {
        let message = format!("{} {what} are declared: at most {max} are taken", tables.len());
        layers.mistakes.push(&first.origin, message);
    }
}

/// A table of a list.
struct Entry<'l, 'd> {
    layers: &'l mut Layers<'d>,
    list: &'static str,
    number: usize,
    table: Table<'d>,
}

impl Entry<'_, '_> {
    fn read<T>(&mut self, key: &str, parse: impl Fn(&Value<'_>) -> Result<T, String>) -> Option<T> {
        let value = self.table.read(key, &mut self.layers.mistakes, parse)?;
        let given = self.table.find(key)?;
        let called = self.table.place.clone();
        let place = Place::Entry { list: self.list, number: self.number, called };
        let setting = Setting::new(place, key, &given, false);
        let is_secret = matches!(key, "sha256" | "scram");
        self.layers.keep(if is_secret { setting.shortened(HASH_CHARS_SHOWN) } else { setting });
        Some(value)
    }

    /// The texts of a list; none where there is none.
    fn read_list(
        &mut self,
        key: &str,
        parse: impl Fn(&Value<'_>) -> Result<String, String>,
    ) -> Vec<String> {
        let Some(given) = self.table.find(key) else { return Vec::new() };
        let (called, mistakes) = (self.table.place.clone(), &mut self.layers.mistakes);
        let name = in_place(key, &called);
        let list = given.list(&name, mistakes).unwrap_or_default();
        let texts: Vec<String> =
            list.iter().filter_map(|text| text.read(&name, mistakes, &parse)).collect();
        let place = Place::Entry { list: self.list, number: self.number, called };
        self.layers.keep(Setting::of_list(place, key, &texts, &given.origin));
        texts
    }

    /// The `sha256` of a secret, beside `owner`, which says whose it is. A secret in plain text is no
    /// unknown key: it is told what to do about it.
    fn hash(
        &mut self,
        owner: &str,
        optional: &[&str],
        hashes: &mut HashMap<[u8; 32], Origin>,
    ) -> Option<[u8; 32]> {
        if let Some(plain) = self.table.find(PLAIN) {
            let place = &self.table.place;
            let message = format!(
                "`{PLAIN}` in {place} is a secret in plain text: keep its SHA-256 alone, as `sha256`; \
                 `footfall {} new` makes a new one",
                self.list
            );
            self.layers.mistakes.push(&plain.origin, message);
            self.table.require(
                &[owner],
                &[optional, &[PLAIN, "sha256"]].concat(),
                &mut self.layers.mistakes,
            );
        } else {
            self.table.require(&[owner, "sha256"], optional, &mut self.layers.mistakes);
        }
        let sha256 = self.read("sha256", values::sha256)?;
        self.refuse_twice("sha256", sha256, hashes);
        Some(sha256)
    }

    fn require_exactly(&mut self, keys: &[&str]) {
        self.table.require(keys, &[], &mut self.layers.mistakes);
    }

    /// `seen` holds where each value stood first.
    fn refuse_twice<V: std::hash::Hash + Eq>(
        &mut self,
        key: &str,
        value: V,
        seen: &mut HashMap<V, Origin>,
    ) {
        let origin = self.table.find(key).map_or(self.table.origin.clone(), |given| given.origin);
        if let Some(first) = seen.get(&value) {
            let place = &self.table.place;
            let message = format!("{place} has the `{key}` of {first}: each needs its own");
            self.layers.mistakes.push(&origin, message);
        } else {
            seen.insert(value, origin);
        }
    }
}
