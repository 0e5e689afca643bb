//! Funnels by brute force: every chain of events is made, and the best one taken.

use footfall_journey::funnel::{Entry, Event, Funnel, Order};

/// Entry labels and times of steps, by making every chain.
pub fn by_brute_force(funnel: &Funnel, events: &[Event]) -> Vec<(u32, Vec<Option<i64>>)> {
    let mut trials = Vec::new();
    for (entry, event) in events.iter().enumerate() {
        let time = event.hit.time_us;
        let is_entry = event.hit.bits & 1 == 1
            && event.same != Event::NOTHING
            && time >= funnel.from_us
            && time < funnel.to_us;
        if !is_entry {
            continue;
        }
        let times = match funnel.order {
            Order::Any => in_any_order(funnel, events, entry),
            Order::Ordered | Order::Strict => {
                let mut chains = Vec::new();
                extend(funnel, events, &mut vec![(entry, 0)], &mut chains);
                let key = |chain: &Vec<(usize, usize)>| {
                    let furthest = chain.last().unwrap().1;
                    (std::cmp::Reverse((furthest, chain.len())), chain.clone())
                };
                let best = chains.into_iter().min_by_key(key).unwrap();
                let mut times = vec![None; funnel.steps.len()];
                for (place, step) in best {
                    times[step] = Some(events[place].hit.time_us);
                }
                times
            }
        };
        trials.push((event.label, times));
        if funnel.entry == Entry::First {
            break;
        }
    }
    trials
}

fn extend(
    funnel: &Funnel,
    events: &[Event],
    chain: &mut Vec<(usize, usize)>,
    chains: &mut Vec<Vec<(usize, usize)>>,
) {
    chains.push(chain.clone());
    let (place, step) = *chain.last().unwrap();
    let entry = &events[chain[0].0];
    for next in step + 1..funnel.steps.len() {
        if funnel.steps[step + 1..next].iter().any(|passed| !passed.optional) {
            continue;
        }
        for later in place + 1..events.len() {
            let event = &events[later];
            let (since, bounds) =
                (event.hit.time_us - events[place].hit.time_us, &funnel.steps[next]);
            let is_kept_apart = funnel.exclusions.iter().enumerate().any(|(number, exclusion)| {
                step >= exclusion.after
                    && next <= exclusion.before
                    && (place + 1..later)
                        .any(|between| events[between].hit.bits >> (32 + number) & 1 == 1)
            });
            if event.hit.bits >> next & 1 == 0
                || event.same != entry.same
                || event.hit.time_us - entry.hit.time_us > funnel.window_us
                || since < bounds.min_us
                || bounds.max_us.is_some_and(|max| since > max)
                || is_kept_apart
                || (funnel.order == Order::Strict && later != place + 1)
            {
                continue;
            }
            chain.push((later, next));
            extend(funnel, events, chain, chains);
            chain.pop();
        }
    }
}

/// The `k`-th time is the least at which some choice of one event for each of `k` steps is over.
fn in_any_order(funnel: &Funnel, events: &[Event], entry: usize) -> Vec<Option<i64>> {
    let first = &events[entry];
    let can = |event: &Event, step: usize| {
        event.same == first.same
            && event.hit.bits >> step & 1 == 1
            && event.hit.time_us - first.hit.time_us <= funnel.window_us
    };
    let mut times = vec![None; funnel.steps.len()];
    times[0] = Some(first.hit.time_us);
    for until in entry + 1..events.len() {
        let most = 1 + most_fulfilled(&events[entry + 1..=until], funnel.steps.len(), 1, 0, &can);
        if times[most - 1].is_none() {
            times[most - 1] = Some(events[until].hit.time_us);
        }
    }
    times
}

fn most_fulfilled(
    events: &[Event],
    steps: usize,
    step: usize,
    used: u32,
    can: &impl Fn(&Event, usize) -> bool,
) -> usize {
    if step == steps {
        return 0;
    }
    let mut most = most_fulfilled(events, steps, step + 1, used, can);
    for (place, event) in events.iter().enumerate() {
        if used >> place & 1 == 0 && can(event, step) {
            most = most.max(1 + most_fulfilled(events, steps, step + 1, used | 1 << place, can));
        }
    }
    most
}
