//! What an import says at its end.

use serde_json::{Value, json};

use super::decimal::show;
use super::load::{Accounts, Loaded};
use super::plan::{Plan, Planned, Unread};
use crate::exit::Exit;
use crate::output::{Fields, grouped};

/// How many lines with a fault are listed; JSON lists all.
const LISTED_MAX: usize = 20;

/// The figures of a run, or of what a run would do.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) file: String,
    /// Why nothing was sent, if nothing was.
    pub(crate) held_back: Option<&'static str>,
    pub(crate) lines: u64,
    pub(crate) operations: u64,
    pub(crate) forward: i128,
    pub(crate) back: i128,
    pub(crate) scale: u32,
    pub(crate) unit: Option<String>,
    pub(crate) zeros: Vec<Planned>,
    pub(crate) unread: Vec<Unread>,
    pub(crate) accounts: Option<Accounts>,
    pub(crate) loaded: Option<Loaded>,
}

impl Summary {
    /// Of a plan, before anything is sent.
    pub(crate) fn of(file: String, plan: &mut Plan, scale: u32, unit: Option<String>) -> Self {
        let sum = |sign: i128| {
            let nets = plan.operations.iter().map(|operation| operation.net).filter(|net| net.signum() == sign);
            nets.fold(0i128, |sum, net| sum.saturating_add(net.saturating_abs()))
        };
        Self {
            file,
            held_back: None,
            lines: plan.lines,
            operations: plan.operations.len() as u64,
            forward: sum(1),
            back: sum(-1),
            scale,
            unit,
            zeros: std::mem::take(&mut plan.zeros),
            unread: std::mem::take(&mut plan.unread),
            accounts: None,
            loaded: None,
        }
    }

    /// How the command ends.
    pub(crate) fn exit(&self) -> Exit {
        match &self.loaded {
            Some(loaded) if loaded.uncertain > 0 => Exit::Uncertain,
            Some(loaded) if loaded.refused > 0 => Exit::Refused,
            _ if !self.unread.is_empty() => Exit::Failed,
            _ => Exit::Done,
        }
    }

    pub(crate) fn as_json(&self) -> Value {
        let loaded = self.loaded.as_ref().map(|loaded| {
            let failures: Vec<_> = loaded
                .failures
                .iter()
                .map(|(line, key, reason)| json!({"line": line, "key": key, "reason": reason}))
                .collect();
            json!({
                "committed": loaded.committed,
                "replayed": loaded.replayed,
                "refused": loaded.refused,
                "uncertain": loaded.uncertain,
                "requests": loaded.attempts,
                "forward": loaded.forward.to_string(),
                "back": loaded.back.to_string(),
                "net": loaded.forward.saturating_sub(loaded.back).to_string(),
                "failures": failures,
            })
        });
        json!({
            "file": self.file,
            "nothing_sent": self.held_back,
            "lines": self.lines,
            "operations": self.operations,
            "unit": self.unit,
            "scale": self.scale,
            "forward": self.forward.to_string(),
            "back": self.back.to_string(),
            "net": self.forward.saturating_sub(self.back).to_string(),
            "nothing_to_move": self.zeros.iter().map(|zero| json!({"line": zero.line, "key": zero.key})).collect::<Vec<_>>(),
            "unread": self.unread.iter().map(|unread| json!({"line": unread.line, "reason": unread.reason})).collect::<Vec<_>>(),
            "accounts": self.accounts.map(|accounts| json!({"opened": accounts.opened, "there": accounts.there})),
            "result": loaded,
        })
    }

    pub(crate) fn as_text(&self) -> String {
        let unit = self.unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
        let money = |units: i128| format!("{}{unit}", show(units, self.scale));
        let mut fields = Fields::default();
        fields.add("lines", grouped(self.lines));
        fields.add("operations", grouped(self.operations));
        if let Some(first) = self.zeros.first() {
            let zeros = grouped(self.zeros.len());
            fields.add("nothing to move", format_args!("{zeros}: lines that net to zero, `{}` the first", first.key));
        }
        if !self.unread.is_empty() {
            fields.add("not read", grouped(self.unread.len()));
        }
        if let Some(accounts) = self.accounts {
            let (opened, there) = (grouped(accounts.opened), grouped(accounts.there));
            fields.add("accounts", format_args!("{opened} opened, {there} there before"));
        }
        let (forward, back) = match &self.loaded {
            Some(loaded) => {
                let replayed = grouped(loaded.replayed);
                fields.add(
                    "committed",
                    format_args!("{}, {replayed} of them before this run", grouped(loaded.committed)),
                );
                fields.add("refused", grouped(loaded.refused));
                fields.add("uncertain", grouped(loaded.uncertain));
                (loaded.forward, loaded.back)
            }
            None => (self.forward, self.back),
        };
        fields.add("forward", money(forward)).add("back", money(back)).add("net", money(forward.saturating_sub(back)));
        let held_back = self.held_back.map(|why| format!(" (nothing was sent: {why})")).unwrap_or_default();
        let mut text = format!("{}{held_back}\n{fields}", self.file);
        let failures = self.loaded.iter().flat_map(|loaded| &loaded.failures);
        let failures = failures.map(|(line, key, reason)| format!("line {line}, `{key}`: {reason}"));
        let unread = self.unread.iter().map(|unread| format!("line {}: {}", unread.line, unread.reason));
        let faults: Vec<String> = unread.chain(failures).collect();
        for fault in faults.iter().take(LISTED_MAX) {
            text.push_str(&format!("\n{fault}"));
        }
        if faults.len() > LISTED_MAX {
            text.push_str(&format!("\nand {} more; --json lists all", grouped(faults.len() - LISTED_MAX)));
        }
        text
    }
}
