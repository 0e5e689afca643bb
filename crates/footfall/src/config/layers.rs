//! The sources of the configuration one over the other: for each key the value of the highest, with
//! where it stands. Which keys there are is left to `sections` and `lists`, which read them.

use std::collections::BTreeSet;

use super::mistakes::{Mistakes, Origin, way_out};
use super::show::{Place, Setting};
use super::toml_reader::{Document, Given, Table, Value, in_place};
use toml::de::DeValue;

const VARIABLE_PREFIX: &str = "FOOTFALL_";

/// A key that a flag sets.
#[derive(Clone, Debug)]
pub struct Override {
    /// As it was given: `--brokers`.
    pub flag: String,
    /// With its sections: `log.brokers`.
    pub key: String,
    pub value: String,
}

pub struct Layers<'d> {
    pub mistakes: Mistakes,
    /// The defaults, then the file.
    documents: &'d [Document<'d>],
    environment: &'d [(String, String)],
    overrides: &'d [Override],
    /// What was read, in that order.
    settings: Vec<Setting>,
    keys: Vec<String>,
    /// The keys of lists of tables.
    lists: Vec<&'static str>,
    /// Keys with a mistake: what depends on them is not worth telling.
    doubtful: BTreeSet<String>,
}

impl<'d> Layers<'d> {
    pub fn new(
        documents: &'d [Document<'d>],
        environment: &'d [(String, String)],
        overrides: &'d [Override],
        mistakes: Mistakes,
    ) -> Layers<'d> {
        Layers {
            mistakes,
            documents,
            environment,
            overrides,
            settings: Vec::new(),
            keys: Vec::new(),
            lists: Vec::new(),
            doubtful: BTreeSet::new(),
        }
    }

    /// The value of a key such as `ingest.listen` from the highest source that is right about it. Each
    /// source is checked, also where a higher one wins.
    pub fn read<T: Default>(
        &mut self,
        key: &str,
        parse: impl Fn(&Value<'_>) -> Result<T, String>,
    ) -> T {
        let (section, last) = split_key(key);
        let name = in_place(last, &place(section));
        self.keys.push(key.to_owned());
        let sources = self.sources(key);
        let is_number =
            matches!(sources.first(), Some(Given { value: Value::Toml(DeValue::Integer(_)), .. }));
        let mut effective = None;
        for given in &sources {
            match given.read(&name, &mut self.mistakes, &parse) {
                Some(value) => effective = Some((value, given)),
                None => _ = self.doubtful.insert(key.to_owned()),
            }
        }
        debug_assert!(!sources.is_empty(), "config/footfall.toml has no `{key}`");
        let Some((value, given)) = effective else { return T::default() };
        let home = match section {
            "" => Place::Top,
            section => Place::Section(section.to_owned()),
        };
        self.settings.push(Setting::new(home, last, given, is_number));
        value
    }

    /// The tables of a list such as `need`, from the highest file that declares any; each is called
    /// by its `name`, else by its number.
    pub fn tables(&mut self, key: &'static str) -> Vec<Table<'d>> {
        self.lists.push(key);
        let documents: &'d [Document<'d>] = self.documents;
        let list = documents.iter().rev().find_map(|document| document.root().find(key));
        let Some(list) = list else {
            self.settings.push(Setting::empty_list(key, &Origin::Default { line: 1 }));
            return Vec::new();
        };
        let name = format!("`{key}`");
        if let Value::Toml(DeValue::Table(_)) = list.value {
            let message = format!("{name} is one table: write `[[{key}]]` before each");
            self.mistakes.push(&list.origin, message);
            return Vec::new();
        }
        let entries = list.list(&name, &mut self.mistakes).unwrap_or_default();
        if entries.is_empty() {
            self.settings.push(Setting::empty_list(key, &list.origin));
        }
        let tables = entries.iter().enumerate().filter_map(|(i, entry)| {
            let mut table = entry.table(&format!("{key} {}", i + 1), &mut self.mistakes)?;
            let name = table.find("name").filter(|name| super::values::name(&name.value).is_ok());
            if let Some(Value::Toml(DeValue::String(name))) = name.map(|name| name.value) {
                table.place = format!("{key} `{name}`");
            }
            Some(table)
        });
        tables.collect()
    }

    /// Keeps what an entry of a list sets, to be shown.
    pub fn keep(&mut self, setting: Setting) {
        self.settings.push(setting);
    }

    /// Was a text left empty?
    pub fn is_empty(&self, key: &str) -> bool {
        let setting = self.settings.iter().find(|setting| setting.path() == key);
        setting.is_none_or(|setting| setting.value == "\"\"")
    }

    /// A relation between two settings by their paths; told where the left stands, or the
    /// right if its source is the higher.
    pub fn relate(&mut self, holds: bool, left: &str, wish: &str, right: &str) {
        if holds || self.doubtful.contains(left) || self.doubtful.contains(right) {
            return;
        }
        let setting = |key: &str| self.settings.iter().find(|setting| setting.path() == key);
        let (Some(a), Some(b)) = (setting(left), setting(right)) else { return };
        let origin = if b.origin.is_over(&a.origin) { &b.origin } else { &a.origin };
        let (is, other) = (&a.value, &b.value);
        let left = if a.is_listed() { left.to_owned() } else { format!("`{left}`") };
        let message = format!("{left} is `{is}`: must be {wish} `{right}`, which is `{other}`");
        self.mistakes.push(origin, message);
    }

    /// Names every key, variable and override that nothing has read.
    pub fn refuse_unknown(&mut self, other_variables: &[&str]) {
        let keys = std::mem::take(&mut self.keys);
        let lists = self.lists.iter().map(|list| (*list).to_owned());
        let all: Vec<String> = keys.iter().cloned().chain(lists).collect();
        for document in self.documents {
            refuse_keys(&document.root(), "", &all, &mut self.mistakes);
        }
        let variables: Vec<String> = keys.iter().map(|key| variable(key)).collect();
        let known = || variables.iter().map(String::as_str).chain(other_variables.iter().copied());
        for (name, _) in self.environment {
            if name.starts_with(VARIABLE_PREFIX) && !known().any(|known| known == name) {
                let origin = Origin::Environment { variable: name.clone() };
                self.mistakes.push(&origin, format!("unknown variable{}", way_out(name, known())));
            }
        }
        for Override { flag, key, .. } in self.overrides {
            if !keys.contains(key) {
                let way_out = way_out(key, keys.iter().map(String::as_str));
                let origin = Origin::Flag { flag: flag.clone() };
                self.mistakes.push(&origin, format!("unknown key `{key}`{way_out}"));
            }
        }
    }

    pub fn finish(self) -> (Vec<Setting>, Mistakes) {
        (self.settings, self.mistakes)
    }

    /// What each source says of a key, the highest last.
    fn sources(&mut self, key: &str) -> Vec<Given<'d>> {
        let mut sources = Vec::new();
        for document in self.documents {
            sources.extend(find(document.root(), key, &mut self.mistakes));
        }
        let wanted = variable(key);
        for (name, value) in self.environment.iter().filter(|(name, _)| *name == wanted) {
            sources.push(Given::plain(value, Origin::Environment { variable: name.clone() }));
        }
        for Override { flag, value, .. } in self.overrides.iter().filter(|set| set.key == key) {
            sources.push(Given::plain(value, Origin::Flag { flag: flag.clone() }));
        }
        sources
    }
}

fn find<'d>(root: Table<'d>, key: &str, mistakes: &mut Mistakes) -> Option<Given<'d>> {
    let (section, last) = split_key(key);
    let mut table = root;
    let mut path = String::new();
    for part in section.split('.').filter(|part| !part.is_empty()) {
        path = join(&path, part);
        table = table.find(part)?.table(&place(&path), mistakes)?;
    }
    table.find(last)
}

fn refuse_keys(table: &Table<'_>, section: &str, known: &[String], mistakes: &mut Mistakes) {
    let prefix = join(section, "");
    let here: BTreeSet<&str> = known
        .iter()
        .filter_map(|path| path.strip_prefix(&prefix))
        .map(|rest| rest.split('.').next().unwrap_or(rest))
        .collect();
    for (key, origin, given) in table.entries() {
        let path = join(section, key);
        if known.contains(&path) {
            continue;
        }
        if here.contains(key) {
            if let Some(table) = given.table(&place(&path), mistakes) {
                refuse_keys(&table, &path, known, mistakes);
            }
            continue;
        }
        let homes = known.iter().map(|path| split_key(path)).filter(|(_, last)| *last == key);
        let homes: Vec<String> = homes.map(|(home, _)| place_or_top(home)).collect();
        let way_out = match homes.is_empty() {
            true => way_out(key, here.iter().copied()),
            false => format!(": it belongs to {}", homes.join(" or ")),
        };
        let name = in_place(key, &place(section));
        mistakes.push(&origin, format!("unknown key {name}{way_out}"));
    }
}

/// `ingest.listen` is `FOOTFALL_INGEST_LISTEN`.
fn variable(key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", key.replace('.', "_").to_uppercase())
}

fn split_key(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

fn join(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

fn place(section: &str) -> String {
    if section.is_empty() { String::new() } else { format!("`[{section}]`") }
}

fn place_or_top(section: &str) -> String {
    if section.is_empty() { "the top level".to_owned() } else { place(section) }
}
