//! The rows of a file: CSV or one JSON object per line, plain or gzipped.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde_json::value::RawValue;

use crate::exit::Failure;

/// How a file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum FileFormat {
    /// Comma-separated, the first line names the columns.
    Csv,
    /// One JSON object per line.
    Ndjson,
}

/// One row's fields by name.
pub(crate) enum Row<'a> {
    Csv {
        header: &'a [String],
        record: &'a csv::StringRecord,
    },
    /// Numbers stay the text they are: a float could not hold every amount.
    Json(BTreeMap<Cow<'a, str>, &'a RawValue>),
}

impl Row<'_> {
    /// A field as text; nothing for one that is not there, or null.
    pub(crate) fn field(&self, name: &str) -> Option<Cow<'_, str>> {
        match self {
            Row::Csv { header, record } => {
                let at = header.iter().position(|column| column == name)?;
                record.get(at).map(|text| Cow::Borrowed(text.trim()))
            }
            Row::Json(fields) => match fields.get(name)?.get() {
                "null" => None,
                text if text.starts_with('"') => serde_json::from_str::<String>(text).ok().map(Cow::Owned),
                text => Some(Cow::Borrowed(text)),
            },
        }
    }
}

/// Opens a file, or standard input for `-`, unpacked if it is gzipped.
pub(crate) fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    let named = |error: io::Error| Failure::new(format!("{}: {error}", path.display()));
    let mut raw: Box<dyn BufRead> = if path.as_os_str() == "-" {
        Box::new(BufReader::new(io::stdin()))
    } else {
        Box::new(BufReader::with_capacity(1 << 16, File::open(path).map_err(named)?))
    };
    let is_gzip = raw.fill_buf().map_err(named)?.starts_with(&[0x1f, 0x8b]);
    Ok(if is_gzip { Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(raw))) } else { raw })
}

/// What is called for each row: the line it begins at, what could be read of it, and what is wrong with it, if anything is.
/// Breaks off on an error.
pub(crate) type Visit<'v> = &'v mut dyn FnMut(u64, Row<'_>, Option<String>) -> Result<(), Failure>;

/// Reads all rows. `needed` are the columns that must be there.
pub(crate) fn read(
    input: Box<dyn BufRead>,
    format: FileFormat,
    needed: &[&str],
    visit: Visit<'_>,
) -> Result<(), Failure> {
    match format {
        FileFormat::Csv => read_csv(input, needed, visit),
        FileFormat::Ndjson => read_ndjson(input, visit),
    }
}

fn read_csv(input: impl Read, needed: &[&str], visit: Visit<'_>) -> Result<(), Failure> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(input);
    let broken = |error: csv::Error| Failure::new(format!("the first line cannot be read: {error}"));
    let header: Vec<String> = reader
        .headers()
        .map_err(broken)?
        .iter()
        .map(|name| name.trim_start_matches('\u{feff}').trim().to_owned())
        .collect();
    if let Some(missing) = needed.iter().find(|name| !header.iter().any(|column| column == *name)) {
        let there = header.join(", ");
        return Err(Failure::usage(format!("there is no column `{missing}`; there are {there}")));
    }
    let mut bytes = csv::ByteRecord::new();
    while reader.read_byte_record(&mut bytes).map_err(|error| Failure::new(error.to_string()))? {
        let line = bytes.position().map_or(0, csv::Position::line);
        let mut defect = None;
        if bytes.len() != header.len() {
            defect = Some(format!("it has {} fields, the first line {}", bytes.len(), header.len()));
        }
        // What is damaged is read as far as it goes: it may still say to which group it belongs.
        let record = csv::StringRecord::from_byte_record(bytes).unwrap_or_else(|error| {
            defect = Some("it is not UTF-8".to_owned());
            csv::StringRecord::from_byte_record_lossy(error.into_byte_record())
        });
        visit(line, Row::Csv { header: &header, record: &record }, defect)?;
        bytes = record.into_byte_record();
    }
    Ok(())
}

fn read_ndjson(mut input: impl BufRead, visit: Visit<'_>) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let broken = |error: io::Error| Failure::new(format!("line {line}: {error}"));
        if input.read_until(b'\n', &mut bytes).map_err(broken)? == 0 {
            break;
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(&bytes) {
            Ok(fields) => visit(line, Row::Json(fields), None)?,
            Err(error) => visit(line, Row::Json(BTreeMap::new()), Some(format!("not a JSON object: {error}")))?,
        }
    }
    Ok(())
}
