//! Which endpoint to ask: of two at random the one that is less loaded, among those that are in rotation.
//!
//! Two choices (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001) over peak-EWMA latency: a
//! slow answer raises an endpoint's cost at once, quick ones lower it with time. Everything here takes an explicit `now`.

use std::time::Duration;

use super::phi::Phi;
use super::sign::Sign;

/// When an endpoint leaves the rotation, and how it comes back.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RotationSettings {
    /// Health checks in a row that fail before it is out. Default 3. One that goes well brings it back.
    pub checks_failed_max: u32,
    /// Calls in a row that fail before it is ejected; 0 = never. Default 5.
    pub failures_in_a_row_max: u32,
    /// How long it is ejected the first time; a multiple of it each further time. Default 30 s.
    pub ejection: Duration,
    /// The longest ejection. Default 5 min.
    pub ejection_max: Duration,
    /// At most so many percent of the endpoints are ejected at a time. Default 50.
    pub ejected_percent_max: u32,
    /// With fewer than this in rotation, in percent, all are asked: then it is more likely that we are wrong. Default 50.
    pub panic_percent: u32,
    /// How long one that came back takes to get its full share. Default 30 s.
    pub slow_start: Duration,
    /// An endpoint more suspicious than this is passed by while there are others. Default 8.
    pub phi_max: f64,
    /// How fast a high latency is forgotten. Default 10 s.
    pub latency_decay: Duration,
}

impl Default for RotationSettings {
    fn default() -> Self {
        Self {
            checks_failed_max: 3,
            failures_in_a_row_max: 5,
            ejection: Duration::from_secs(30),
            ejection_max: Duration::from_secs(300),
            ejected_percent_max: 50,
            panic_percent: 50,
            slow_start: Duration::from_secs(30),
            phi_max: 8.0,
            latency_decay: Duration::from_secs(10),
        }
    }
}

/// A failure counts as an answer this slow, or else whoever refuses quickest would be asked most.
const FAILURE_COST: Duration = Duration::from_secs(1);

/// What is known of one endpoint.
#[derive(Debug)]
pub struct Member {
    latency: Latency,
    phi: Phi,
    outstanding: u32,
    failures_in_a_row: u32,
    ejected_until: Option<Duration>,
    ejections: u32,
    checks_failed: u32,
    out: bool,
    back_since: Option<Duration>,
}

impl Member {
    /// A new one, in full rotation.
    pub fn new(now: Duration) -> Self {
        Self {
            latency: Latency { cost_us: 0.0, at: now },
            phi: Phi::default(),
            outstanding: 0,
            failures_in_a_row: 0,
            ejected_until: None,
            ejections: 0,
            checks_failed: 0,
            out: false,
            back_since: None,
        }
    }

    /// A call to it begins.
    pub fn asked(&mut self, now: Duration) {
        self.outstanding += 1;
        self.phi.asked(now);
    }

    /// A call to it ended. True if it has failed so often in a row that it should be ejected.
    pub fn ended(&mut self, sign: Sign, took: Duration, now: Duration, settings: &RotationSettings) -> bool {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.phi.ended(matches!(sign, Sign::Good | Sign::Throttled), now);
        match sign {
            Sign::Good | Sign::Throttled => self.latency.observe(took, now, settings.latency_decay),
            Sign::Bad => self.latency.observe(took.max(FAILURE_COST), now, settings.latency_decay),
            Sign::None => {}
        }
        match sign {
            Sign::Good => self.failures_in_a_row = 0,
            Sign::Bad => self.failures_in_a_row += 1,
            // 429 is an answer of one who is alive, and no failure in a row.
            Sign::Throttled | Sign::None => {}
        }
        let max = settings.failures_in_a_row_max;
        max > 0 && self.failures_in_a_row >= max && !self.is_ejected(now)
    }

    /// Takes it out of the rotation for a while.
    pub fn eject(&mut self, now: Duration, settings: &RotationSettings) {
        self.ejections += 1;
        let pause = settings.ejection.saturating_mul(self.ejections).min(settings.ejection_max);
        let until = now.saturating_add(pause);
        (self.ejected_until, self.back_since) = (Some(until), Some(until));
        self.failures_in_a_row = 0;
    }

    /// What a health check said.
    pub fn checked(&mut self, well: bool, now: Duration, settings: &RotationSettings) {
        if well {
            if self.out {
                self.back_since = Some(now);
            }
            (self.checks_failed, self.out) = (0, false);
        } else {
            self.checks_failed += 1;
            self.out |= self.checks_failed >= settings.checks_failed_max;
        }
    }

    /// Whether it is ejected now.
    pub fn is_ejected(&self, now: Duration) -> bool {
        self.ejected_until.is_some_and(|until| now < until)
    }

    /// Whether it is asked in good times.
    pub fn in_rotation(&self, now: Duration, settings: &RotationSettings) -> bool {
        !self.out && !self.is_ejected(now) && self.phi(now) <= settings.phi_max
    }

    /// How suspicious its silence is.
    pub fn phi(&self, now: Duration) -> f64 {
        self.phi.phi(now)
    }

    /// Calls under way.
    pub fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// Its peak-EWMA latency.
    pub fn latency(&self, now: Duration, settings: &RotationSettings) -> Duration {
        Duration::from_secs_f64(self.latency.cost_us(now, settings.latency_decay) / 1e6)
    }

    /// What asking it costs: its latency times the calls it would have, more while it is coming back.
    pub fn load(&self, now: Duration, settings: &RotationSettings) -> f64 {
        let cost = self.latency.cost_us(now, settings.latency_decay) + 1.0;
        cost * f64::from(self.outstanding + 1) / self.share(now, settings)
    }

    /// Between a tenth and all of its share, growing while it starts slowly.
    fn share(&self, now: Duration, settings: &RotationSettings) -> f64 {
        let Some(since) = self.back_since else { return 1.0 };
        let passed = now.saturating_sub(since).as_secs_f64();
        (passed / settings.slow_start.as_secs_f64().max(1e-9)).clamp(0.1, 1.0)
    }
}

/// Peak-EWMA: up at once, down with time.
#[derive(Debug)]
struct Latency {
    cost_us: f64,
    at: Duration,
}

impl Latency {
    fn observe(&mut self, took: Duration, now: Duration, decay: Duration) {
        let took = took.as_micros() as f64;
        let kept = self.kept(now, decay);
        self.cost_us = if took > self.cost_us { took } else { self.cost_us * kept + took * (1.0 - kept) };
        self.at = now.max(self.at);
    }

    fn cost_us(&self, now: Duration, decay: Duration) -> f64 {
        self.cost_us * self.kept(now, decay)
    }

    fn kept(&self, now: Duration, decay: Duration) -> f64 {
        (-now.saturating_sub(self.at).as_secs_f64() / decay.as_secs_f64().max(1e-9)).exp()
    }
}

/// How many may be ejected at a time.
pub fn ejected_max(members: usize, settings: &RotationSettings) -> usize {
    members * settings.ejected_percent_max.min(100) as usize / 100
}

/// An endpoint as the choice sees it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Candidate {
    /// See [`Member::load`].
    pub load: f64,
    /// See [`Member::in_rotation`].
    pub in_rotation: bool,
    /// Whether its breaker lets a call pass. Panic does not override it.
    pub ready: bool,
}

/// Chooses by two random numbers; `None` if no endpoint can be asked.
pub fn choose(candidates: &[Candidate], settings: &RotationSettings, random: (u64, u64)) -> Option<usize> {
    let in_rotation = candidates.iter().filter(|candidate| candidate.in_rotation).count();
    let panic = in_rotation * 100 < candidates.len() * settings.panic_percent as usize;
    let may = |candidate: &Candidate| candidate.ready && (panic || candidate.in_rotation);
    let count = match candidates.iter().filter(|candidate| may(candidate)).count() {
        0 => return anyone_ready(candidates),
        count => count as u64,
    };
    let nth = |n: u64| {
        let mut able = candidates.iter().enumerate().filter(|(_, candidate)| may(candidate));
        able.nth(n as usize)
    };
    let first = random.0 % count;
    // The second among the others, so that the two differ.
    let second = (first + 1 + random.1 % (count - 1).max(1)) % count;
    let ((at, one), (other_at, other)) = (nth(first)?, nth(second)?);
    Some(if other.load < one.load { other_at } else { at })
}

/// Those in rotation all have their breakers open: one that is out of it is a better bet than none.
fn anyone_ready(candidates: &[Candidate]) -> Option<usize> {
    let ready = candidates.iter().enumerate().filter(|(_, candidate)| candidate.ready);
    ready.min_by(|(_, a), (_, b)| a.load.total_cmp(&b.load)).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const WELL: Candidate = Candidate { load: 1.0, in_rotation: true, ready: true };
    const BUSY: Candidate = Candidate { load: 9.0, ..WELL };
    const OUT: Candidate = Candidate { in_rotation: false, ..WELL };
    const OPEN: Candidate = Candidate { ready: false, ..WELL };

    /// Those that some pair of random numbers leads to.
    #[track_caller]
    fn check(candidates: &[Candidate], expected: &[usize]) {
        let mut chosen: Vec<_> = (0..12)
            .flat_map(|one| (0..12).map(move |other| (one, other)))
            .filter_map(|random| choose(candidates, &RotationSettings::default(), random))
            .collect();
        chosen.sort_unstable();
        chosen.dedup();
        assert_eq!(chosen, expected, "{candidates:?}");
    }

    #[test]
    fn whom_the_choice_can_fall_on() {
        check(&[], &[]);
        check(&[WELL], &[0]);
        check(&[OPEN], &[]);
        check(&[WELL, BUSY], &[0]);
        check(&[BUSY, WELL], &[1]);
        check(&[WELL, WELL, BUSY], &[0, 1]);
        check(&[BUSY, BUSY, WELL], &[0, 1, 2]);
        check(&[WELL, OUT, WELL], &[0, 2]);
        check(&[WELL, OPEN], &[0]);
        check(&[OPEN, OPEN, OPEN], &[]);
        // Fewer than half in rotation: all are asked, but no open breaker is overridden.
        check(&[WELL, OUT, OUT], &[0, 1, 2]);
        check(&[OUT, OUT, OPEN], &[0, 1]);
        check(&[OUT], &[0]);
        check(&[OPEN, OUT], &[1]);
    }

    #[test]
    fn two_choices_spread_and_avoid_the_slow_one() {
        let settings = RotationSettings::default();
        let mut members: Vec<_> = (0..4).map(|_| Member::new(s(0))).collect();
        let mut asked = [0; 4];
        let mut random = fastrand::Rng::with_seed(7);
        for call in 0..4_000u64 {
            let now = Duration::from_millis(call);
            let candidates: Vec<_> = members
                .iter()
                .map(|m| Candidate { load: m.load(now, &settings), in_rotation: true, ready: true })
                .collect();
            let at = choose(&candidates, &settings, (random.u64(..), random.u64(..))).unwrap();
            asked[at] += 1;
            members[at].asked(now);
            let took = Duration::from_millis(if at == 3 { 400 } else { 4 });
            members[at].ended(Sign::Good, took, now, &settings);
        }
        assert!(asked[3] < 200, "the slow one got {} of 4000", asked[3]);
        assert!(asked[..3].iter().all(|count| *count > 600), "{asked:?}");
    }

    #[test]
    fn out_after_three_checks_back_after_one_slowly() {
        let settings = RotationSettings::default();
        let mut member = Member::new(s(0));
        let full = member.load(s(0), &settings);
        for (check, expected) in [(false, true), (false, true), (true, true), (false, true), (false, true)] {
            member.checked(check, s(10), &settings);
            assert_eq!(member.in_rotation(s(10), &settings), expected);
        }
        member.checked(false, s(20), &settings);
        assert!(!member.in_rotation(s(20), &settings));
        member.checked(true, s(30), &settings);
        assert!(member.in_rotation(s(30), &settings));
        assert_eq!(member.load(s(30), &settings), full * 10.0, "a tenth of its share at first");
        assert_eq!(member.load(s(45), &settings), full * 2.0);
        assert_eq!(member.load(s(60), &settings), full);
    }

    #[test]
    fn five_failures_in_a_row_eject() {
        let settings = RotationSettings::default();
        let mut member = Member::new(s(0));
        let mut end = |sign| {
            member.asked(s(0));
            member.ended(sign, s(0), s(0), &settings)
        };
        for sign in [Sign::Bad, Sign::Bad, Sign::Bad, Sign::Bad, Sign::Good, Sign::Bad, Sign::Bad, Sign::Bad] {
            assert!(!end(sign));
        }
        assert!(!end(Sign::Bad));
        assert!(!end(Sign::Throttled), "no failure in a row");
        assert!(end(Sign::Bad));
        member.eject(s(0), &settings);
        assert!(!member.in_rotation(s(29), &settings) && member.in_rotation(s(30), &settings));
        member.eject(s(30), &settings);
        assert!(!member.in_rotation(s(89), &settings) && member.in_rotation(s(90), &settings), "longer each time");
    }

    #[test]
    fn at_most_half_are_ejected() {
        let settings = RotationSettings::default();
        let max: Vec<_> = (0..=6).map(|members| ejected_max(members, &settings)).collect();
        assert_eq!(max, [0, 0, 1, 1, 2, 2, 3]);
    }

    #[test]
    fn a_peak_counts_at_once_and_is_forgotten_slowly() {
        let settings = RotationSettings::default();
        let mut latency = Latency { cost_us: 0.0, at: s(0) };
        latency.observe(Duration::from_millis(100), s(1), settings.latency_decay);
        assert_eq!(latency.cost_us, 100_000.0);
        latency.observe(Duration::from_millis(1), s(1), settings.latency_decay);
        assert_eq!(latency.cost_us, 100_000.0);
        latency.observe(Duration::from_millis(1), s(11), settings.latency_decay);
        assert!((37_000.0..38_000.0).contains(&latency.cost_us), "{}", latency.cost_us);
    }
}
