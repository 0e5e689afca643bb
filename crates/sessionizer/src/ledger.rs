//! The receipt: what became of every record of a range, by site, cut at each hour of log time.

use std::collections::{BTreeMap, BTreeSet};

use footfall_event::{Micros, Offset};

/// What a record turned out to be when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    OnTime,
    Late,
    Duplicate,
    Rejected,
}

/// Records of a range, or of a site within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub on_time: u64,
    pub late: u64,
    pub duplicate: u64,
    pub rejected: u64,
    /// Events whose row says `overflow`.
    pub overflow: u64,
}

impl Counts {
    pub fn accepted(&self) -> u64 {
        self.on_time + self.late
    }

    pub fn received(&self) -> u64 {
        self.accepted() + self.duplicate + self.rejected
    }
}

/// A row of `receipts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptRow {
    pub from: Offset,
    /// Exclusive.
    pub to: Offset,
    /// `None`: the row that tells that the range exists, whatever sites are in it.
    pub site: Option<Box<str>>,
    pub hour: Micros,
    pub counts: Counts,
    /// Events accepted on time whose row was not written at `to`.
    pub pending: u64,
    pub watermark: Option<Micros>,
}

/// The receipt of a partition under construction.
#[derive(Debug)]
pub struct Ledger {
    /// Records before this one are in the table already.
    begins: Offset,
    from: Offset,
    to: Offset,
    hour: Option<Micros>,
    sites: BTreeMap<Box<str>, Counts>,
    pending: BTreeMap<Box<str>, u64>,
    changed: BTreeSet<Box<str>>,
    rows: Vec<ReceiptRow>,
}

impl Ledger {
    /// A ledger whose first range begins at record `begins`.
    pub fn new(begins: Offset, pending: BTreeMap<Box<str>, u64>) -> Ledger {
        Ledger {
            begins,
            from: begins,
            to: begins,
            hour: None,
            sites: BTreeMap::new(),
            pending,
            changed: BTreeSet::new(),
            rows: Vec::new(),
        }
    }

    pub fn pending(&self) -> &BTreeMap<Box<str>, u64> {
        &self.pending
    }

    /// A record begins; `watermark` is the one before it.
    pub fn begin(&mut self, offset: Offset, hour: Micros, watermark: Option<Micros>) {
        if offset < self.begins {
            return;
        }
        if self.hour.is_some_and(|current| current != hour) {
            self.cut(watermark);
        }
        self.hour = Some(hour);
        self.to = offset.next();
    }

    /// The record's status; an event on time is pending until [`Ledger::wrote`].
    pub fn count(&mut self, offset: Offset, site: &str, status: Status) {
        if status == Status::OnTime {
            *entry(&mut self.pending, site) += 1;
        }
        if offset < self.begins {
            return;
        }
        let counts = entry(&mut self.sites, site);
        match status {
            Status::OnTime => counts.on_time += 1,
            Status::Late => counts.late += 1,
            Status::Duplicate => counts.duplicate += 1,
            Status::Rejected => counts.rejected += 1,
        }
    }

    /// Record `cause` let the row of a pending event be written.
    pub fn wrote(&mut self, cause: Offset, site: &str, overflow: bool) {
        let pending = entry(&mut self.pending, site);
        *pending = pending.saturating_sub(1);
        if cause < self.begins {
            return;
        }
        if overflow {
            entry(&mut self.sites, site).overflow += 1;
        }
        if !self.changed.contains(site) {
            self.changed.insert(site.into());
        }
    }

    /// Ends the range behind the last record, if it holds any.
    pub fn cut(&mut self, watermark: Option<Micros>) {
        let Some(hour) = self.hour.take() else { return };
        let (from, to) = (self.from, self.to);
        let row =
            |site, counts, pending| ReceiptRow { from, to, site, hour, counts, pending, watermark };
        self.rows.push(row(None, Counts::default(), 0));
        let mut sites = std::mem::take(&mut self.sites);
        for site in std::mem::take(&mut self.changed) {
            sites.entry(site).or_default();
        }
        for (site, counts) in sites {
            let pending = self.pending.get(&site).copied().unwrap_or(0);
            self.rows.push(row(Some(site), counts, pending));
        }
        self.pending.retain(|_, pending| *pending > 0);
        self.from = to;
    }

    /// Whether a range under construction holds more than ticks.
    pub fn has_news(&self) -> bool {
        !self.sites.is_empty() || !self.changed.is_empty() || !self.rows.is_empty()
    }

    pub fn take_rows(&mut self) -> Vec<ReceiptRow> {
        std::mem::take(&mut self.rows)
    }
}

/// The site's entry, without an allocation where there is one.
fn entry<'m, V: Default>(map: &'m mut BTreeMap<Box<str>, V>, site: &str) -> &'m mut V {
    if !map.contains_key(site) {
        map.insert(site.into(), V::default());
    }
    map.get_mut(site).unwrap_or_else(|| unreachable!("the site was just added"))
}
