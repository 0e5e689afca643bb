//! Folds a log of the test language as the pipeline folds a partition, and keeps all that comes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use footfall_event::{EventKey, Micros, Money, Offset};
use footfall_sessionizer::{
    Bits, Fact, Facts, Fold, FoldState, Hit, LiveSession, Output, Rules, RulesId, Status,
};

use super::conditions::{bits, shipped, with};
use super::language::{Event, Kind, Log, Mark};

pub struct Run<'l> {
    pub log: &'l Log,
    pub fold: Fold,
    next: usize,
    /// The rules that events are judged by from each offset on.
    rules_from: Vec<(usize, RulesId)>,
    pub rules: BTreeMap<RulesId, Arc<Rules>>,
    pub statuses: Vec<(usize, Status)>,
    pub output: Output,
    /// What each look at the open sessions saw.
    pub looks: Vec<Vec<LiveSession>>,
}

impl<'l> Run<'l> {
    pub fn new(log: &'l Log) -> Run<'l> {
        let rules = Arc::new(with(shipped(), &log.settings));
        let fold = Fold::new(rules.clone(), Offset(0));
        let first = fold.rules().newest().0;
        Run {
            log,
            fold,
            next: 0,
            rules_from: vec![(0, first)],
            rules: BTreeMap::from([(first, rules)]),
            statuses: Vec::new(),
            output: Output::default(),
            looks: Vec::new(),
        }
    }

    /// The whole log, with its marks.
    pub fn of(log: &'l Log) -> Run<'l> {
        let mut run = Run::new(log);
        for (at, mark) in &log.marks {
            run.to(*at);
            match mark {
                Mark::Commit => run.commit(),
                Mark::Restart => run.restart(*at),
                Mark::Live => run.look(),
            }
        }
        run.to(log.records.len());
        run.commit();
        run
    }

    /// Folds up to record `end`.
    pub fn to(&mut self, end: usize) {
        while self.next < end {
            self.read(self.next);
            self.next += 1;
        }
    }

    pub fn commit(&mut self) {
        let Output { rows, signals, receipts } = self.fold.take_output();
        // A row that names rules which the book dropped could not be written.
        let book = self.fold.rules();
        let of_rows = rows.sessions.iter().map(|row| row.rules);
        let of_rows = of_rows.chain(rows.needs.iter().map(|row| row.rules));
        for id in of_rows.chain(rows.page_views.iter().map(|row| row.rules)) {
            assert!(book.iter().any(|(known, _)| known == id), "rules {id:?} of a row are gone");
        }
        self.fold.forget_rules();
        self.output.rows.events.extend(rows.events);
        self.output.rows.sessions.extend(rows.sessions);
        self.output.rows.needs.extend(rows.needs);
        self.output.rows.page_views.extend(rows.page_views);
        self.output.signals.extend(signals);
        self.output.receipts.extend(receipts);
    }

    pub fn look(&mut self) {
        self.looks.push(self.fold.live(|_| true).collect());
    }

    /// Goes on with a fold restored from a snapshot, whose receipt goes on at `receipts_from`.
    pub fn restart(&mut self, receipts_from: usize) {
        self.commit();
        let snapshot = postcard::to_stdvec(&self.fold.view()).unwrap();
        let state: FoldState = postcard::from_bytes(&snapshot).unwrap();
        let held = state.held.clone();
        self.fold = Fold::restore(state, Offset(receipts_from as i64));
        for (offset, signalled) in held {
            let in_force =
                self.rules_from.iter().rev().find(|(from, _)| *from <= offset.0 as usize);
            let hit = self.hit(offset.0 as usize, in_force.unwrap().1);
            self.fold.hold_again(hit, signalled);
        }
    }

    fn read(&mut self, at: usize) {
        let (offset, append_time) = (Offset(at as i64), self.log.records[at].append_time);
        match &self.log.records[at].kind {
            Kind::Tick => self.fold.tick(offset, append_time),
            Kind::Erase(site, visitor_id) => self.fold.erase(offset, append_time, |visitor| {
                *visitor.site == **site && *visitor.visitor_id == **visitor_id
            }),
            Kind::Event(event) => {
                let hit = self.hit(at, self.fold.rules().newest().0);
                let status = self.fold.event(append_time, hit, event.is_old_resend);
                self.statuses.push((at, status));
            }
            Kind::Rejected(event) => {
                let key = EventKey::of_rejection(&event.site, event.visitor.as_deref(), event.id());
                let status = self.fold.rejection(offset, append_time, &event.site, key);
                self.statuses.push((at, status));
            }
            Kind::Rules(settings) => {
                let newest = self.fold.rules().newest().1;
                let rules = Arc::new(with(Rules::clone(newest), settings));
                self.change_rules(offset, append_time, rules);
            }
        }
    }

    fn change_rules(&mut self, offset: Offset, append_time: Micros, rules: Arc<Rules>) {
        let before = self.fold.rules().newest().0;
        let id = self.fold.change_rules(offset, append_time, rules.clone());
        if id != before {
            let log = self.log;
            self.rules_from.push((offset.0 as usize + 1, id));
            self.fold.judge_held(id, |offset| bits(&rules, event(log, offset.0 as usize)));
            self.rules.insert(id, rules);
        }
    }

    fn hit(&self, at: usize, rules: RulesId) -> Hit {
        let event = event(self.log, at);
        let judged = self.fold.rules().iter().map(|(id, rules)| (id, bits(rules, event)));
        let (own, others): (Vec<_>, Vec<_>) = judged.partition(|(id, _)| *id == rules);
        assert_eq!(own.len(), 1, "the rules of an event that is folded are kept");
        hit(event, at, own[0], others)
    }
}

fn event(log: &Log, at: usize) -> &Event {
    match &log.records[at].kind {
        Kind::Event(event) => event,
        other => panic!("{other:?} is no event"),
    }
}

fn hit(event: &Event, at: usize, own: (RulesId, Bits), other_bits: Vec<(RulesId, Bits)>) -> Hit {
    let place = event.field("at").map(|place| {
        let (x, y) = place.split_once(',').unwrap();
        (x.parse().unwrap(), y.parse().unwrap())
    });
    let value =
        event.field("value").map(|value| Money::from_units(value.parse().unwrap()).unwrap());
    Hit {
        offset: Offset(at as i64),
        event_time: event.time,
        seq: event.number("seq").unwrap_or(0),
        rules: own.0,
        bits: own.1,
        other_bits,
        visible_ms: event.number("visible"),
        lcp_ms: event.number("lcp"),
        place,
        value,
        facts: Facts::pack(|fact| match fact {
            Fact::Site => Some(event.site.as_str()),
            Fact::VisitorId => event.visitor.as_deref(),
            _ => event.field(key_of(fact)),
        }),
    }
}

fn key_of(fact: Fact) -> &'static str {
    match fact {
        Fact::Site | Fact::VisitorId => unreachable!("they are no fields"),
        Fact::EventId => "id",
        Fact::EventName => "name",
        Fact::PageViewId => "pv",
        Fact::PageUrl => "url",
        Fact::PagePath => "path",
        Fact::PageType => "type",
        Fact::Section => "section",
        Fact::Target => "target",
        Fact::OrderId => "order",
        Fact::Currency => "currency",
        Fact::UserId => "user",
        Fact::Channel => "channel",
        Fact::UtmSource => "utm_source",
        Fact::UtmMedium => "utm_medium",
        Fact::UtmCampaign => "utm_campaign",
        Fact::UtmTerm => "utm_term",
        Fact::UtmContent => "utm_content",
        Fact::DeviceType => "device",
        Fact::Country => "country",
        Fact::Bot => "bot",
    }
}
