//! Definitions of sagas as they were parsed: the same few are needed again and again.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use machine::{Body, Record, SagaRecord};
use saga::Definition;

/// How many are kept; the oldest goes first.
const DEFINITIONS_MAX: usize = 256;

/// Parsed definitions, by name and version. Clones share them.
#[derive(Clone, Default)]
pub struct Definitions {
    kept: Arc<Mutex<Kept>>,
}

type NameAndVersion = (String, u64);

#[derive(Default)]
struct Kept {
    parsed: HashMap<NameAndVersion, Arc<Definition>>,
    order: VecDeque<NameAndVersion>,
}

impl Definitions {
    /// The definition in a record: `machine::Record`, encoded.
    ///
    /// # Errors
    /// In words, why there is none.
    pub fn parsed(&self, record: &[u8]) -> Result<Arc<Definition>, String> {
        let record = Record::decode(record).map_err(|error| error.to_string())?;
        let Body::Saga(SagaRecord::Defined { name, version, document, .. }) = record.body else {
            return Err("the record of a definition is another".to_owned());
        };
        let key = (name.to_owned(), version);
        if let Some(known) = self.lock().parsed.get(&key) {
            return Ok(Arc::clone(known));
        }
        // Not under the lock: two at a time do no harm.
        let document = serde_json::from_str(document).map_err(|error| error.to_string())?;
        let definition = Arc::new(Definition::of_accepted(document).map_err(|error| error.to_string())?);
        let mut kept = self.lock();
        if kept.parsed.insert(key.clone(), Arc::clone(&definition)).is_none() {
            kept.order.push_back(key);
        }
        if kept.order.len() > DEFINITIONS_MAX
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.parsed.remove(&oldest);
        }
        Ok(definition)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Definitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definitions").field("kept", &self.lock().order.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use words::{Fingerprint, Position, Stamp};

    use super::*;

    fn record(version: u64) -> Vec<u8> {
        record_of(version, r#"{"name":"x","steps":[{"id":"a","timer":{"for_ms":1}}]}"#)
    }

    fn record_of(version: u64, document: &str) -> Vec<u8> {
        let body = SagaRecord::Defined { name: "x", version, previous: 0, plan: b"", document };
        let record = Record {
            position: Position::START,
            stamp: Stamp::ZERO,
            principal: "",
            key: "",
            fingerprint: Fingerprint::from_bytes([0; 16]),
            waited_us: 0,
            body: Body::Saga(body),
        };
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        bytes
    }

    #[test]
    fn a_definition_from_before_headers_were_kept_is_computed() {
        let names_one = r#"{"name":"x","steps":[{"id":"a","call":{"url":"http://h/"}},
            {"id":"b","event":{"topic":"t","type":"t","data":"${steps.a.headers.location}"}}]}"#;
        assert!(saga::from_json(names_one).is_err());
        assert!(Definitions::default().parsed(&record_of(1, names_one)).is_ok());
    }

    #[test]
    fn the_newest_are_kept() {
        let definitions = Definitions::default();
        let first = definitions.parsed(&record(1)).unwrap();
        assert!(Arc::ptr_eq(&first, &definitions.parsed(&record(1)).unwrap()));
        for version in 2..=DEFINITIONS_MAX as u64 + 1 {
            definitions.parsed(&record(version)).unwrap();
        }
        assert!(!Arc::ptr_eq(&first, &definitions.parsed(&record(1)).unwrap()), "parsed anew");
        assert_eq!(definitions.lock().parsed.len(), DEFINITIONS_MAX);
        assert!(definitions.parsed(b"").is_err());
    }
}
