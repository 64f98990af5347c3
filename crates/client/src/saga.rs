//! Sagas and their runs: defined, started, looked at, and changed.

use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::call::Write;
use crate::client::Client;
use crate::read::Read;
use crate::transport::{and_cursor, segment};

/// In which language a definition is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DefinitionLanguage {
    /// JSON.
    Json,
    /// YAML 1.2.
    Yaml,
}

/// A definition that was taken.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct SagaVersion {
    /// The saga's name.
    pub name: String,
    /// The how manieth definition of that name, from 1.
    pub version: u64,
}

/// A definition as the server keeps it.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
pub struct SagaDefined {
    /// The saga's name.
    pub name: String,
    /// The how manieth definition of that name, from 1.
    pub version: u64,
    /// When, RFC 3339.
    pub defined_at: String,
    /// The definition, as JSON.
    pub definition: Value,
}

/// A saga in a list.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct SagaSummary {
    /// Its name.
    pub name: String,
    /// Its newest version.
    pub version: u64,
    /// How many steps that has.
    pub steps: u64,
    /// How many open runs follow it.
    pub open_runs: u64,
}

/// What to run.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct NewRun {
    /// What the definition's `input` asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// How long to wait before the first step, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// How long it may go forward, in milliseconds, if not as long as its definition says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

/// A run that was started, and goes on whoever waits for it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct RunAccepted {
    /// What it is called.
    pub id: String,
    /// Where to ask for it.
    pub path: String,
}

/// How a run ended.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
pub struct RunEnd {
    /// What it is called.
    pub id: String,
    /// Where to ask for it.
    pub path: String,
    /// `done`; of a run that was not, the problem says it.
    pub state: String,
    /// What the definition's `output` gave.
    #[serde(default)]
    pub output: Value,
}

/// A run: in a list in few words, by itself with everything that is told of it.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
pub struct Run {
    /// What it is called.
    pub id: String,
    /// Of which saga.
    pub saga: String,
    /// Which definition of it.
    pub version: u64,
    /// `delayed`, `running`, `paused`, `compensating`, `done`, `compensated` or `escalated`.
    pub state: String,
    /// Why it goes back, or was not done.
    pub why: Option<String>,
    /// The step that failed, if that is why.
    pub failed_step: Option<String>,
    /// When it was started, RFC 3339.
    pub started_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Its steps; none in a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<RunStep>,
    /// Everything else that the server says of it.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A step of a run.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
pub struct RunStep {
    /// What it is called.
    pub id: String,
    /// What it does.
    pub kind: String,
    /// Where it is.
    pub state: String,
    /// How many attempts were begun.
    pub attempts: u64,
    /// Everything else, the attempts that ended among it.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A page of a list.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
pub struct SagaPage<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// What is to become of runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunControl<'a> {
    /// What was done is undone.
    Cancel,
    /// No step is begun any more.
    Pause,
    /// It goes on.
    Resume,
    /// An escalated run goes on from this step.
    Restart {
        /// The step.
        from: &'a str,
    },
}

/// What was asked of a run.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct RunControlled {
    /// The run.
    pub id: String,
    /// What was asked.
    pub control: String,
}

/// Which runs are meant: at least one of saga and state.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct RunFilter {
    /// Only runs of this saga.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saga: Option<String>,
    /// Only runs in this state; of those to be restarted `escalated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The step that runs are restarted from; wherever each stopped if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// At most so many, 1 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u16>,
    /// Where the answer before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What was asked of many runs.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct RunsControlled {
    /// What was asked.
    pub control: String,
    /// Of how many.
    pub count: u64,
    /// The cursor that goes on, if there are more.
    pub next: Option<String>,
}

impl RunControl<'_> {
    const fn verb(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Restart { .. } => "restart",
        }
    }
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct From<'a> {
    from: &'a str,
}

impl Client {
    /// Defines a saga. Everything that is wrong with the definition is told at once, in the problem's `errors`.
    pub fn define_saga(&self, name: &str, language: DefinitionLanguage, text: &str) -> Write<'_, SagaVersion> {
        let content_type = match language {
            DefinitionLanguage::Json => "application/json",
            DefinitionLanguage::Yaml => "application/yaml",
        };
        let body = Bytes::copy_from_slice(text.as_bytes());
        Write::raw(self, Method::PUT, format!("/v1/sagas/{}", segment(name)), content_type, body)
    }

    /// Reads the sagas by name, up to `limit` (1 to 1000) from where the page before ended.
    pub fn sagas(&self, limit: u16, cursor: Option<&str>) -> Read<'_, SagaPage<SagaSummary>> {
        Read::new(self, format!("/v1/sagas?limit={limit}{}", and_cursor(cursor)))
    }

    /// Reads a definition: the newest, or that version.
    pub fn saga(&self, name: &str, version: Option<u64>) -> Read<'_, SagaDefined> {
        let version = version.map(|version| format!("?version={version}")).unwrap_or_default();
        Read::new(self, format!("/v1/sagas/{}{version}", segment(name)))
    }

    /// Starts a run and waits for its end.
    pub fn run_saga(&self, saga: &str, run: &NewRun) -> Write<'_, RunEnd> {
        Write::new(self, format!("/v1/sagas/{}/runs", segment(saga)), run)
    }

    /// Starts a run and does not wait for its end: that it is started, durably, is the answer.
    pub fn begin_run(&self, saga: &str, run: &NewRun) -> Write<'_, RunAccepted> {
        Write::new(self, format!("/v1/sagas/{}/runs", segment(saga)), run).accepted()
    }

    /// Reads a run; waits up to `wait_ms` for its end.
    pub fn run(&self, id: &str, wait_ms: u64) -> Read<'_, Run> {
        Read::new(self, format!("/v1/runs/{}?wait_ms={wait_ms}", segment(id)))
    }

    /// Reads runs: open ones, or those in a state; all, or those of a saga.
    pub fn runs(
        &self,
        state: Option<&str>,
        saga: Option<&str>,
        limit: u16,
        cursor: Option<&str>,
    ) -> Read<'_, SagaPage<Run>> {
        let mut path = format!("/v1/runs?limit={limit}");
        for (name, value) in [("state", state), ("saga", saga), ("cursor", cursor)] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", segment(value)));
            }
        }
        Read::new(self, path)
    }

    /// Changes what is to become of a run.
    pub fn control_run(&self, id: &str, control: RunControl<'_>) -> Write<'_, RunControlled> {
        let path = format!("/v1/runs/{}/{}", segment(id), control.verb());
        match control {
            RunControl::Restart { from } => Write::new(self, path, &From { from }),
            _ => Write::new(self, path, &Nothing {}),
        }
    }

    /// Changes what is to become of many runs: of those to be restarted the newest first, of others the oldest. The step that
    /// they are restarted from is the filter's.
    pub fn control_runs(&self, control: RunControl<'_>, filter: &RunFilter) -> Write<'_, RunsControlled> {
        Write::new(self, format!("/v1/runs/{}", control.verb()), filter)
    }
}
