//! One command that means many runs: page after page, each one write with a key of its own, until there are no more.

use client::{Answer, Outcome, RunControl, RunFilter, RunsControlled};

use super::PageArgs;
use crate::account::WriteArgs;
use crate::exit::{Ended, Failure};
use crate::output::{Format, print_answer};
use crate::progress;
use crate::remote::Remote;

/// The most runs of one page: as many as one write may mean.
const PAGE_RUNS_MAX: u64 = 1_000;
/// The most pages of one command: ten times the runs that a cell keeps open, or in mind to be restarted.
const PAGES_MAX: usize = 1_000;

/// What a page adds to the command's key, at most: a separator, and the place it begins at, a number of 64 bits.
const PAGE_KEY_BYTES_MAX: usize = 1 + 20;

/// Asks the same of all runs of a saga, in a state, or both. What stops it halfway is told with the cursor to go on from.
pub(super) async fn control_many(
    remote: &Remote,
    control: RunControl<'_>,
    (saga, state, from): (Option<String>, Option<String>, Option<String>),
    pages: PageArgs,
    write: &WriteArgs,
    format: Format,
) -> Ended {
    if saga.is_none() && state.is_none() {
        return Err(Failure::usage("name a run, a saga or a state"));
    }
    check_key(write.key.as_deref())?;
    let client = remote.client()?;
    let mut filter = RunFilter { saga, state, from, limit: None, cursor: pages.cursor };
    let mut done = Done { count: 0, limit: pages.limit.unwrap_or(u64::MAX) };
    let bar = progress::spinner("runs");
    for _ in 1..PAGES_MAX {
        filter.limit = Some(done.page_limit());
        let answer = page(&client, control, &filter, write).await;
        let Some(next) = done.take(&answer) else {
            bar.finish_and_clear();
            return told(answer, &done, filter.cursor.as_deref(), format);
        };
        bar.set_position(done.count);
        filter.cursor = Some(next);
    }
    filter.limit = Some(done.page_limit());
    let answer = page(&client, control, &filter, write).await;
    done.take(&answer);
    bar.finish_and_clear();
    told(answer, &done, filter.cursor.as_deref(), format)
}

async fn page(
    client: &client::Client,
    control: RunControl<'_>,
    filter: &RunFilter,
    write: &WriteArgs,
) -> Answer<RunsControlled> {
    let asked = write.apply(client.control_runs(control, filter));
    match (&write.key, &filter.cursor) {
        (Some(key), Some(cursor)) => asked.key(page_key(key, cursor)),
        _ => asked,
    }
    .await
}

/// The key of a page that is not the first: the same whenever the command is run again under its key.
fn page_key(key: &str, cursor: &str) -> String {
    format!("{key}/{cursor}")
}

/// A key whose pages would have none is refused while nothing is done yet.
fn check_key(key: Option<&str>) -> Result<(), Failure> {
    let most = words::KEY_BYTES_MAX - PAGE_KEY_BYTES_MAX;
    match key.map_or(0, str::len) {
        bytes if bytes > most => Err(Failure::usage(format!(
            "the key of a command for many runs has at most {most} characters, since each page adds its place; this has {bytes}"
        ))),
        _ => Ok(()),
    }
}

/// How far the command is.
struct Done {
    count: u64,
    limit: u64,
}

impl Done {
    fn page_limit(&self) -> u16 {
        let left = self.limit.saturating_sub(self.count).clamp(1, PAGE_RUNS_MAX);
        u16::try_from(left).expect("a page has at most so many")
    }

    /// Counts a page. Gives where the next one begins, if there is to be one.
    fn take(&mut self, answer: &Answer<RunsControlled>) -> Option<String> {
        let Outcome::Committed(page) = &answer.outcome else { return None };
        self.count += page.count;
        page.next.clone().filter(|_| self.count < self.limit)
    }
}

/// Tells of all pages as of one write. Where the last one was not committed, those before it were.
fn told(mut answer: Answer<RunsControlled>, done: &Done, cursor: Option<&str>, format: Format) -> Ended {
    match &mut answer.outcome {
        Outcome::Committed(page) => page.count = done.count,
        _ if done.count > 0 => {
            let from = cursor.map(|cursor| format!(": --cursor {cursor} goes on")).unwrap_or_default();
            eprintln!("runs before that: {}{from}", done.count);
        }
        _ => {}
    }
    print_answer(format, answer, |many, fields| {
        fields.add("runs", many.count);
        fields.add_some("more", many.next.as_ref().map(|next| format!("--cursor {next}")));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(count: u64, next: Option<&str>) -> Answer<RunsControlled> {
        let page = RunsControlled { control: "cancel".into(), count, next: next.map(str::to_owned) };
        Answer {
            outcome: Outcome::Committed(page),
            key: "k".into(),
            position: None,
            replayed: false,
            joined: false,
            settled: false,
            attempts: 1,
        }
    }

    #[test]
    fn a_limit_is_of_all_pages_together() {
        let mut done = Done { count: 0, limit: 1_500 };
        assert_eq!(done.page_limit(), 1_000);
        assert_eq!(done.take(&answer(990, Some("7"))).as_deref(), Some("7"));
        assert_eq!(done.page_limit(), 510);
        assert_eq!(done.take(&answer(510, Some("9"))), None, "enough");
        let mut all = Done { count: 0, limit: u64::MAX };
        assert_eq!(all.take(&answer(0, Some("7"))).as_deref(), Some("7"), "a page of runs that cannot go on");
        assert_eq!((all.page_limit(), all.take(&answer(3, None))), (1_000, None));
        assert_eq!(all.count, 3);
    }

    #[test]
    fn the_pages_of_a_command_have_keys_of_their_own() {
        assert_eq!(page_key("k", "17"), "k/17");
        let longest = "k".repeat(words::KEY_BYTES_MAX - PAGE_KEY_BYTES_MAX);
        assert!(check_key(None).is_ok() && check_key(Some(&longest)).is_ok());
        assert_eq!(page_key(&longest, &u64::MAX.to_string()).len(), words::KEY_BYTES_MAX);
        assert!(check_key(Some(&format!("{longest}k"))).is_err());
    }
}
