//! Calendar days as fields hold them: strings `yyyy-MM-dd`.

/// Whether `text` is a day of the years 1 to 9999 in the Gregorian calendar, written as `yyyy-MM-dd`.
pub fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return false;
    }
    let number = |part: &[u8]| {
        part.iter().try_fold(0_u32, |number, b| {
            b.is_ascii_digit()
                .then(|| number * 10 + u32::from(b - b'0'))
        })
    };
    match (
        number(&bytes[..4]),
        number(&bytes[5..7]),
        number(&bytes[8..]),
    ) {
        (Some(year @ 1..), Some(month), Some(day @ 1..)) => day <= days(year, month),
        _ => false,
    }
}

/// How many days a month has; none if there is no such month.
fn days(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::is_date;

    #[test]
    fn only_days_that_there_are_are_dates() {
        for date in ["0001-01-01", "9999-12-31", "2000-02-29", "2024-02-29"] {
            assert!(is_date(date), "{date}");
        }
        for text in [
            "0000-01-01",
            "1900-02-29",
            "2023-02-29",
            "2024-04-31",
            "2024-13-01",
            "2024-00-01",
            "2024-01-00",
            "2024-1-01",
            "2024/01/01",
            "+024-01-01",
            "2024-01-01T",
            "",
            "２０２４",
        ] {
            assert!(!is_date(text), "{text}");
        }
    }
}
