//! Exact decimal numbers: what a file says, in the unit's smallest part, or a refusal. Never a float.

/// `units` / 10^`scale`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Decimal {
    units: i128,
    scale: u32,
}

/// More places than any price has, and few enough that powers of ten fit.
const SCALE_MAX: u32 = 30;

impl Decimal {
    /// Reads `12`, `-0.5`, `+3.50`, `2.`; no exponent, no grouping.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a decimal number");
        let trimmed = text.trim();
        let (negative, digits) = match trimmed.as_bytes().first() {
            Some(b'-') => (true, &trimmed[1..]),
            Some(b'+') => (false, &trimmed[1..]),
            _ => (false, trimmed),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !plain(whole) || !plain(fraction) {
            return Err(wrong());
        }
        let fraction = fraction.trim_end_matches('0');
        let scale = u32::try_from(fraction.len()).ok().filter(|scale| *scale <= SCALE_MAX).ok_or_else(wrong)?;
        let units = format!("{whole}{fraction}").parse::<i128>().map_err(|_| format!("`{text}` is too large"))?;
        Ok(Self { units: if negative { -units } else { units }, scale })
    }

    /// The product, exactly.
    pub(crate) fn times(self, other: Self) -> Result<Self, String> {
        let units = self.units.checked_mul(other.units).ok_or("the product is too large")?;
        Ok(Self { units, scale: self.scale + other.scale })
    }

    /// In the unit's smallest part, of which 10^`scale` make one. What would have to be rounded is refused.
    pub(crate) fn to_units(self, scale: u32) -> Result<i128, String> {
        if self.scale <= scale {
            let factor = 10i128.checked_pow(scale - self.scale).ok_or("the scale is too large")?;
            return self.units.checked_mul(factor).ok_or_else(|| "the amount is too large".to_owned());
        }
        let factor = 10i128.checked_pow(self.scale - scale).ok_or("the amount has too many places")?;
        if self.units % factor != 0 {
            let places = self.scale;
            return Err(format!("the amount has {places} decimal places, and --scale {scale} would round it"));
        }
        Ok(self.units / factor)
    }
}

/// Units as a person writes them: with the point back in its place.
pub(crate) fn show(units: i128, scale: u32) -> String {
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = scale as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
    let sign = if units < 0 { "-" } else { "" };
    let whole = crate::output::grouped(whole);
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(a: &str, b: &str, scale: u32, expect: Result<i128, &str>) {
        let product = Decimal::parse(a).and_then(|a| a.times(Decimal::parse(b)?)).and_then(|n| n.to_units(scale));
        assert_eq!(product.as_ref().map_err(String::as_str), expect.as_ref().map_err(|e| *e), "{a} * {b}");
    }

    #[test]
    fn exact_or_refused() {
        check("6", "2.55", 3, Ok(15_300));
        check("-12", "0.001", 3, Ok(-12));
        check("3", "0.0005", 3, Err("the amount has 4 decimal places, and --scale 3 would round it"));
        check("2", "0.0005", 3, Ok(1));
        check("1", "2.500", 1, Ok(25));
        check("+1", ".5", 1, Ok(5));
        check("1", "2.", 0, Ok(2));
        check("0", "-0.00", 2, Ok(0));
        check("1e3", "1", 0, Err("`1e3` is not a decimal number"));
        check("1,000", "1", 0, Err("`1,000` is not a decimal number"));
        check("", "1", 0, Err("`` is not a decimal number"));
        check("-", "1", 0, Err("`-` is not a decimal number"));
        check(".", "1", 0, Err("`.` is not a decimal number"));
        check(&i128::MAX.to_string(), "2", 0, Err("the product is too large"));
        check(&i128::MAX.to_string(), "1", 1, Err("the amount is too large"));
    }

    #[test]
    fn shown() {
        for (units, scale, text) in
            [(3_706_827_641, 3, "3,706,827.641"), (-5, 3, "-0.005"), (0, 0, "0"), (1_234, 0, "1,234"), (0, 2, "0.00")]
        {
            assert_eq!(show(units, scale), text);
        }
    }
}
