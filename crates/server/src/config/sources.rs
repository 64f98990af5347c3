//! Where values come from: defaults, file, environment, flags, in rising order.

use std::fmt;
use std::path::{Path, PathBuf};

use super::settings::{SETTINGS, Setting};
use super::{Config, ConfigError, ConfigErrors};

/// Where a value came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// A line of the file.
    File {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// This environment variable.
    Environment(String),
    /// This flag.
    Flag(String),
}

/// A configuration and where each value came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Each setting as a text, in the order of [`SETTINGS`].
    pub values: Vec<Value>,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
}

/// One setting's value.
#[derive(Clone, Debug)]
pub struct Value {
    /// Which setting.
    pub setting: &'static Setting,
    /// Its value, in the setting's unit; empty if it has none.
    pub text: String,
    /// Who said so.
    pub source: Source,
}

/// Reads a configuration. `file` is the file asked for by `--config` or `TERTIUM_CONFIG`; without one, `tertium.toml` in
/// the data directory is read if it is there. `flags` are (name without hyphens, value) and may use either `-` or `_`.
///
/// # Errors
/// [`ConfigErrors`]: all that is wrong, not only the first.
pub fn load(
    file: Option<&Path>,
    environment: &[(String, String)],
    flags: &[(String, String)],
) -> Result<Loaded, ConfigErrors> {
    let mut loading =
        Loading { config: Config::default(), sources: vec![Source::Default; SETTINGS.len()], errors: Vec::new() };
    // The file may lie in the data directory, so that has to be known before; what the file says is overruled below.
    loading.overrule(environment, flags);
    let path = file.map(Path::to_owned).or_else(|| {
        let path = loading.config.data.join("tertium.toml");
        path.exists().then_some(path)
    });
    if let Some(path) = &path {
        loading.errors.clear();
        loading.config = Config { data: loading.config.data, ..Config::default() };
        loading.read_file(path, file.is_none());
        loading.overrule(environment, flags);
    }
    loading.config.check_together(&mut loading.errors);
    if !loading.errors.is_empty() {
        return Err(ConfigErrors(loading.errors));
    }
    let Loading { config, sources, .. } = loading;
    let values =
        SETTINGS.iter().zip(sources).map(|(setting, source)| Value { setting, text: (setting.show)(&config), source });
    Ok(Loaded { values: values.collect(), config, file: path })
}

struct Loading {
    config: Config,
    sources: Vec<Source>,
    errors: Vec<ConfigError>,
}

impl Loading {
    fn overrule(&mut self, environment: &[(String, String)], flags: &[(String, String)]) {
        for (at, setting) in SETTINGS.iter().enumerate() {
            let variable = setting.environment();
            if let Some((_, value)) = environment.iter().find(|(name, _)| *name == variable) {
                self.set(at, value, Source::Environment(variable));
            }
        }
        for (name, value) in flags {
            let source = Source::Flag(name.replace('_', "-"));
            match position(&name.replace('-', "_")) {
                Some(at) => self.set(at, value, source),
                None => self.unknown(name, value, &source),
            }
        }
    }

    fn read_file(&mut self, path: &Path, in_data: bool) {
        let broken = |line: usize, what: &str| {
            let place = if line > 0 { format!("{} line {line}", path.display()) } else { path.display().to_string() };
            ConfigError { name: place, value: None, right: what.to_owned() }
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.errors.push(broken(0, &format!("cannot be read: {error}"))),
        };
        let line_of = |at: usize| text[..at.min(text.len())].bytes().filter(|byte| *byte == b'\n').count() + 1;
        let table = match toml::de::DeTable::parse(&text) {
            Ok(table) => table.into_inner(),
            Err(error) => {
                let line = error.span().map_or(0, |span| line_of(span.start));
                return self.errors.push(broken(line, error.message()));
            }
        };
        let mut entries: Vec<_> = table.into_iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let line = line_of(key.span().start);
            let source = Source::File { path: path.to_owned(), line };
            let name = key.into_inner();
            let Some(value) = scalar(value.get_ref()) else {
                self.errors.push(broken(line, &format!("{name} must be a string, a whole number or true/false")));
                continue;
            };
            match position(&name) {
                Some(at) if in_data && SETTINGS[at].name == "data" => self.errors.push(ConfigError::wrong(
                    &name,
                    &value,
                    &source,
                    "a file inside the data directory cannot say where that is: use --data or TERTIUM_DATA",
                )),
                Some(at) => self.set(at, &value, source),
                None => self.unknown(&name, &value, &source),
            }
        }
    }

    fn set(&mut self, at: usize, value: &str, source: Source) {
        let setting = &SETTINGS[at];
        // What overrules a wrong value makes it right.
        self.errors.retain(|error| error.name != setting.name);
        match (setting.set)(&mut self.config, value) {
            Ok(()) => self.sources[at] = source,
            Err(right) => {
                self.errors.push(ConfigError::wrong(setting.name, value, &source, format!("must be {right}")));
            }
        }
    }

    fn unknown(&mut self, name: &str, value: &str, source: &Source) {
        let wanted = name.replace('-', "_");
        let nearest = SETTINGS.iter().map(|setting| (distance(setting.name, &wanted), setting.name)).min();
        let right = match nearest {
            Some((distance, nearest)) if distance <= 3 && distance * 2 < nearest.len() => {
                format!("there is no such setting: did you mean `{nearest}`?")
            }
            _ => "there is no such setting: `tertium config show` lists all".to_owned(),
        };
        let error = ConfigError::wrong(name, value, source, right);
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }
}

fn position(name: &str) -> Option<usize> {
    SETTINGS.iter().position(|setting| setting.name == name)
}

fn scalar(value: &toml::de::DeValue<'_>) -> Option<String> {
    use toml::de::DeValue;
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Boolean(on) => Some(on.to_string()),
        _ => None,
    }
}

/// How many letters must be added, removed or replaced to make one of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{} line {line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}
