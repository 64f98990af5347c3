use machine::{BatchMode, Command, Event, Op, Record};
use proptest::prelude::*;
use words::Amount;

use super::*;
use crate::answer::tests::{moved, record};
use crate::request::stream_command;

#[derive(Clone, Debug)]
struct Line {
    key: String,
    from: String,
    to: String,
    amount: u128,
    hold_ms: Option<u64>,
    memo: String,
    metadata: &'static str,
}

impl Line {
    fn order(&self) -> Order<'_> {
        let Self { from, to, amount, hold_ms, memo, metadata, .. } = self;
        Order { from, to, amount: Amount::new(*amount).unwrap(), hold_ms: *hold_ms, memo, metadata }
    }
}

fn line() -> impl Strategy<Value = Line> {
    (
        "[!-~]{1,40}",
        "[a-z/]{1,128}",
        "[A-Z:.]{1,12}",
        1..=i128::MAX as u128,
        prop::option::of(1u64..=31_622_400_000),
        "[a-zé ]{0,40}",
        prop::sample::select(vec!["", r#"{"a":1}"#]),
    )
        .prop_map(|(key, from, to, amount, hold_ms, memo, metadata)| Line {
            key,
            from,
            to,
            amount,
            hold_ms,
            memo,
            metadata,
        })
}

fn pack(lines: &[Line]) -> Vec<u8> {
    let mut encoder = FrameEncoder::default();
    for line in lines {
        assert!(encoder.push(&line.key, &line.order()));
    }
    assert_eq!(encoder.len(), lines.len());
    encoder.finish()
}

proptest! {
    #[test]
    fn items_arrive_as_they_were_sent(lines in prop::collection::vec(line(), 1..20)) {
        let mut batch = BatchEncoder::new(lines.len());
        let received = decode_frame(&pack(&lines), &mut batch).unwrap();
        prop_assert_eq!(&received, &Received { count: lines.len(), refused: vec![] });
        let command = stream_command("p", &batch);
        let Op::Batch { mode, items } = Command::decode(&command).unwrap().op else { panic!("no batch") };
        prop_assert_eq!(mode, BatchMode::Stream);
        for (item, line) in items.iter().zip(&lines) {
            let item = item.unwrap();
            prop_assert_eq!((item.key, item.order), (line.key.as_str(), line.order()));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut batch = BatchEncoder::new(1);
        let _ = (decode_frame(&bytes, &mut batch), decode_answers(&bytes));
    }

    /// A frame is taken whole or not at all, and whatever is taken the machine can decode.
    #[test]
    fn mutated_frames_are_read_or_refused(
        lines in prop::collection::vec(line(), 1..5),
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..4),
    ) {
        let mut packed = pack(&lines);
        for (index, byte, kind) in mutations {
            let at = index.index(packed.len());
            match kind {
                0 => packed[at] = byte,
                1 => packed.insert(at, byte),
                _ => packed.truncate(at.max(1)),
            }
        }
        let mut batch = BatchEncoder::new(1);
        match decode_frame(&packed, &mut batch) {
            Ok(received) => {
                prop_assert_eq!(batch.len() + received.refused.len(), received.count);
                let command = stream_command("p", &batch);
                let Op::Batch { items, .. } = Command::decode(&command).unwrap().op else { panic!("no batch") };
                prop_assert!(items.iter().all(|item| item.is_ok()));
            }
            Err(problem) => {
                prop_assert_eq!(problem.code, Code::InvalidRequest);
                prop_assert!(batch.is_empty());
            }
        }
    }

    #[test]
    fn mutated_answers_are_read_or_refused(index: prop::sample::Index, byte: u8) {
        let received = Received { count: 2, refused: vec![(0, Code::AmountInvalid)] };
        let verdict = ItemVerdict::Decided(record(Body::Moved(moved(Event::Posted))));
        let mut packed = encode_answers(&received, [(verdict, false)]);
        let at = index.index(packed.len());
        packed[at] = byte;
        if let Ok(answers) = decode_answers(&packed) {
            let mut again = vec![VERSION, 0, 2, 0];
            answers.iter().for_each(|answer| answer.encode(&mut again));
            prop_assert_eq!(again, packed, "one encoding for each answer");
        }
    }
}

fn good() -> Line {
    Line {
        key: "k".into(),
        from: "a".into(),
        to: "b".into(),
        amount: 1,
        hold_ms: None,
        memo: String::new(),
        metadata: "",
    }
}

/// What has the form but not the meaning is refused for itself.
#[test]
fn items_are_refused_one_by_one() {
    let mut packed = pack(&[good(), good(), good(), good(), good()]);
    let item = |at: usize| HEAD_BYTES + at * (ITEM_BYTES + 3);
    packed[item(1) + 8] = 0;
    packed[item(2) + ITEM_BYTES] = b' ';
    packed[item(3) + ITEM_BYTES + 1] = 0xff;
    packed[item(4) + 3] = FLAG_HOLD;
    let mut batch = BatchEncoder::new(5);
    let received = decode_frame(&packed, &mut batch).unwrap();
    let refused = vec![
        (1, Code::AmountInvalid),
        (2, Code::IdempotencyKeyInvalid),
        (3, Code::InvalidRequest),
        (4, Code::AmountInvalid),
    ];
    assert_eq!((received.count, &received.refused, batch.len()), (5, &refused, 1));

    let posted = record(Body::Moved(moved(Event::Posted)));
    let answers = decode_answers(&encode_answers(&received, [(ItemVerdict::Decided(posted), true)])).unwrap();
    assert_eq!(answers.len(), 5);
    let transfer = FrameTransfer { id: moved(Event::Posted).transfer, from_balance_after: -12, to_balance_after: 12 };
    let committed =
        FrameAnswer { outcome: Outcome::Committed, code: None, status: 201, replayed: true, transfer: Some(transfer) };
    assert_eq!(answers[0], committed);
    assert_eq!(answers[1], FrameAnswer::of_code(Code::AmountInvalid, false));
}

#[test]
fn frames_without_the_form() {
    let whole = pack(&[good()]);
    let with = |at: usize, byte: u8| {
        let mut packed = whole.clone();
        packed[at] = byte;
        packed
    };
    let longer = [&whole[..], b"x"].concat();
    let too_many = [&[VERSION, 0, 1, 0x20][..], &vec![0; 8_193 * ITEM_BYTES]].concat();
    for (packed, what) in [
        (&whole[..0], "empty"),
        (&whole[..3], "no head"),
        (&whole[..4], "no item"),
        (&whole[..whole.len() - 1], "cut"),
        (&longer, "longer"),
        (&with(0, 2), "version"),
        (&with(1, 1), "reserved"),
        (&with(2, 0), "count 0"),
        (&with(2, 2), "count 2"),
        (&with(4, 2), "key length"),
        (&with(7, 2), "flags"),
        (&with(28, 1), "hold without its flag"),
        (&too_many, "too many"),
    ] {
        let mut batch = BatchEncoder::new(1);
        let problem = decode_frame(packed, &mut batch).expect_err(what);
        assert_eq!((problem.code, batch.len()), (Code::InvalidRequest, 0), "{what}");
    }
}

#[test]
fn what_does_not_fit_is_not_added() {
    let mut encoder = FrameEncoder::default();
    let (long, longer) = ("x".repeat(256), "x".repeat(65_536));
    let order = Order { from: "a", to: "b", amount: Amount::new(1).unwrap(), hold_ms: None, memo: "", metadata: "" };
    assert!(!encoder.push(&long, &order));
    assert!(!encoder.push("k", &Order { from: &long, ..order }));
    assert!(!encoder.push("k", &Order { memo: &longer, ..order }));
    assert!(encoder.is_empty());
    for _ in 0..BATCH_ITEMS_MAX {
        assert!(encoder.push("k", &order));
    }
    assert!(!encoder.push("k", &order), "a frame holds no more than a batch");
}

#[test]
fn every_verdict() {
    let refused = machine::Refusal { code: machine::Code::KeyReused, about: "k", had: 0, wanted: 0 };
    let unknown = Problem::of(Code::OutcomeUnknown);
    let remembered: Record<'_> = record(Body::Refused(refused));
    for (verdict, code) in [
        (ItemVerdict::Refused(refused), Code::IdempotencyKeyReused),
        (ItemVerdict::Decided(remembered), Code::IdempotencyKeyReused),
        (ItemVerdict::Decided(record(Body::Barred)), Code::OperationBarred),
        (ItemVerdict::Decided(record(Body::Claimed { node: "n" })), Code::Internal),
        (ItemVerdict::Problem(&unknown), Code::OutcomeUnknown),
    ] {
        let received = Received { count: 1, refused: vec![] };
        let answers = decode_answers(&encode_answers(&received, [(verdict, false)])).unwrap();
        assert_eq!(answers, [FrameAnswer::of_code(code, false)]);
    }
}
