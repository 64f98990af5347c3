//! Sending a plan: many at once, each with its own key, patient with a server that goes away and comes back.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use client::{Account, Answer, Client, NewAccount, NewTransfer, Outcome, Problem, Write};
use indicatif::ProgressBar;
use serde::de::DeserializeOwned;

use super::plan::Planned;
use crate::exit::Failure;

/// How to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loading {
    pub(crate) concurrency: usize,
    /// How long one operation is tried again while the server is away or busy.
    pub(crate) patience: Duration,
}

/// What became of the operations.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) committed: u64,
    /// Of the committed: decided by an earlier run.
    pub(crate) replayed: u64,
    pub(crate) refused: u64,
    pub(crate) uncertain: u64,
    /// Of the committed, in the direction of the mapping.
    pub(crate) forward: i128,
    /// Of the committed, against it.
    pub(crate) back: i128,
    /// Requests sent.
    pub(crate) attempts: u64,
    /// Line, key and why, of those that did not commit.
    pub(crate) failures: Vec<(u64, String, String)>,
}

/// What became of the accounts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Accounts {
    pub(crate) opened: u64,
    pub(crate) there: u64,
}

/// Sends every operation and counts how each ended.
pub(crate) async fn load(client: &Client, plan: Vec<Planned>, loading: Loading, bar: &ProgressBar) -> Loaded {
    let total = Arc::new(Mutex::new(Loaded::default()));
    let plan = Arc::new(plan);
    each(loading.concurrency, plan.len(), |at| {
        let (client, plan, total, bar) = (client.clone(), Arc::clone(&plan), Arc::clone(&total), bar.clone());
        async move {
            let planned = &plan[at];
            let (from, to, amount) = planned.directed();
            let mut transfer = NewTransfer::new(from, to, amount);
            transfer.memo.clone_from(&planned.memo);
            let mut attempts = 0;
            let answer =
                patiently(loading.patience, &mut attempts, || client.transfer(&transfer).key(&planned.key)).await;
            // Each count is one addition: whole after any panic.
            total.lock().unwrap_or_else(PoisonError::into_inner).count(planned, answer, attempts);
            bar.inc(1);
            Ok(())
        }
    })
    .await
    .unwrap_or_else(|never: Failure| unreachable!("no operation ends the load: {}", never.message));
    let mut total = std::mem::take(&mut *total.lock().unwrap_or_else(PoisonError::into_inner));
    total.failures.sort_unstable();
    total
}

impl Loaded {
    fn count<T>(&mut self, planned: &Planned, answer: Answer<T>, attempts: u64) {
        self.attempts += attempts;
        let mut fail = |why: String| self.failures.push((planned.line, planned.key.clone(), why));
        match answer.outcome {
            Outcome::Committed(_) => {
                self.committed += 1;
                self.replayed += u64::from(answer.replayed && attempts == 1);
                let direction = if planned.net < 0 { &mut self.back } else { &mut self.forward };
                *direction = direction.saturating_add(planned.net.saturating_abs());
            }
            Outcome::Refused(problem) => {
                fail(problem.to_string());
                self.refused += 1;
            }
            Outcome::Uncertain(uncertain) => {
                fail(format!("uncertain: {}", uncertain.reason));
                self.uncertain += 1;
            }
        }
    }
}

/// Opens accounts. One that is there already, with the same unit, will do.
pub(crate) async fn open_accounts(
    client: &Client,
    accounts: Vec<NewAccount>,
    loading: Loading,
    bar: &ProgressBar,
) -> Result<Accounts, Failure> {
    let opened = Arc::new(AtomicUsize::new(0));
    let accounts = Arc::new(accounts);
    each(loading.concurrency, accounts.len(), |at| {
        let (client, accounts, opened, bar) = (client.clone(), Arc::clone(&accounts), Arc::clone(&opened), bar.clone());
        async move {
            let account = &accounts[at];
            let key = format!("import/account/{}", account.id);
            let mut attempts = 0;
            let open = || client.open_account(account).key(&key);
            let answer = patiently(loading.patience, &mut attempts, open).await;
            match answer.outcome {
                Outcome::Committed(_) => {
                    let is_new = !answer.replayed || attempts > 1;
                    opened.fetch_add(usize::from(is_new), Ordering::Relaxed);
                }
                Outcome::Refused(problem) if is_taken(&problem) => {
                    let there = client.account(&account.id).await?.value;
                    if there.unit != account.unit {
                        let Account { id, unit, .. } = there;
                        return Err(Failure::new(format!(
                            "account `{id}` is there and counts {unit}, not {}",
                            account.unit
                        )));
                    }
                }
                Outcome::Refused(problem) => return Err(Failure::refused(&problem)),
                Outcome::Uncertain(uncertain) => {
                    return Err(Failure::new(format!("account `{}`: {}", account.id, uncertain.reason)));
                }
            }
            bar.inc(1);
            Ok(())
        }
    })
    .await?;
    let opened = opened.load(Ordering::Relaxed) as u64;
    Ok(Accounts { opened, there: accounts.len() as u64 - opened })
}

/// Someone else, or an earlier run with other flags, has opened it.
fn is_taken(problem: &Problem) -> bool {
    matches!(problem.code.as_str(), "account-exists" | "idempotency-key-reused")
}

/// Runs `one` for 0 to `count`, so many at a time. The first error ends it.
async fn each<F>(concurrency: usize, count: usize, one: impl Fn(usize) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let mut running = tokio::task::JoinSet::new();
    for at in 0..count {
        if running.len() >= concurrency
            && let Some(ended) = running.join_next().await
        {
            ended.map_err(|error| Failure::new(error.to_string()))??;
        }
        running.spawn(one(at));
    }
    while let Some(ended) = running.join_next().await {
        ended.map_err(|error| Failure::new(error.to_string()))??;
    }
    Ok(())
}

/// Sends the same again, under the same key, while the server is away, busy or silent.
async fn patiently<'c, T: DeserializeOwned + Send + 'c>(
    patience: Duration,
    attempts: &mut u64,
    write: impl Fn() -> Write<'c, T>,
) -> Answer<T> {
    let until = Instant::now() + patience;
    let mut pause = Duration::from_millis(50);
    loop {
        let answer = write().await;
        *attempts += u64::from(answer.attempts);
        let is_passing = match &answer.outcome {
            Outcome::Committed(_) => false,
            Outcome::Refused(problem) => is_passing(problem),
            Outcome::Uncertain(_) => true,
        };
        if !is_passing || Instant::now() + pause > until {
            return answer;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

/// A refusal that says something of the moment and nothing of the operation.
fn is_passing(problem: &Problem) -> bool {
    const CODES: [&str; 8] = [
        "unreachable",
        "overloaded",
        "too-many-requests",
        "stopping",
        "storage-full",
        "log-unavailable",
        "not-leader",
        "deadline-exceeded",
    ];
    CODES.contains(&problem.code.as_str())
}
