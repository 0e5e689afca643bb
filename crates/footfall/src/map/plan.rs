//! A map made ready for its load: which of a source's columns are read, and which of ours each fills.
//! Finding a source's columns is left to the formats.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use footfall_event::{Column, Event, Text, Whole};

use super::{LoadMap, Mapping, Rest, Source, Target, TimeFormat};
use crate::config::way_out;

/// A map, ready to fill events.
pub struct Plan {
    /// `event_name` first: `only` speaks of it.
    pub fills: Vec<Fill>,
    pub rest: Rest,
    pub time_format: TimeFormat,
    /// The site of every row.
    site: Option<String>,
    /// Of rows that name none.
    pub default_site: String,
    /// JSON lines are events as clients post them.
    pub is_identity: bool,
    /// The source's columns that the map names; a place in it is a slot.
    columns: Vec<String>,
    slots: HashMap<String, usize>,
    /// Ours that a column of the same name may fill.
    free: HashMap<&'static str, Target>,
}

const SEQ: Target = Target::Column(Column::Whole(Whole::Seq));

/// One of ours, and what fills it.
pub struct Fill {
    pub target: Target,
    pub from: From,
    /// Theirs to ours.
    pub values: HashMap<String, String>,
    /// Ours; empty: for all events.
    pub only: Vec<String>,
}

pub enum From {
    /// The column of this slot.
    Slot(usize),
    Constant(String),
}

impl Plan {
    pub fn new(map: &LoadMap, default_site: &str) -> Plan {
        let mut plan = Plan {
            fills: Vec::new(),
            rest: map.rest,
            time_format: map.time_format.clone(),
            site: map.site.clone(),
            default_site: default_site.to_owned(),
            is_identity: map.is_identity() && map.site.is_none(),
            columns: Vec::new(),
            slots: HashMap::new(),
            free: free(map),
        };
        for mapping in &map.mappings {
            let fill = plan.fill(mapping);
            plan.fills.push(fill);
        }
        plan
    }

    fn fill(&mut self, mapping: &Mapping) -> Fill {
        let from = match &mapping.source {
            Source::Constant(text) => From::Constant(text.clone()),
            Source::Column(name) => {
                From::Slot(*self.slots.entry(name.clone()).or_insert_with(|| {
                    self.columns.push(name.clone());
                    self.columns.len() - 1
                }))
            }
        };
        let (values, only) = (mapping.values.clone(), mapping.only.clone());
        Fill { target: mapping.target, from, values, only }
    }

    /// Gives an event the site that the map or the configuration names.
    pub fn complete<'a>(&'a self, event: &mut Event<'a>) {
        if let Some(site) = &self.site {
            event.set_text(Text::Site, site.as_str());
        } else if event.text(Text::Site).is_none() {
            event.set_text(Text::Site, self.default_site.as_str());
        }
    }

    /// The source's columns that the map names, by slot.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    pub fn slot(&self, column: &str) -> Option<usize> {
        self.slots.get(column).copied()
    }

    /// Whether a column of the source is its counter.
    fn is_seq(&self, column: &str) -> bool {
        let slot = self.slot(column);
        let from_it = |fill: &Fill| matches!(fill.from, From::Slot(from) if Some(from) == slot);
        self.fills.iter().any(|fill| fill.target == SEQ && from_it(fill))
            || (slot.is_none() && self.same_name(column) == Some(SEQ))
    }

    /// What a column that the map does not name fills by its own name.
    pub fn same_name(&self, column: &str) -> Option<Target> {
        self.free.get(column).copied()
    }

    /// What the map wants to fill from a column, for messages.
    pub fn wants(&self, column: &str) -> Vec<&'static str> {
        let slot = self.slot(column);
        let filled = |fill: &&Fill| matches!(fill.from, From::Slot(from) if Some(from) == slot);
        self.fills.iter().filter(filled).map(|fill| fill.target.name()).collect()
    }
}

fn free(map: &LoadMap) -> HashMap<&'static str, Target> {
    if map.rest != Rest::SameName {
        return HashMap::new();
    }
    let is_item = |mapping: &Mapping| matches!(mapping.target, Target::Item(_));
    let has_item = map.mappings.iter().any(is_item);
    let is_free = |target: &Target| {
        let is_mapped = map.mappings.iter().any(|mapping| mapping.target == *target);
        let is_fixed = *target == Target::SITE && map.site.is_some();
        let is_made_of_parts = *target == Target::ITEMS && has_item;
        matches!(target, Target::Column(_)) && !is_mapped && !is_fixed && !is_made_of_parts
    };
    Target::all().filter(is_free).map(|target| (target.name(), target)).collect()
}

/// The columns of a source with a header, matched with a plan.
pub struct Bound {
    /// The source's column of each slot.
    pub slots: Vec<usize>,
    /// The source's other columns, unless they are dropped.
    pub others: Vec<Other>,
    pub names: Vec<String>,
    /// A column counts the events; else the row's number decides among equal times.
    pub has_seq: bool,
}

pub struct Other {
    pub column: usize,
    /// What it fills; `None`: it goes to `properties`.
    pub target: Option<Target>,
}

impl Bound {
    /// A column without a name is called by its place.
    ///
    /// # Errors
    /// A sentence, when a column that is mapped or kept is not there, or stands there twice.
    pub fn new(plan: &Plan, header: Vec<String>) -> Result<Bound, String> {
        let number = |(i, name): (usize, String)| match name.trim() {
            "" => format!("column_{}", i + 1),
            _ => name,
        };
        let names: Vec<String> = header.into_iter().enumerate().map(number).collect();
        let found = plan.columns().iter().map(|column| {
            let at = names.iter().position(|name| name == column);
            at.ok_or_else(|| missing(plan, column, &names))
        });
        let (slots, missing): (Vec<_>, Vec<_>) = found.partition(Result::is_ok);
        let missing: Vec<String> = missing.into_iter().filter_map(Result::err).collect();
        if !missing.is_empty() {
            return Err(missing.join("; it "));
        }
        let slots = slots.into_iter().flatten().collect();
        let mut seen = HashSet::new();
        let mut others = Vec::new();
        for (column, name) in names.iter().enumerate() {
            let is_read = plan.slot(name).is_some() || plan.rest != Rest::Drop;
            if is_read && !seen.insert(name) {
                return Err(format!("has two columns `{name}`: rename one of them"));
            }
            if plan.slot(name).is_none() && is_read {
                others.push(Other { column, target: plan.same_name(name) });
            }
        }
        let has_seq = names.iter().any(|name| plan.is_seq(name));
        Ok(Bound { slots, others, names, has_seq })
    }
}

fn missing(plan: &Plan, column: &str, names: &[String]) -> String {
    let wants = plan.wants(column).join("`, `");
    let way_out = way_out(column, names.iter().map(String::as_str));
    format!("has no column `{column}`, from which the map fills `{wants}`{way_out}")
}

impl Fill {
    /// Whether it fills an event of this name.
    pub fn is_for(&self, event_name: Option<&str>) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| Some(name.as_str()) == event_name)
    }

    /// Theirs as ours.
    pub fn translate<'a>(&'a self, text: Cow<'a, str>) -> Cow<'a, str> {
        match self.values.get(text.as_ref()) {
            Some(ours) => Cow::Borrowed(ours),
            None => text,
        }
    }
}
