//! Leases: as the log has them, and as their holders believed in them.
//!
//! The log shows tokens, holders by stamps and the order of the line. What holders do with a lease shows in true time: from
//! an answer until the end that they reckon for themselves, they believe, and never may more believe than there is room for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use machine::{Body, Granted, LeaseRecord, Record};
use words::Stamp;

use crate::client::LeaseAsked;

/// The leases there are, and how many may hold each.
pub(crate) const LEASES: [(&str, u64); 3] = [("leader", 1), ("writer", 1), ("licence", 3)];

/// Leases in the log.
#[derive(Debug, Default)]
pub(crate) struct LeaseLog {
    last_token: u64,
    /// By lease and token: when they expire.
    holders: BTreeMap<String, BTreeMap<u64, Stamp>>,
    /// Those who wait, in the order they came.
    line: BTreeMap<String, VecDeque<u64>>,
    /// The keys of those who were told that they wait.
    waited: BTreeSet<String>,
    counts: LeaseCounts,
}

/// What became of leases.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LeaseCounts {
    /// Granted.
    pub granted: u64,
    /// Of these, to somebody who had waited in line.
    pub waited: u64,
    /// Not granted in time.
    pub given_up: u64,
    /// Expired.
    pub expired: u64,
    /// Works of a holder that came after its lease had gone to another, and were refused for their token.
    pub fenced: u64,
}

impl LeaseCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.granted += other.granted;
        self.waited += other.waited;
        self.given_up += other.given_up;
        self.expired += other.expired;
        self.fenced += other.fenced;
    }
}

impl LeaseLog {
    /// Takes note of a record, and says what is wrong with it.
    pub(crate) fn note(&mut self, ordinal: u64, record: &Record<'_>) -> Result<(), String> {
        let Body::Lease(lease) = record.body else { return Ok(()) };
        match lease {
            LeaseRecord::Waiting { asked, .. } => {
                self.waited.insert(record.key.to_owned());
                self.line.entry(asked.name.to_owned()).or_default().push_back(ordinal);
                Ok(())
            }
            LeaseRecord::Granted(granted) => self.granted(&granted),
            LeaseRecord::GaveUp { began, name, .. } => {
                self.counts.given_up += 1;
                let line = self.line.entry(name.to_owned()).or_default();
                let before = line.len();
                line.retain(|waits| *waits != began);
                if line.len() == before { Err(format!("#{began} gave up a wait that it had ended")) } else { Ok(()) }
            }
            LeaseRecord::Renewed { name, token, expires, .. } => {
                let held = self.holders.entry(name.to_owned()).or_default().insert(token, expires);
                held.map(|_| ()).ok_or_else(|| format!("`{name}` was renewed under {token}, which does not hold it"))
            }
            LeaseRecord::Released { name, token, .. } => self.ended(name, token).map(|_| ()),
            LeaseRecord::Expired { name, token, .. } => {
                self.counts.expired += 1;
                let expires = self.ended(name, token)?;
                if record.stamp < expires {
                    return Err(format!("`{name}` under {token} expired at {}, before {expires}", record.stamp));
                }
                Ok(())
            }
        }
    }

    fn granted(&mut self, granted: &Granted<'_>) -> Result<(), String> {
        let Granted { name, token, capacity, expires, began, .. } = *granted;
        if token <= self.last_token {
            return Err(format!("token {token} was granted after {}", self.last_token));
        }
        self.last_token = token;
        self.counts.granted += 1;
        let line = self.line.entry(name.to_owned()).or_default();
        if line.front().copied() != began {
            return Err(format!("`{name}` was granted to {began:?}, and first in line was {:?}", line.front()));
        }
        self.counts.waited += u64::from(line.pop_front().is_some());
        let holders = self.holders.entry(name.to_owned()).or_default();
        holders.insert(token, expires);
        if holders.len() as u64 > capacity {
            return Err(format!("`{name}` is held by {} of {capacity}", holders.len()));
        }
        Ok(())
    }

    fn ended(&mut self, name: &str, token: u64) -> Result<Stamp, String> {
        let held = self.holders.get_mut(name).and_then(|holders| holders.remove(&token));
        held.ok_or_else(|| format!("`{name}` was ended under {token}, which does not hold it"))
    }

    /// Whether somebody who asked under this key was accepted in line.
    pub(crate) fn knows(&self, key: &str) -> bool {
        self.waited.contains(key)
    }

    pub(crate) const fn counts(&self) -> LeaseCounts {
        self.counts
    }
}

/// A grant, as somebody heard of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Heard {
    token: u64,
    asked_us: u64,
    heard_us: u64,
}

/// A time in which somebody believed that they hold a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Belief {
    lease: usize,
    token: u64,
    from_us: u64,
    until_us: u64,
}

/// Something done under a lease, as it came to the resource.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Work {
    came_us: u64,
    lease: usize,
    token: u64,
    until_us: u64,
}

/// Leases as they were outside the log.
#[derive(Debug, Default)]
pub(crate) struct LeasesHeld {
    heard: Vec<Heard>,
    beliefs: Vec<Belief>,
    works: Vec<Work>,
    /// What was asked under which key, and when first.
    pub(crate) asked: BTreeMap<String, (LeaseAsked, u64)>,
    /// The newest token that the server told anybody.
    pub(crate) newest: u64,
    /// The same, as it was when the server was restarted.
    pub(crate) before_restart: u64,
}

impl LeasesHeld {
    /// Somebody heard of a grant, or of a renewal, that was asked for at `asked_us`; they believe until `until_us`.
    pub(crate) fn hear(&mut self, lease: usize, token: u64, is_grant: bool, times: (u64, u64, u64)) {
        let (asked_us, heard_us, until_us) = times;
        if is_grant {
            self.heard.push(Heard { token, asked_us, heard_us });
        }
        if until_us > heard_us {
            self.beliefs.push(Belief { lease, token, from_us: heard_us, until_us });
        }
    }

    /// A holder gives its lease back: it believes no more.
    pub(crate) fn give_back(&mut self, lease: usize, token: u64, now_us: u64) {
        let of_it = self.beliefs.iter_mut().filter(|belief| (belief.lease, belief.token) == (lease, token));
        of_it.for_each(|belief| belief.until_us = belief.until_us.min(now_us));
        let of_it = self.works.iter_mut().filter(|work| (work.lease, work.token) == (lease, token));
        of_it.for_each(|work| work.until_us = work.until_us.min(now_us));
    }

    /// A holder has something done, which comes to the resource later.
    pub(crate) fn work(&mut self, lease: usize, token: u64, came_us: u64, until_us: u64) {
        self.works.push(Work { came_us, lease, token, until_us });
    }

    /// The first thing that is wrong, if anything is. Gives how many works were refused for their token.
    pub(crate) fn judge(&self) -> Result<u64, String> {
        self.check_order()?;
        for (lease, (name, capacity)) in LEASES.into_iter().enumerate() {
            self.check_room(lease, name, capacity)?;
        }
        self.check_resources()
    }

    /// What was asked for after a grant was heard of has a greater token than that.
    fn check_order(&self) -> Result<(), String> {
        for later in &self.heard {
            let earlier = self.heard.iter().filter(|earlier| earlier.heard_us < later.asked_us);
            if let Some(earlier) = earlier.max_by_key(|earlier| earlier.token)
                && earlier.token >= later.token
            {
                return Err(format!("token {} was granted after {} had been heard of", later.token, earlier.token));
            }
        }
        Ok(())
    }

    /// Never more believe in a lease than there is room for.
    fn check_room(&self, lease: usize, name: &str, capacity: u64) -> Result<(), String> {
        let of_it: Vec<&Belief> = self.beliefs.iter().filter(|belief| belief.lease == lease).collect();
        for at in of_it.iter().map(|belief| belief.from_us) {
            let believing = of_it.iter().filter(|belief| (belief.from_us..belief.until_us).contains(&at));
            let tokens: BTreeSet<u64> = believing.map(|belief| belief.token).collect();
            if tokens.len() as u64 > capacity {
                return Err(format!(
                    "at {at} us {tokens:?} all believe that they hold `{name}`, which has room for {capacity}"
                ));
            }
        }
        Ok(())
    }

    /// A resource that takes no token below one it has seen never turns away the one who holds the lease.
    fn check_resources(&self) -> Result<u64, String> {
        let mut works = self.works.clone();
        works.sort_unstable();
        let (mut highest, mut fenced) = ([0; LEASES.len()], 0);
        for Work { came_us, lease, token, until_us } in works {
            if LEASES[lease].1 > 1 {
                continue;
            }
            if token >= highest[lease] {
                highest[lease] = token;
            } else if came_us < until_us {
                let (name, highest) = (LEASES[lease].0, highest[lease]);
                return Err(format!("who held `{name}` under {token} was turned away for {highest}"));
            } else {
                fenced += 1;
            }
        }
        Ok(fenced)
    }
}
