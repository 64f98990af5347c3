//! What this server's settings say to a write: whom it may have called, and which secrets it may name.
//!
//! Settings change, and a key's first answer stands. So what they have against a write is noted here, and counts only if
//! the write's key is new.

use edge::Role;
use outbox::check_address;
use wire::{Code, Problem};

use crate::call::Call;

/// Looks at one write.
pub(super) struct Judge<'a> {
    call: &'a Call,
    /// The first thing against it.
    pub(super) against: Option<Problem>,
}

impl<'a> Judge<'a> {
    pub(super) const fn new(call: &'a Call) -> Self {
        Self { call, against: None }
    }

    /// Whether a URL leads where the server may call. An address that is written down is judged now; a name is when it is
    /// resolved, each time anew.
    pub(super) fn address(&mut self, field: &str, url: &http::Uri) {
        if let Err(problem) = check_address(&*self.call.app.addresses, field, url) {
            self.note(problem);
        }
    }

    /// Whether a secret of that name signs deliveries, and for whoever asks.
    pub(super) fn webhook_secret(&mut self, field: &str, name: &str) {
        let is_there = self.call.app.secrets.find(name).is_some();
        self.secret(field, "webhook_secrets", name, is_there);
    }

    /// Whether a secret of that name may stand in a call, and for whoever asks.
    pub(super) fn call_secret(&mut self, field: &str, name: &str) {
        let is_there = self.call.app.call_secrets.has(name);
        self.secret(field, "call_secrets", name, is_there);
    }

    fn secret(&mut self, field: &str, file: &str, name: &str, is_there: bool) {
        // Whoever may not use a secret is not told whether there is one.
        if !may_use(self.call.role, &self.call.principal, name) {
            let what = format!(
                "The secret `{name}` is not the caller's: a principal may use secrets called `{}/...`; others need the role \
                 admin.",
                self.call.principal
            );
            self.note(Problem::new(Code::Forbidden, what));
        } else if !is_there {
            let what = format_args!("names secrets of this server's {file} file, and `{name}` is none of them");
            self.note(Problem::field(Code::InvalidRequest, field, what));
        }
    }

    fn note(&mut self, problem: Problem) {
        self.against.get_or_insert(problem);
    }
}

/// A secret belongs to the principal that stands before the last slash of its name. Nobody is asked who they are where there
/// is no role.
fn may_use(role: Option<Role>, principal: &str, name: &str) -> bool {
    match role {
        None | Some(Role::Admin) => true,
        Some(Role::Read | Role::Write) => name.rsplit_once('/').is_some_and(|(owner, _)| owner == principal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_a_secret_is() {
        for (role, principal, name, expect) in [
            (None, "", "mail", true),
            (Some(Role::Admin), "ops", "mail", true),
            (Some(Role::Admin), "ops", "shop/mail", true),
            (Some(Role::Write), "shop", "mail", false),
            (Some(Role::Write), "shop", "shop", false),
            (Some(Role::Write), "shop", "shop/mail", true),
            (Some(Role::Write), "shop", "shop/a/mail", false),
            (Some(Role::Write), "shop/a", "shop/a/mail", true),
            (Some(Role::Write), "sho", "shop/mail", false),
            (Some(Role::Write), "", "/mail", true),
        ] {
            assert_eq!(may_use(role, principal, name), expect, "{role:?} {principal} {name}");
        }
    }
}
