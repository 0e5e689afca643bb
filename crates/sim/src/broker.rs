//! The event log of a run: partitions in memory, a group of readers among whom they move, and a clock of
//! its own that may be wrong.

mod reach;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use footfall_event::{Micros, Offset, Partition};
use footfall_log::{Appended, Kind, NewRecord, Record};

use crate::process::Process;
use crate::world::World;
pub use reach::SimLog;

pub const TOPIC: &str = "events";

/// The log as it is, whoever reaches it.
#[derive(Debug)]
pub struct Broker {
    world: Arc<World>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    partitions: Vec<Kept>,
    /// Whether what is released is deleted.
    deletes: bool,
    /// How far its clock is ahead of the true time.
    ahead: Micros,
    members: BTreeMap<u64, Member>,
    members_ever: u64,
    /// Signals by their keys.
    published: Vec<(String, Bytes)>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The offset of the first record that is there.
    begin: usize,
    /// From offset 0 on, those that retention took included.
    records: Vec<Record>,
    /// The first that anybody could read: those before it went before there was a pipeline.
    first: usize,
}

#[derive(Debug)]
struct Member {
    process: Arc<Process>,
    /// Its partitions, as the group has them.
    assigned: BTreeSet<Partition>,
    /// What it is to be told of that.
    notices: VecDeque<Notice>,
    /// The group takes it for gone, and it has not heard of it.
    is_deaf: bool,
}

#[derive(Debug)]
enum Notice {
    Assigned(Vec<Partition>),
    Revoked(Vec<Partition>),
}

impl Broker {
    /// A log of one process deletes what is released, as the embedded one; Kafka keeps it.
    pub fn new(world: &Arc<World>, partitions: u32, deletes: bool) -> Arc<Broker> {
        let state = State {
            partitions: (0..partitions).map(|_| Kept::default()).collect(),
            deletes,
            ahead: Micros(0),
            members: BTreeMap::new(),
            members_ever: 0,
            published: Vec::new(),
        };
        Arc::new(Broker { world: world.clone(), state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets its clock so far ahead of the true time, or behind it.
    pub fn set_ahead(&self, ahead: Micros) {
        self.state().ahead = ahead;
    }

    /// All records that were ever appended to a partition.
    pub fn records(&self, partition: Partition) -> Vec<Record> {
        self.state().partitions[partition.0 as usize].records.clone()
    }

    /// All signals that were ever published, by their keys.
    pub fn published(&self) -> Vec<(String, Bytes)> {
        self.state().published.clone()
    }

    pub fn partitions(&self) -> u32 {
        self.state().partitions.len() as u32
    }

    fn release(&self, positions: &[(Partition, Offset)]) {
        let mut state = self.state();
        if !state.deletes {
            return;
        }
        for (partition, offset) in positions {
            let kept = &mut state.partitions[partition.0 as usize];
            if kept.begin < offset.0 as usize {
                kept.begin = offset.0 as usize;
                self.world.count("released");
            }
        }
    }

    fn append(&self, record: NewRecord) -> Appended {
        let mut state = self.state();
        let append_time = self.world.now() + state.ahead;
        let NewRecord { partition, kind, payload } = record;
        let records = &mut state.partitions[partition.0 as usize].records;
        let offset = Offset(records.len() as i64);
        records.push(Record { offset, append_time, kind, payload });
        Appended { partition, offset, append_time }
    }

    /// Behind the last record.
    pub fn end(&self, partition: Partition) -> Offset {
        Offset(self.state().partitions[partition.0 as usize].records.len() as i64)
    }

    /// Retention takes all records of a partition.
    pub fn empty(&self, partition: Partition) {
        let kept = &mut self.state().partitions[partition.0 as usize];
        kept.begin = kept.records.len();
    }

    /// What was appended behind the first `count` records is gone, as if it had never been on the disk, and so many
    /// records come.
    pub fn cut_tail(&self, partition: Partition, count: usize, come: usize) {
        self.state().partitions[partition.0 as usize].records.truncate(count);
        self.append_ticks(partition, come);
    }

    /// The first record that anybody could read.
    pub fn first(&self, partition: Partition) -> usize {
        self.state().partitions[partition.0 as usize].first
    }

    /// So many records came, and retention took them, before there was a pipeline.
    pub fn begin_emptied(&self, partition: Partition, count: usize) {
        self.make_anew(partition, count);
        self.empty(partition);
        let kept = &mut self.state().partitions[partition.0 as usize];
        kept.first = kept.begin;
    }

    /// Somebody deletes the topic and makes it anew, and so many records come.
    pub fn make_anew(&self, partition: Partition, count: usize) {
        self.state().partitions[partition.0 as usize] = Kept::default();
        self.append_ticks(partition, count);
    }

    fn append_ticks(&self, partition: Partition, count: usize) {
        for _ in 0..count {
            self.append(NewRecord { partition, kind: Kind::Tick, payload: Bytes::new() });
        }
    }

    fn join(&self, process: &Arc<Process>) -> u64 {
        let mut state = self.state();
        state.members_ever += 1;
        let member = state.members_ever;
        let joined = Member {
            process: process.clone(),
            assigned: BTreeSet::new(),
            notices: VecDeque::new(),
            is_deaf: false,
        };
        state.members.insert(member, joined);
        state.rebalance();
        member
    }

    fn leave(&self, member: u64) {
        let mut state = self.state();
        state.members.remove(&member);
        state.rebalance();
    }

    /// The group takes the process for gone, which does not know. It reads on until it hears that its
    /// partitions are another's, and is taken in again.
    pub fn deafen(&self, process: &Arc<Process>, is_deaf: bool) {
        let mut state = self.state();
        for member in state.members.values_mut() {
            if Arc::ptr_eq(&member.process, process) {
                member.is_deaf = is_deaf;
            }
        }
        state.rebalance();
    }
}

impl State {
    /// Gives each partition to one of those who hear, in turns.
    fn rebalance(&mut self) {
        let hear: Vec<u64> =
            self.members.iter().filter(|(_, member)| !member.is_deaf).map(|(id, _)| *id).collect();
        let owner = |partition: usize| hear.get(partition % hear.len().max(1)).copied();
        let mut wanted: BTreeMap<u64, BTreeSet<Partition>> = BTreeMap::new();
        for partition in 0..self.partitions.len() {
            if let Some(owner) = owner(partition) {
                wanted.entry(owner).or_default().insert(Partition(partition as i32));
            }
        }
        for (id, member) in &mut self.members {
            let wanted = wanted.remove(id).unwrap_or_default();
            let revoked: Vec<_> = member.assigned.difference(&wanted).copied().collect();
            let assigned: Vec<_> = wanted.difference(&member.assigned).copied().collect();
            if !revoked.is_empty() {
                member.notices.push_back(Notice::Revoked(revoked));
            }
            if !assigned.is_empty() {
                member.notices.push_back(Notice::Assigned(assigned));
            }
            member.assigned = wanted;
        }
    }
}
