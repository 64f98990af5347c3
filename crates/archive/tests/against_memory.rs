//! Whatever is pushed, rotated, sealed, merged and opened again, the archive answers as the one in memory does.

use std::sync::Arc;

use disk::{Disk, RealDisk, SimDisk};
use machine::{Archive, MemoryArchive, NameHash};
use proptest::prelude::*;
use tertium_archive::{self as archive, DiskArchive, Options, STEPS_MAX};

/// One thing done to both archives.
#[derive(Clone, Debug)]
enum Act {
    Push { len: usize, names: Vec<u8>, touched: Vec<u8> },
    Rotate,
    Job,
    AllJobs,
    Checkpoint,
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    let push = (0..200_usize, proptest::collection::vec(0..40_u8, 0..3), proptest::collection::vec(0..12_u8, 0..3))
        .prop_map(|(len, names, touched)| Act::Push { len, names, touched });
    let large = (3_000..20_000_usize).prop_map(|len| Act::Push { len, names: vec![1], touched: vec![1] });
    prop_oneof![
        60 => push,
        1 => large,
        6 => Just(Act::Rotate),
        8 => Just(Act::Job),
        2 => Just(Act::AllJobs),
        2 => Just(Act::Checkpoint),
        1 => Just(Act::Reopen),
    ]
}

/// Names collide on purpose: 40 of them have 20 hashes, some next to each other, some at the ends of the range.
fn hash_of(name: u8) -> NameHash {
    let name = u64::from(name / 2);
    NameHash(match name % 4 {
        0 => name,
        1 => u64::MAX - name,
        _ => name.wrapping_mul(0x9e37_79b9_7f4a_7c15),
    })
}

fn account_of(account: u8) -> NameHash {
    NameHash(u64::from(account).wrapping_mul(0xd134_2543_de82_ef95))
}

/// Both archives, and each record's accounts.
struct Pair {
    disk: Arc<dyn Disk>,
    options: Options,
    disk_archive: DiskArchive,
    memory: MemoryArchive,
    pushes: Vec<(Vec<u8>, Vec<NameHash>, Vec<NameHash>)>,
    checkpoint: u64,
}

impl Pair {
    fn new(disk: Arc<dyn Disk>, options: Options) -> Self {
        let disk_archive = DiskArchive::open(Arc::clone(&disk), 0, options).expect("a new archive");
        Self { disk, options, disk_archive, memory: MemoryArchive::default(), pushes: Vec::new(), checkpoint: 0 }
    }

    fn push(&mut self, len: usize, names: &[u8], touched: &[u8]) {
        let ordinal = self.pushes.len() as u64;
        let mut record = ordinal.to_le_bytes().to_vec();
        record.resize(8 + len, names.first().copied().unwrap_or(255));
        let names: Vec<_> = names.iter().map(|name| hash_of(*name)).collect();
        let mut touched: Vec<_> = touched.iter().map(|account| account_of(*account)).collect();
        touched.dedup();
        self.disk_archive.push(&record, &names, &touched);
        self.memory.push(&record, &names, &touched);
        self.pushes.push((record, names, touched));
    }

    fn job(&mut self) -> bool {
        let Some(job) = self.disk_archive.next_job() else { return false };
        assert!(self.disk_archive.next_job().is_none(), "there is one job at a time");
        self.disk_archive.finish(job.run()).expect("room on the disk");
        true
    }

    fn checkpoint(&mut self) {
        self.disk_archive.rotate();
        while self.disk_archive.backlog() > 0 {
            assert!(self.job());
        }
        self.checkpoint = self.disk_archive.next_ordinal();
        assert_eq!(self.disk_archive.sealed_upto(), self.checkpoint);
        self.disk_archive.set_floor(self.checkpoint);
    }

    /// Opens at the checkpoint and replays what came after it.
    fn reopen(&mut self) {
        self.disk_archive = DiskArchive::open(Arc::clone(&self.disk), self.checkpoint, self.options).expect("it opens");
        assert_eq!(self.disk_archive.next_ordinal(), self.checkpoint);
        for (record, names, touched) in &self.pushes[self.checkpoint as usize..] {
            self.disk_archive.push(record, names, touched);
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Push { len, names, touched } => self.push(*len, names, touched),
            Act::Rotate => self.disk_archive.rotate(),
            Act::Job => {
                self.job();
            }
            Act::AllJobs => while self.job() {},
            Act::Checkpoint => self.checkpoint(),
            Act::Reopen => self.reopen(),
        }
    }

    fn check(&self) {
        assert_eq!(self.disk_archive.next_ordinal(), self.memory.next_ordinal());
        for (ordinal, (record, ..)) in self.pushes.iter().enumerate() {
            let mut seen = Vec::new();
            self.disk_archive.read(ordinal as u64, &mut |bytes| seen = bytes.to_vec()).expect("it was pushed");
            assert_eq!(&seen, record, "record {ordinal}");
        }
        assert!(self.disk_archive.read(self.pushes.len() as u64, &mut |_| {}).is_err());
        for name in 0..44 {
            for candidates in [0, 1, 3, usize::MAX] {
                assert_eq!(asked(&self.disk_archive, name, candidates), asked(&self.memory, name, candidates));
            }
        }
        self.check_view();
    }

    fn check_view(&self) {
        let view = self.disk_archive.view();
        let mut next = view.end() / 2;
        view.scan(view.end() / 2, &mut |ordinal, record| {
            assert_eq!((ordinal, record), (next, &self.pushes[next as usize].0[..]));
            next += 1;
            true
        })
        .expect("sealed");
        assert_eq!(next, view.end());
        for account in (0..12).map(account_of) {
            let history: Vec<u64> = (0..self.pushes.len())
                .filter(|ordinal| self.pushes[*ordinal].2.contains(&account))
                .map(|ordinal| ordinal as u64)
                .collect();
            for ordinal in (0..view.end()).step_by(7) {
                self.check_touched(account, ordinal, &history);
            }
        }
    }

    fn check_touched(&self, account: NameHash, ordinal: u64, history: &[u64]) {
        let view = self.disk_archive.view();
        let expected = history.iter().copied().rfind(|at| *at <= ordinal);
        let mut asked = 0;
        let mut previous = |at: u64, record: &[u8]| {
            assert_eq!(record, self.pushes[at as usize].0);
            asked += 1;
            history[..history.binary_search(&at).expect("of the account's history")].last().copied()
        };
        let found = view.newest_touched_at_or_before(account, ordinal, &mut previous).expect("sealed");
        assert_eq!(found, expected, "at or before {ordinal}");
        assert!(asked <= u32::from(STEPS_MAX), "{asked} steps");
        let around = view.touched_around(account, ordinal).expect("sealed");
        if let Some(indexed) = around.at_or_before {
            let between = history.iter().filter(|at| (indexed + 1..=ordinal).contains(at)).count();
            assert!(between < usize::from(STEPS_MAX), "{between} records between");
        }
        let newest = self.pushes.len() as u64;
        let in_memory = self.disk_archive.newest_touched_in_memory(account, newest);
        assert_eq!(in_memory, history.last().copied().filter(|at| *at >= view.end()));
    }
}

/// What an archive shows of a name when the first so many candidates are turned down.
fn asked(archive: &impl Archive, name: u8, candidates: usize) -> (Option<u64>, Vec<(u64, Vec<u8>)>) {
    let mut shown = Vec::new();
    let found = archive.find(hash_of(name), &mut |ordinal, record| {
        shown.push((ordinal, record.to_vec()));
        shown.len() > candidates
    });
    (found.expect("it can be read"), shown)
}

fn small() -> Options {
    Options { memtable_records: 50, memtable_bytes: 8_000, merge_step_entries: 37, hash_seed_if_new: 9 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn answers_as_the_one_in_memory(acts in proptest::collection::vec(act(), 0..600)) {
        let mut pair = Pair::new(Arc::new(SimDisk::new()), small());
        for act in &acts {
            pair.act(act);
        }
        pair.check();
        pair.checkpoint();
        pair.reopen();
        pair.check();
    }
}

#[test]
fn two_levels_of_merges_on_a_real_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Arc::new(RealDisk::open(dir.path()).expect("a disk"));
    let mut pair = Pair::new(Arc::clone(&disk) as Arc<dyn Disk>, small());
    let mut random = fastrand::Rng::with_seed(5);
    for at in 0..6_000 {
        let account = if random.bool() { 0 } else { random.u8(0..12) };
        pair.push(random.usize(0..300), &[random.u8(0..40)], &[account]);
        if at % 100 == 99 {
            pair.checkpoint();
            while pair.job() {}
        }
    }
    pair.check();
    let files = disk.list(archive::DIRECTORY).expect("a list");
    let count = |extension| files.iter().filter(|file| file.ends_with(extension)).count();
    assert!(count(".rec") > 100, "{files:?}");
    assert!(count(".names") < 30 && count(".touched") < 30, "{files:?}");
    pair.reopen();
    pair.check();
}

#[test]
fn a_view_is_read_on_another_thread_while_the_archive_goes_on() {
    let mut pair = Pair::new(Arc::new(SimDisk::new()), small());
    for at in 0..500_u32 {
        pair.push(20, &[(at % 40) as u8], &[(at % 12) as u8]);
    }
    pair.checkpoint();
    let view = pair.disk_archive.view();
    let records: Vec<Vec<u8>> = pair.pushes.iter().map(|push| push.0.clone()).collect();
    let reader = std::thread::spawn(move || {
        for _ in 0..20 {
            for (ordinal, record) in records.iter().enumerate() {
                assert!(view.read(ordinal as u64, |bytes| bytes == record).expect("sealed"));
                view.touched_around(account_of(3), ordinal as u64).expect("sealed");
            }
        }
        view.end()
    });
    for at in 0..3_000_u32 {
        pair.push(20, &[(at % 40) as u8], &[(at % 12) as u8]);
        if at % 50 == 0 {
            pair.checkpoint();
            while pair.job() {}
        }
    }
    assert_eq!(reader.join().expect("no failed assertion"), 500);
}

#[test]
fn forgotten_names_are_not_found_and_their_records_are_read() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let mut pair = Pair::new(Arc::clone(&disk), small());
    for at in 0..2_000_u32 {
        pair.push(20, &[(at % 40) as u8], &[]);
    }
    pair.checkpoint();
    let names = || disk.list(archive::DIRECTORY).expect("a list").iter().filter(|f| f.ends_with(".names")).count();
    let before = names();
    pair.disk_archive.forget_names_before(1_990);
    let mut shown = Vec::new();
    for name in 0..40 {
        shown.extend(asked(&pair.disk_archive, name, usize::MAX).1.into_iter().map(|(ordinal, _)| ordinal));
    }
    shown.sort_unstable();
    shown.dedup();
    assert_eq!(shown, (1_990..2_000).collect::<Vec<u64>>());
    while pair.job() {}
    assert!(names() < before, "{} of {before} files of names are left", names());
    pair.reopen();
    assert_eq!(asked(&pair.disk_archive, 39, 0).0, Some(1_999));
    for ordinal in 0..2_000 {
        pair.disk_archive.read(ordinal, &mut |_| {}).expect("records are kept");
    }
}

#[test]
fn the_seed_of_the_first_open_stays() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    for seed in [41, 42] {
        let options = Options { hash_seed_if_new: seed, ..small() };
        assert_eq!(DiskArchive::open(Arc::clone(&disk), 0, options).expect("it opens").hash_seed(), 41);
    }
}
