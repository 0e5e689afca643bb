//! Random logs: what must hold of every log, whatever is in it. `FOLD_SEED=17` runs seed 17 alone and
//! prints its log; `FOLD_SEEDS=5000` runs so many.

use std::collections::{BTreeMap, BTreeSet};

use footfall_event::{Micros, Offset};
use footfall_sessionizer::{Counts, LiveSession};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use super::language::{Kind, Log, show_time, tick, time};
use super::render::{Row, live, rows};
use super::run::Run;

const SEEDS: u64 = 150;

/// Runs `property` on each seed and names the one it failed on.
fn for_seeds(property: impl Fn(&mut StdRng) + std::panic::RefUnwindSafe) {
    #[expect(clippy::disallowed_methods, reason = "a failed seed is run again by name")]
    let named = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let one = named("FOLD_SEED");
    let seeds = one.map_or(0..named("FOLD_SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    for seed in seeds {
        let run = || property(&mut StdRng::seed_from_u64(seed));
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("failed with FOLD_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Bounds near enough that random logs reach them.
fn settings(rng: &mut StdRng) -> String {
    let open = ["open_max=1", "open_max=2", ""].choose(rng).unwrap();
    let events = ["events_max=3", "events_max=6", ""].choose(rng).unwrap();
    let within = ["1s", "3s", "40s"].choose(rng).unwrap();
    format!("rules gap=30s cap=90s window=50s need.delivery.within={within} {open} {events}")
}

/// An event at a time that ties with others or lies at a bound from them, without its arrival.
fn event(rng: &mut StdRng, number: usize, at_us: &mut i64) -> String {
    const STEPS: [i64; 9] =
        [0, 0, 1, 1_000_000, 3_000_000, 3_000_001, 9_000_000, 30_000_000, 30_000_001];
    *at_us += STEPS.choose(rng).unwrap();
    let at = show_time(time("12:00:00") + Micros(*at_us));
    let who = ["v1", "v1", "v1", "v2", "v3", "other/v1", "-"].choose(rng).unwrap();
    let seq = rng.random_range(0..3);
    let what = match rng.random_range(0..14) {
        0..3 => {
            let page = ["product", "cart", "home"].choose(rng).unwrap();
            let pv = ["", "pv=1", "pv=2"].choose(rng).unwrap();
            let seen = ["", "", "visible=0"].choose(rng).unwrap();
            format!("page_view type={page} path=/{page} url={page} {pv} {seen}")
        }
        3 => format!("view_item url=product pv={}", rng.random_range(1..3)),
        4..7 => {
            let info = ["delivery_price", "returns", "size"].choose(rng).unwrap();
            let visible = [149, 150, 900].choose(rng).unwrap();
            format!("info_exposed info={info} visible={visible}")
        }
        7..9 => format!("click target=t at={},0", rng.random_range(0..40)),
        9 => {
            let currency = ["EUR", "EUR", "USD"].choose(rng).unwrap();
            format!("purchase order={} value=1.5 currency={currency}", rng.random_range(0..3))
        }
        10 => "refund value=0.5 currency=EUR".into(),
        11 => "heartbeat visible=0".into(),
        12 => format!("search results={}", rng.random_range(0..2)),
        _ => format!("web_vitals lcp={}", [3_000, 4_000, 4_001].choose(rng).unwrap()),
    };
    format!("{at} {who} {what} id=e{number} seq={seq}")
}

/// The event's line with an arrival up to `latest_us` after its time, and that arrival.
fn arriving(rng: &mut StdRng, event: &str, latest_us: i64) -> (Micros, String) {
    let delay = if rng.random_bool(0.1) { latest_us } else { rng.random_range(0..=latest_us) };
    let at = time(event.split(' ').next().unwrap());
    (at + Micros(delay), format!("{event} @+{delay}us"))
}

/// A log with everything that may be in one: late and resent events, rejected ones, ticks, leaps of
/// the clock, control records.
fn any_log(rng: &mut StdRng) -> String {
    let mut at_us = 0;
    let mut events: Vec<String> =
        (0..rng.random_range(5..40)).map(|number| event(rng, number, &mut at_us)).collect();
    for _ in 0..events.len() / 5 {
        events.push(events.choose(rng).unwrap().clone());
    }
    let mut lines: Vec<_> = events.iter().map(|event| arriving(rng, event, 15_000_000)).collect();
    for _ in 0..events.len() / 2 {
        let event = events.choose(rng).unwrap();
        let (at, arriving) = arriving(rng, event, 15_000_000);
        let now = show_time(at);
        let id = rng.random_range(0..4);
        lines.push(match rng.random_range(0..9) {
            0..3 => (at, format!("tick {now}")),
            3 => (at, format!("rejected {now} v1 id=e{id}")),
            4 => (at, "tick 9000:00:00".into()),
            5 => (at, format!("rules {now} need.delivery.within={}s", id + 1)),
            6 => (at, format!("rules {now} lateness={}s open_max={}", 4 * id, id + 1)),
            7 => (at, format!("rules {now} need.size.raised=type:home need.size.found=info:size")),
            _ => (at, format!("{arriving} old_resend")),
        });
    }
    lines.shuffle(rng);
    lines.sort_by_key(|(at, _)| *at);
    let ids_max = ["ids_max=5", ""].choose(rng).unwrap();
    let held = ["held_max=3", "held_own_max=2", "", ""].choose(rng).unwrap();
    let lines = lines.into_iter().map(|(_, line)| line + "\n");
    format!("{} {ids_max} {held}\n", settings(rng)) + &lines.collect::<String>()
}

fn fold(log: &Log) -> Vec<Row> {
    rows(&Run::of(log))
}

/// Rows of the tables as a set, without the fields `but`.
fn tables(rows: &[Row], but: &[&str]) -> Vec<Row> {
    let is_table = |row: &&Row| ["event", "session", "need", "page_view"].contains(&row.kind);
    let mut tables: Vec<Row> = rows.iter().filter(is_table).cloned().collect();
    for row in &mut tables {
        row.fields.retain(|(field, _)| !but.contains(field));
    }
    tables.sort();
    tables
}

/// Rows of a kind as a set.
fn of_kind(rows: &[Row], kind: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = rows.iter().filter(|row| row.kind == kind).cloned().collect();
    rows.sort();
    rows
}

#[track_caller]
fn assert_equal(found: &[Row], wanted: &[Row], log: &str) {
    let only = |rows: &[Row], others: &[Row]| -> String {
        rows.iter().filter(|row| !others.contains(row)).map(|row| format!("  {row}\n")).collect()
    };
    let (found_only, wanted_only) = (only(found, wanted), only(wanted, found));
    assert!(
        found == wanted,
        "found alone\n{found_only}wanted alone\n{wanted_only}of the log\n{log}"
    );
}

#[test]
fn any_order_of_arrival_within_the_lateness_gives_the_rows_of_the_sorted_one() {
    for_seeds(|rng| {
        let mut at_us = 0;
        let mut events: Vec<String> =
            (0..rng.random_range(5..40)).map(|number| event(rng, number, &mut at_us)).collect();
        let settings = settings(rng);
        let sorted = format!("{settings}\n{}", events.join("\n"));
        let sorted_rows = tables(&fold(&Log::parse(&sorted)), &["written", "offset", "signalled"]);
        for _ in 0..events.len() / 5 {
            events.push(events.choose(rng).unwrap().clone());
        }
        let mut lines: Vec<_> = events.iter().map(|e| arriving(rng, e, 10_000_000)).collect();
        lines.shuffle(rng);
        lines.sort_by_key(|(at, _)| *at);
        let lines: Vec<_> = lines.into_iter().map(|(_, line)| line).collect();
        let shuffled = format!("{settings}\n{}", lines.join("\n"));
        let rows = tables(&fold(&Log::parse(&shuffled)), &["written", "offset", "signalled"]);
        assert_equal(&rows, &sorted_rows, &shuffled);
    });
}

#[test]
fn equal_logs_give_equal_rows_wherever_output_is_taken() {
    for_seeds(|rng| {
        let text = any_log(rng);
        let log = Log::parse(&text);
        let rows = fold(&log);
        assert_eq!(fold(&log), rows, "{text}");
        let mut committed = Run::new(&log);
        for end in 0..=log.records.len() {
            committed.to(end);
            if rng.random_bool(0.3) {
                committed.commit();
            }
        }
        committed.commit();
        let committed = super::render::rows(&committed);
        assert_equal(&tables(&committed, &[]), &tables(&rows, &[]), &text);
        assert_eq!(of_kind(&committed, "signal"), of_kind(&rows, "signal"), "{text}");
    });
}

#[test]
fn a_restart_at_any_record_changes_no_row() {
    for_seeds(|rng| {
        let text = any_log(rng);
        let log = Log::parse(&text);
        let whole = Run::of(&log);
        let whole_rows = rows(&whole);
        for at in 0..=log.records.len() {
            let mut run = Run::new(&log);
            run.to(at);
            run.restart(at);
            run.to(log.records.len());
            run.commit();
            let rows = rows(&run);
            assert_equal(&tables(&rows, &[]), &tables(&whole_rows, &[]), &text);
            assert_eq!(run.statuses, whole.statuses, "restarted at {at}\n{text}");
            assert_eq!(of_kind(&rows, "signal"), of_kind(&whole_rows, "signal"), "{text}");
            assert_eq!(totals(&run), totals(&whole), "restarted at {at}\n{text}");
            assert_contiguous(&run, &text);
        }
    });
}

/// But for the bound on open sessions: it counts those that are open when an event is stepped.
#[test]
fn what_is_live_at_any_record_is_what_closes_if_nothing_follows() {
    for_seeds(|rng| {
        let text = any_log(rng);
        let words = text.lines().map(|line| {
            line.split(' ').filter(|word| !word.starts_with("open_max=")).collect::<Vec<_>>()
        });
        let text = words.map(|words| words.join(" ") + "\n").collect::<String>();
        let log = Log::parse(&text);
        for at in 0..=log.records.len() {
            let mut cut = log.clone();
            cut.records.truncate(at);
            let end = time("20000:00:00");
            cut.records.extend([end, end + Micros(5 * Micros::SECOND.0)].map(tick));
            let mut run = Run::new(&cut);
            run.to(at);
            run.commit();
            run.look();
            let before = (run.output.rows.sessions.len(), run.output.rows.needs.len());
            run.to(at + 2);
            run.commit();
            let rows = &mut run.output.rows;
            let (sessions, needs) =
                (rows.sessions.split_off(before.0), rows.needs.split_off(before.1));
            let mut closed: Vec<LiveSession> =
                sessions.into_iter().map(|row| LiveSession { row, needs: Vec::new() }).collect();
            for need in needs {
                let of = closed.iter_mut().find(|live| live.row.session_id == need.session_id);
                of.unwrap().needs.push(need);
            }
            let seen = live(&run, &run.looks[0]);
            assert_equal(&seen, &live(&run, &closed), &format!("cut at {at}\n{text}"));
        }
    });
}

#[test]
fn a_restart_at_every_record_changes_no_row() {
    for_seeds(|rng| {
        let text = any_log(rng);
        let log = Log::parse(&text);
        let whole = Run::of(&log);
        let mut run = Run::new(&log);
        for at in 0..=log.records.len() {
            run.to(at);
            run.restart(at);
        }
        let (rows, whole_rows) = (rows(&run), rows(&whole));
        assert_equal(&tables(&rows, &[]), &tables(&whole_rows, &[]), &text);
        assert_eq!(of_kind(&rows, "signal"), of_kind(&whole_rows, "signal"), "{text}");
        assert_eq!(totals(&run), totals(&whole), "{text}");
    });
}

#[test]
fn a_signal_is_published_once_and_its_need_says_so() {
    for_seeds(|rng| {
        let text = any_log(rng);
        let log = Log::parse(&text);
        let run = Run::of(&log);
        if resends_were_accepted(&run) {
            return;
        }
        let mut ids: Vec<_> = run.output.signals.iter().map(|signal| &signal.id).collect();
        ids.sort();
        let published = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), published, "{text}");
        for need in &run.output.rows.needs {
            let name = &run.rules[&need.rules].needs[need.need].name;
            let is_published = run.output.signals.iter().any(|signal| {
                signal.need == *name
                    && signal.visitor == need.visitor
                    && signal.raised_at == need.raised_at
            });
            assert!(is_published || !need.signalled, "{name} of {:?}\n{text}", need.visitor);
        }
    });
}

/// Whether an id was accepted twice, its first time being forgotten.
fn resends_were_accepted(run: &Run) -> bool {
    let mut seen = BTreeSet::new();
    let mut accepted = run.output.rows.events.iter().map(|row| {
        match &run.log.records[row.offset.0 as usize].kind {
            Kind::Event(event) => (&event.site, &event.visitor, event.id()),
            other => panic!("{other:?} has no row"),
        }
    });
    !accepted.all(|id| seen.insert(id))
}

#[test]
fn accepted_less_pending_are_the_rows_of_events() {
    for_seeds(|rng| {
        let text = any_log(rng);
        let log = Log::parse(&text);
        let mut run = Run::new(&log);
        for end in 0..=log.records.len() {
            run.to(end);
            run.commit();
            let mut written: BTreeMap<&str, u64> = BTreeMap::new();
            for row in &run.output.rows.events {
                let Kind::Event(event) = &log.records[row.offset.0 as usize].kind else {
                    panic!("a row of a record that is no event")
                };
                *written.entry(&event.site).or_default() += 1;
            }
            for (site, (counts, pending)) in by_site(&run) {
                let rows = written.remove(site).unwrap_or(0);
                assert_eq!(counts.accepted() - pending, rows, "{site} at {end}\n{text}");
            }
            assert!(written.is_empty(), "{text}");
        }
        let is_counted = |kind: &Kind| matches!(kind, Kind::Event(_) | Kind::Rejected(_));
        let read = log.records.iter().filter(|record| is_counted(&record.kind)).count() as u64;
        let received: u64 = by_site(&run).values().map(|(counts, _)| counts.received()).sum();
        assert_eq!(received, read, "{text}");
        assert_contiguous(&run, &text);
    });
}

/// Each site's counts over all ranges, and what was pending in the last of them.
fn by_site<'r>(run: &'r Run) -> BTreeMap<&'r str, (Counts, u64)> {
    let mut sites: BTreeMap<&str, (Counts, u64)> = BTreeMap::new();
    for row in &run.output.receipts {
        let Some(site) = &row.site else { continue };
        let (sum, pending) = sites.entry(site).or_default();
        sum.on_time += row.counts.on_time;
        sum.late += row.counts.late;
        sum.duplicate += row.counts.duplicate;
        sum.rejected += row.counts.rejected;
        sum.overflow += row.counts.overflow;
        *pending = row.pending;
    }
    sites
}

/// Each site's counts by hour, and what was pending at the end.
fn totals(run: &Run) -> BTreeMap<String, [u64; 6]> {
    let mut totals: BTreeMap<String, [u64; 6]> = BTreeMap::new();
    for row in &run.output.receipts {
        let Some(site) = &row.site else { continue };
        let Counts { on_time, late, duplicate, rejected, overflow } = row.counts;
        let sums = totals.entry(format!("{site} {}", show_time(row.hour))).or_default();
        for (sum, count) in sums.iter_mut().zip([on_time, late, duplicate, rejected, overflow]) {
            *sum += count;
        }
    }
    totals.retain(|_, sums| sums.iter().any(|sum| *sum > 0));
    for (site, (_, pending)) in by_site(run) {
        totals.insert(site.into(), [0, 0, 0, 0, 0, pending]);
    }
    totals
}

/// The ranges follow each other to the end of the log without a gap.
#[track_caller]
fn assert_contiguous(run: &Run, text: &str) {
    let mut next = Offset(0);
    for range in run.output.receipts.iter().filter(|row| row.site.is_none()) {
        assert_eq!(range.from, next, "{text}");
        assert!(range.to > range.from, "{text}");
        next = range.to;
    }
    assert_eq!(next, Offset(run.log.records.len() as i64), "{text}");
}
