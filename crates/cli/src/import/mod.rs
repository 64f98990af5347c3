//! `tertium import`: a file of transfers, applied once however often it is run.

mod decimal;
mod load;
mod plan;
mod rows;
mod summary;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use client::{NewAccount, RetryOptions};

use crate::exit::{Ended, Failure};
use crate::output::{Format, print, print_json};
use crate::progress;
use crate::remote::{Remote, build, parse_deadline, parse_duration};
use load::{Loading, load, open_accounts};
use plan::{KeyRule, Mapping, Negative, Plan, Planned, Planner};
use rows::FileFormat;
use summary::Summary;
use template::Template;

/// Load a file of transfers: run twice, it applies once
#[derive(Args, Debug)]
#[command(after_help = "\
Each row, or group of rows, is one operation with a key made from it: a second run sends the same keys, and the server
answers from what it remembers. That holds for as long as it keeps keys (7 days unless configured).

Templates: `invoice/{InvoiceNo}` puts in a field, `customer/{CustomerID|guest}` has a default for an empty one.

Examples:
  tertium import payments.csv --from-column payer --to-column payee --amount-column amount --scale 2 --key-column id
  tertium import payments.ndjson --from '{payer}' --to shop --amount-column pence --key 'payment/{id}' --dry-run
  tertium import docs/examples/retail-2010-12-01.csv --group-by InvoiceNo --key 'invoice/{InvoiceNo}' \\
    --from 'customer/{CustomerID|guest}' --to shop --amount-column Quantity --times-column UnitPrice --scale 3 \\
    --negative reverse-direction --unit GBP.mill --create-accounts --fund-from world --no-floor shop")]
pub(crate) struct ImportArgs {
    /// The file, plain or gzipped; `-` is standard input
    file: PathBuf,

    #[command(flatten)]
    columns: Columns,

    #[command(flatten)]
    accounts: AccountsArgs,

    /// Read and check everything, say what would be done, send nothing
    #[arg(help_heading = "Running", long)]
    dry_run: bool,

    /// If one line cannot be read, send nothing at all
    #[arg(help_heading = "Running", long)]
    strict: bool,

    /// Send only the first so many operations
    #[arg(help_heading = "Running", long, value_name = "N")]
    limit: Option<usize>,

    /// How many operations are in flight at once
    #[arg(help_heading = "Running", long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,

    /// How long one request may take
    #[arg(help_heading = "Running", long, value_name = "TIME", default_value = "10s", value_parser = parse_deadline)]
    deadline: Duration,

    /// How long to go on with an operation while the server is away or busy
    #[arg(help_heading = "Running", long, value_name = "TIME", default_value = "1m", value_parser = parse_duration)]
    patience: Duration,

    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "What a row means")]
struct Columns {
    /// How the file is written. Default: by its name, else csv
    #[arg(long, value_enum)]
    format: Option<FileFormat>,

    /// The column of the account it is taken from
    #[arg(long, value_name = "COLUMN", conflicts_with = "from")]
    from_column: Option<String>,
    /// The account it is taken from
    #[arg(long, value_name = "TEMPLATE", required_unless_present = "from_column")]
    from: Option<String>,

    /// The column of the account it goes to
    #[arg(long, value_name = "COLUMN", conflicts_with = "to")]
    to_column: Option<String>,
    /// The account it goes to
    #[arg(long, value_name = "TEMPLATE", required_unless_present = "to_column")]
    to: Option<String>,

    /// The column of the amount
    #[arg(long, value_name = "COLUMN")]
    amount_column: String,
    /// A column to multiply the amount by: a quantity, a price
    #[arg(long, value_name = "COLUMN")]
    times_column: Option<String>,
    /// Decimal places of the amounts that are kept: 3 makes 2.55 to 2550. What would be rounded is refused
    #[arg(long, value_name = "PLACES", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=30))]
    scale: u32,

    /// The column of the idempotency key
    #[arg(long, value_name = "COLUMN", conflicts_with_all = ["key", "key_by_line"])]
    key_column: Option<String>,
    /// The idempotency key. Default with --group-by: the column's name, a slash, the group
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "key_by_line")]
    key: Option<String>,
    /// Make the keys from this name and the lines' numbers: only for a file whose lines never move
    #[arg(long, value_name = "NAME", conflicts_with = "group_by")]
    key_by_line: Option<String>,

    /// Sum the rows with the same value in this column into one operation
    #[arg(long, value_name = "COLUMN")]
    group_by: Option<String>,
    /// What an amount below zero means
    #[arg(long, value_enum, default_value = "refuse")]
    negative: Negative,
    /// A note for people
    #[arg(long, value_name = "TEMPLATE")]
    memo: Option<String>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Accounts")]
struct AccountsArgs {
    /// What the accounts count, like GBP
    #[arg(long)]
    unit: Option<String>,
    /// Open the accounts that are not there, with a floor of 0
    #[arg(long, requires = "unit")]
    create_accounts: bool,
    /// Of those: open this one without a floor (may be given again)
    #[arg(long, value_name = "ACCOUNT", requires = "create_accounts")]
    no_floor: Vec<String>,
    /// Give each account with a floor beforehand what it will spend in all, from this account, which has no floor
    #[arg(long, value_name = "ACCOUNT", requires = "create_accounts")]
    fund_from: Option<String>,
}

impl ImportArgs {
    pub(crate) async fn run(self, format: Format) -> Ended {
        let mapping = self.columns.mapping()?;
        let mut plan = self.read(&mapping)?;
        let file = self.file.display().to_string();
        let mut summary = Summary::of(file, &mut plan, mapping.scale, self.accounts.unit.clone());
        if self.dry_run {
            summary.held_back = Some("a dry run");
        } else if self.strict && !summary.unread.is_empty() {
            summary.held_back = Some("with --strict every line must be readable");
        }
        if summary.held_back.is_none() {
            self.send(plan, &mut summary).await?;
        }
        match format {
            Format::Json => print_json(&summary.as_json())?,
            Format::Human => print(summary.as_text())?,
        }
        Ok(summary.exit())
    }

    fn read(&self, mapping: &Mapping) -> Result<Plan, Failure> {
        let mut planner = Planner::new(mapping);
        let bar = progress::spinner("lines read");
        let needed: BTreeSet<&str> = mapping.fields().collect();
        let needed: Vec<&str> = needed.into_iter().collect();
        rows::read(rows::open(&self.file)?, self.format(), &needed, &mut |line, row, defect| {
            planner.add(line, &row, defect);
            bar.inc(1);
            Ok(())
        })?;
        bar.finish_and_clear();
        Ok(planner.finish(self.limit))
    }

    fn format(&self) -> FileFormat {
        let name = self.file.to_string_lossy();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let by_name =
            if name.ends_with(".ndjson") || name.ends_with(".jsonl") { FileFormat::Ndjson } else { FileFormat::Csv };
        self.columns.format.unwrap_or(by_name)
    }

    async fn send(&self, plan: Plan, summary: &mut Summary) -> Result<(), Failure> {
        // An import never settles: an operation that is uncertain is sent again under its key, while settling it would bar
        // the row for good. And it has its own patience, so that the budget need not be generous.
        let retry = RetryOptions { budget_percent: 20, ..RetryOptions::default() };
        let client = build(
            self.remote
                .builder()?
                .deadline(self.deadline)
                .settle_within(Duration::ZERO)
                .retry(retry)
                .idle_connections_max(usize::from(self.concurrency)),
        )?;
        let loading = Loading { concurrency: usize::from(self.concurrency), patience: self.patience };
        if self.accounts.create_accounts {
            let accounts = self.accounts.of(&plan);
            let bar = progress::bar(accounts.len() as u64, "accounts");
            summary.accounts = Some(open_accounts(&client, accounts, loading, &bar).await?);
            bar.finish_and_clear();
            let funding = self.accounts.funding(&plan);
            let bar = progress::bar(funding.len() as u64, "accounts funded");
            let funded = load(&client, funding, loading, &bar).await;
            bar.finish_and_clear();
            if let Some((_, key, reason)) = funded.failures.first() {
                return Err(Failure::new(format!("`{key}`: {reason}; run the same again")));
            }
        }
        let bar = progress::bar(plan.operations.len() as u64, "operations");
        summary.loaded = Some(load(&client, plan.operations, loading, &bar).await);
        bar.finish_and_clear();
        Ok(())
    }
}

impl Columns {
    fn mapping(&self) -> Result<Mapping, Failure> {
        let template = |flag: &str, text: &str| {
            Template::parse(text).map_err(|error| Failure::usage(format!("--{flag}: {error}")))
        };
        let either = |flag: &str, column: &Option<String>, text: &Option<String>| match (column, text) {
            (Some(column), _) => Ok(Template::of_field(column)),
            (None, Some(text)) => template(flag, text),
            (None, None) => Err(Failure::usage(format!("--{flag} or --{flag}-column says which account"))),
        };
        let key = match (&self.key_column, &self.key, &self.key_by_line, &self.group_by) {
            (Some(column), ..) => KeyRule::Template(Template::of_field(column)),
            (None, Some(text), ..) => KeyRule::Template(template("key", text)?),
            (None, None, Some(name), _) => KeyRule::Line(format!("{name}/")),
            (None, None, None, Some(group)) => {
                KeyRule::Template(template("group-by", &format!("{group}/{{{group}}}"))?)
            }
            (None, None, None, None) => {
                let hint = "a key that names each row makes a second run harmless: --key-column, --key, --group-by or --key-by-line";
                return Err(Failure::usage(hint));
            }
        };
        Ok(Mapping {
            from: either("from", &self.from_column, &self.from)?,
            to: either("to", &self.to_column, &self.to)?,
            amount: Template::of_field(&self.amount_column),
            times: self.times_column.as_deref().map(Template::of_field),
            key,
            memo: self.memo.as_deref().map(|text| template("memo", text)).transpose()?,
            group: self.group_by.as_deref().map(Template::of_field),
            scale: self.scale,
            negative: self.negative,
        })
    }
}

impl Mapping {
    /// The columns it needs.
    fn fields(&self) -> impl Iterator<Item = &str> {
        let key = match &self.key {
            KeyRule::Template(template) => Some(template),
            KeyRule::Line(_) => None,
        };
        let always = [&self.from, &self.to, &self.amount];
        always.into_iter().chain(key).chain(&self.times).chain(&self.memo).chain(&self.group).flat_map(Template::fields)
    }
}

impl AccountsArgs {
    /// Every account the plan names, and the one that funds them.
    fn of(&self, plan: &Plan) -> Vec<NewAccount> {
        // Those of invoices that net to zero are not needed: nothing of them is sent.
        let mut ids: BTreeSet<&str> = self.fund_from.as_deref().into_iter().collect();
        for operation in &plan.operations {
            ids.extend([operation.from.as_str(), operation.to.as_str()]);
        }
        let open = |id: &str| {
            let account = NewAccount::new(id, self.unit.as_deref().unwrap_or_default());
            if self.has_floor(id) { account } else { account.without_floor() }
        };
        ids.into_iter().map(open).collect()
    }

    fn has_floor(&self, id: &str) -> bool {
        self.fund_from.as_deref() != Some(id) && !self.no_floor.iter().any(|other| other == id)
    }

    /// What each account with a floor spends in all, so that none is refused for coming too early in the file. The amount
    /// is part of the key: a run over more of the file gives more.
    fn funding(&self, plan: &Plan) -> Vec<Planned> {
        let Some(source) = &self.fund_from else { return Vec::new() };
        let mut spent: BTreeMap<&str, i128> = BTreeMap::new();
        for operation in &plan.operations {
            let (from, _, amount) = operation.directed();
            if self.has_floor(from) {
                let sum = spent.entry(from).or_default();
                *sum = sum.saturating_add(i128::try_from(amount).unwrap_or(i128::MAX));
            }
        }
        let fund = |(account, net): (&str, i128)| Planned {
            key: format!("import/fund/{account}/{net}"),
            from: source.clone(),
            to: account.to_owned(),
            net,
            memo: None,
            line: 0,
            lines: 0,
        };
        spent.into_iter().map(fund).collect()
    }
}
