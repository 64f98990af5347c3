//! Webhooks signed after the Standard Webhooks specification (1.0), and what every delivery says in its headers.
//!
//! What is signed is `<id>.<timestamp>.<body>`, with HMAC-SHA256. A receiver that has never heard of this server checks it
//! with any library that speaks the standard. While a secret is being replaced, every delivery is signed with both.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use words::CellName;

use crate::trace::TraceContext;

/// What every secret begins with.
pub const SECRET_PREFIX: &str = "whsec_";

/// How many bytes a secret has ("Signature scheme": 24 to 64).
pub const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The most secrets that are good at one time.
pub const SECRETS_MAX: usize = 4;

/// How far the sender's clock may be from the receiver's, in seconds.
pub const TOLERANCE_S_DEFAULT: u64 = 300;

/// Names the message, the same for each attempt.
pub const ID_HEADER: &str = "webhook-id";
/// When the attempt was made, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// `v1,<base64>` for each secret, with spaces between.
pub const SIGNATURE_HEADER: &str = "webhook-signature";
/// The subscription's name.
pub const SUBSCRIPTION_HEADER: &str = "tertium-subscription";
/// The event's key; absent where it has none.
pub const PARTITION_KEY_HEADER: &str = "tertium-partition-key";
/// The event's offset.
pub const OFFSET_HEADER: &str = "tertium-offset";

/// A secret shared with a receiver. Never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

/// Why a text is no secret. Does not repeat it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecretError {
    /// It does not begin with [`SECRET_PREFIX`].
    Prefix,
    /// What follows is not base64.
    Base64,
    /// Fewer or more bytes than [`SECRET_BYTES`].
    Length {
        /// How many it has.
        bytes: usize,
    },
}

/// Why a delivery is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotVerified {
    /// The timestamp is no count of seconds.
    TimestampInvalid,
    /// It was signed too long ago: perhaps recorded then and sent again now.
    TooOld,
    /// It was signed in the future.
    TooNew,
    /// None of the signatures is of one of the secrets.
    NoSignatureFits,
}

impl Secret {
    /// Reads `whsec_<base64>`.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let base64 = text.strip_prefix(SECRET_PREFIX).ok_or(SecretError::Prefix)?;
        Self::of_bytes(&STANDARD.decode(base64).map_err(|_| SecretError::Base64)?)
    }

    /// Of random bytes.
    ///
    /// # Errors
    /// [`SecretError::Length`].
    pub fn of_bytes(bytes: &[u8]) -> Result<Self, SecretError> {
        match SECRET_BYTES.contains(&bytes.len()) {
            true => Ok(Self(bytes.into())),
            false => Err(SecretError::Length { bytes: bytes.len() }),
        }
    }

    /// The text to hand to the receiver.
    pub fn reveal(&self) -> String {
        format!("{SECRET_PREFIX}{}", STANDARD.encode(&self.0))
    }

    fn hmac(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut hmac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            hmac.update(part);
        }
        hmac
    }
}

/// The value of [`SIGNATURE_HEADER`] for an attempt at `timestamp_s`, one signature for each secret.
pub fn sign(secrets: &[Secret], id: &str, timestamp_s: u64, body: &[u8]) -> String {
    let timestamp = timestamp_s.to_string();
    let mut value = String::with_capacity(secrets.len() * 48);
    for secret in secrets {
        if !value.is_empty() {
            value.push(' ');
        }
        value.push_str("v1,");
        STANDARD.encode_string(secret.hmac(id, &timestamp, body).finalize().into_bytes(), &mut value);
    }
    value
}

/// Whether a delivery that came in at `now_s` was signed with one of the secrets, at most `tolerance_s` ago or ahead.
/// Signatures of other versions are passed over. The comparison takes the same time whatever is wrong.
///
/// # Errors
/// [`NotVerified`].
pub fn verify(
    secrets: &[Secret],
    (id, timestamp, signatures): (&str, &str, &str),
    body: &[u8],
    now_s: u64,
    tolerance_s: u64,
) -> Result<(), NotVerified> {
    let is_digits = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let sent_s: Option<u64> = is_digits.then(|| timestamp.parse().ok()).flatten();
    let sent_s = sent_s.ok_or(NotVerified::TimestampInvalid)?;
    if now_s.saturating_sub(sent_s) > tolerance_s {
        return Err(NotVerified::TooOld);
    }
    if sent_s.saturating_sub(now_s) > tolerance_s {
        return Err(NotVerified::TooNew);
    }
    let hmacs: Vec<_> = secrets.iter().map(|secret| secret.hmac(id, timestamp, body)).collect();
    let of_version_1 = signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,"));
    let fits = of_version_1
        .filter_map(|base64| STANDARD.decode(base64).ok())
        .any(|signature| hmacs.iter().any(|hmac| hmac.clone().verify_slice(&signature).is_ok()));
    if fits { Ok(()) } else { Err(NotVerified::NoSignatureFits) }
}

/// What a delivery is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivery<'a> {
    /// The cell it comes from.
    pub cell: &'a CellName,
    /// The subscription's name.
    pub subscription: &'a str,
    /// The number of the subscription: one that is removed and made again by the same name has another.
    pub number: u64,
    /// The event's key, or empty.
    pub key: &'a str,
    /// The event's offset.
    pub offset: u64,
    /// The trace that the delivery is part of.
    pub trace: Option<&'a TraceContext>,
}

impl Delivery<'_> {
    /// The message's name: the same each time this event is delivered for this subscription, a replay included, and never
    /// that of another. Holds no full stop, which is what parts it from the timestamp in the signed text.
    pub fn id(&self) -> String {
        format!("msg_{}_{}_{}", self.cell.as_str(), self.number, self.offset)
    }

    /// The headers of an attempt at `timestamp_s` to deliver `body`; without secrets there is no signature.
    ///
    /// A receiver that keeps (subscription, key, offset) with its own state, in one transaction, and passes over what is not
    /// above the offset it has for the key, has each event's effect exactly once.
    pub fn headers(&self, secrets: &[Secret], timestamp_s: u64, body: &[u8]) -> Vec<(&'static str, String)> {
        let id = self.id();
        let signature = (!secrets.is_empty()).then(|| sign(secrets, &id, timestamp_s, body));
        let mut headers = vec![(ID_HEADER, id), (TIMESTAMP_HEADER, timestamp_s.to_string())];
        headers.extend(signature.map(|signature| (SIGNATURE_HEADER, signature)));
        headers.push((SUBSCRIPTION_HEADER, self.subscription.to_owned()));
        if !self.key.is_empty() {
            headers.push((PARTITION_KEY_HEADER, self.key.to_owned()));
        }
        headers.push((OFFSET_HEADER, self.offset.to_string()));
        headers.extend(self.trace.into_iter().flat_map(TraceContext::headers));
        headers
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, max) = (SECRET_BYTES.start(), SECRET_BYTES.end());
        match self {
            Self::Prefix => write!(f, "a secret begins with {SECRET_PREFIX}"),
            Self::Base64 => write!(f, "a secret is base64 (RFC 4648, section 4) after {SECRET_PREFIX}"),
            Self::Length { bytes } => write!(f, "a secret has {min} to {max} bytes, this has {bytes}"),
        }
    }
}

impl std::error::Error for SecretError {}

impl fmt::Display for NotVerified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimestampInvalid => "the timestamp is not a count of seconds since 1970",
            Self::TooOld => "it was signed too long ago",
            Self::TooNew => "it was signed in the future",
            Self::NoSignatureFits => "no signature is of one of the secrets",
        })
    }
}

impl std::error::Error for NotVerified {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trace::TraceParent;

    // The vector that the libraries of the specification are tested with.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP_S: u64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret() -> Secret {
        Secret::parse(SECRET).unwrap()
    }

    fn other() -> Secret {
        Secret::of_bytes(&[7; 32]).unwrap()
    }

    #[test]
    fn the_specifications_vector() {
        assert_eq!(sign(&[secret()], ID, TIMESTAMP_S, BODY), SIGNATURE);
        assert_eq!(secret().reveal(), SECRET);
    }

    #[track_caller]
    fn check(timestamp: &str, signatures: &str, now_s: u64, expected: Result<(), NotVerified>) {
        let secrets = [other(), secret()];
        assert_eq!(
            verify(&secrets, (ID, timestamp, signatures), BODY, now_s, 300),
            expected,
            "{timestamp} {signatures}"
        );
    }

    #[test]
    fn verification() {
        let (at, now) = ("1614265330", TIMESTAMP_S);
        let others = sign(&[Secret::of_bytes(&[8; 24]).unwrap()], ID, TIMESTAMP_S, BODY);
        check(at, SIGNATURE, now, Ok(()));
        check(at, SIGNATURE, now + 300, Ok(()));
        check(at, SIGNATURE, now - 300, Ok(()));
        check(at, &format!("v1a,abc {others} v1,%% {SIGNATURE}"), now, Ok(()));
        check(at, SIGNATURE, now + 301, Err(NotVerified::TooOld));
        check(at, SIGNATURE, now - 301, Err(NotVerified::TooNew));
        check(at, &others, now, Err(NotVerified::NoSignatureFits));
        check(at, "", now, Err(NotVerified::NoSignatureFits));
        check(at, &SIGNATURE.replace("v1,", "v2,"), now, Err(NotVerified::NoSignatureFits));
        check(at, &SIGNATURE.replace("g0h", "h0h"), now, Err(NotVerified::NoSignatureFits));
        check("1614265331", SIGNATURE, now, Err(NotVerified::NoSignatureFits));
        for bad in ["", "+1614265330", "-1", "now", "1614265330.0", "99999999999999999999999"] {
            check(bad, SIGNATURE, now, Err(NotVerified::TimestampInvalid));
        }
    }

    #[test]
    fn secrets() {
        for (text, error) in [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretError::Prefix),
            ("whsec_***", SecretError::Base64),
            ("whsec_", SecretError::Length { bytes: 0 }),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa0=", SecretError::Length { bytes: 23 }),
        ] {
            assert_eq!(Secret::parse(text), Err(error), "{text}");
            assert!(text.len() < 7 || !error.to_string().contains(text), "{error}");
        }
        assert!(Secret::of_bytes(&[0; 65]).is_err());
        assert_eq!(format!("{:?}", secret()), "Secret(24 bytes)");
    }

    #[test]
    fn headers_of_a_delivery() {
        let cell = CellName::new("main").unwrap();
        let parent = TraceParent::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        let trace = TraceContext { parent, state: "a=1".to_owned(), baggage: String::new() };
        let trace = Some(&trace);
        let delivery = Delivery { cell: &cell, subscription: "a/b", number: 3, key: "k", offset: 9, trace };
        let text = |secrets: &[Secret], delivery: &Delivery<'_>| {
            let headers = delivery.headers(secrets, TIMESTAMP_S, BODY);
            headers.into_iter().map(|(name, value)| format!("{name}: {value}\n")).collect::<String>()
        };
        expect_test::expect![[r#"
            webhook-id: msg_main_3_9
            webhook-timestamp: 1614265330
            webhook-signature: v1,W8p+mUJmSNucPkddSCquZsahUsL+NQqXq165ofdxSRg= v1,zCwNd2B9XBWYDzyppXoB56ohS3Ec9nl7cVmLi4bR2Js=
            tertium-subscription: a/b
            tertium-partition-key: k
            tertium-offset: 9
            traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
            tracestate: a=1
        "#]]
        .assert_eq(&text(&[secret(), other()], &delivery));
        expect_test::expect![[r#"
            webhook-id: msg_main_3_9
            webhook-timestamp: 1614265330
            tertium-subscription: a/b
            tertium-offset: 9
        "#]]
        .assert_eq(&text(&[], &Delivery { key: "", trace: None, ..delivery }));
    }

    proptest! {
        #[test]
        fn what_is_signed_is_believed_and_nothing_else(
            keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 24..=64), 1..4),
            id in "[a-z_0-9]{1,20}",
            body in prop::collection::vec(any::<u8>(), 0..200),
            flipped: prop::sample::Index,
            timestamp_s in 0u64..1 << 40,
        ) {
            let secrets: Vec<Secret> = keys.iter().map(|key| Secret::of_bytes(key).unwrap()).collect();
            let signatures = sign(&secrets, &id, timestamp_s, &body);
            let at = timestamp_s.to_string();
            for secret in &secrets {
                let one = std::slice::from_ref(secret);
                prop_assert_eq!(verify(one, (&id, &at, &signatures), &body, timestamp_s, 0), Ok(()));
            }
            prop_assert_eq!(Secret::parse(&secrets[0].reveal()), Ok(secrets[0].clone()));
            let mut changed = body.clone();
            if changed.is_empty() { changed.push(0) } else { changed[flipped.index(body.len())] ^= 1 }
            let refused = verify(&secrets, (&id, &at, &signatures), &changed, timestamp_s, 0);
            prop_assert_eq!(refused, Err(NotVerified::NoSignatureFits));
        }
    }
}
